"""VGG-16 for ImageNet, as the RepVGG paper measures it: with its three fully connected layers, without normalization.

Source: Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015, table 1,
column D; 138.35 million parameters tell the head.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

_DEPTHS, _WIDTHS = (2, 2, 3, 3, 3), (64, 128, 256, 512, 512)
_GRID, _HIDDEN = 7, 4096


def _features() -> Iterator[nn.Module]:
    c_in = 3
    for depth, width in zip(_DEPTHS, _WIDTHS, strict=True):
        for _ in range(depth):
            yield nn.Conv2d(c_in, width, 3, padding=1)
            yield nn.ReLU()
            c_in = width
        yield nn.MaxPool2d(2)


def vgg16(*, deployed: bool, num_classes: int) -> nn.Sequential:
    """Class scores n  num_classes of images n  3  h  w, h and w multiples of 224.

    It has one form: nothing in it is re-parameterized, so ``deployed`` changes nothing.
    """
    del deployed
    return nn.Sequential(
        *_features(),
        nn.AdaptiveAvgPool2d(_GRID),
        nn.Flatten(),
        nn.Linear(_WIDTHS[-1] * _GRID**2, _HIDDEN),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(_HIDDEN, _HIDDEN),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(_HIDDEN, num_classes),
    )
