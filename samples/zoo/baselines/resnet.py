"""ResNet and ResNeXt for ImageNet, as the RepVGG paper measures them.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", 2016, table 1: a bottleneck halves the
size in its first 1×1, which is what 3.9 billion multiply-adds of ResNet-50 tell (4.1 if the 3×3 does); Xie, Girshick,
Dollár, Tu, He, "Aggregated Residual Transformations for Deep Neural Networks", 2017: there the 3×3 does.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from samples.zoo.baselines.parts import conv_norm

Body = Callable[[int, int, int], tuple[nn.Module, int]]
"""Makes the layers beside a shortcut: c_in, width, stride → layers without the last Relu, c_out."""

_WIDTHS = (64, 128, 256, 512)


class Residual(nn.Module):
    """Relu of the input plus what ``body`` makes of it; ``shortcut`` brings the input to the shape of the sum."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps n  c_out  ceil(h/stride)  ceil(w/stride) of ``x``: n  c_in  h  w."""
        return functional.relu(self.body(x) + self.shortcut(x))


def _basic(c_in: int, width: int, stride: int, *, deployed: bool) -> tuple[nn.Module, int]:
    layer = partial(conv_norm, deployed=deployed)
    return nn.Sequential(layer(c_in, width, 3, stride=stride), nn.ReLU(), layer(width, width, 3)), width


def _bottleneck(c_in: int, width: int, stride: int, *, deployed: bool) -> tuple[nn.Module, int]:
    layer = partial(conv_norm, deployed=deployed)
    c_out = 4 * width
    body = nn.Sequential(
        layer(c_in, width, 1, stride=stride), nn.ReLU(), layer(width, width, 3), nn.ReLU(), layer(width, c_out, 1)
    )
    return body, c_out


def _aggregated(c_in: int, width: int, stride: int, *, deployed: bool) -> tuple[nn.Module, int]:
    """32 paths of 4 channels in the first stage (32×4d), twice as many channels in each one after it."""
    layer = partial(conv_norm, deployed=deployed)
    inner, c_out = 2 * width, 4 * width
    body = nn.Sequential(
        layer(c_in, inner, 1),
        nn.ReLU(),
        layer(inner, inner, 3, stride=stride, groups=32),
        nn.ReLU(),
        layer(inner, c_out, 1),
    )
    return body, c_out


_BODIES = {"basic": _basic, "bottleneck": _bottleneck, "aggregated": _aggregated}


def _stages(num_blocks: Sequence[int], body: Body, *, deployed: bool) -> tuple[nn.Sequential, int]:
    """Four stages, all but the first of which halve the size; and their channels."""
    blocks: list[nn.Module] = []
    channels = 64
    for stage, (depth, width) in enumerate(zip(num_blocks, _WIDTHS, strict=True)):
        for position in range(depth):
            stride = 2 if stage and not position else 1
            layers, c_out = body(channels, width, stride)
            keeps = channels == c_out and stride == 1
            shortcut = nn.Identity() if keeps else conv_norm(channels, c_out, 1, stride=stride, deployed=deployed)
            blocks.append(Residual(layers, shortcut))
            channels = c_out
    return nn.Sequential(*blocks), channels


class ResNet(nn.Module):
    """A strided 7×7 convolution, pooling, residual blocks, global average pooling and a linear classifier.

    Args:
        num_blocks: blocks of each of the four stages.
        block: two 3×3 layers (``basic``), 1×1, 3×3, 1×1 (``bottleneck``), or the same in 32 groups (``aggregated``).
        num_classes: outputs of the classifier.
        deployed: build the deployed form, whose normalizations are folded.
    """

    def __init__(
        self,
        num_blocks: Sequence[int],
        block: Literal["basic", "bottleneck", "aggregated"],
        *,
        num_classes: int = 1000,
        deployed: bool = False,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, 64, 7, stride=2, deployed=deployed), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        self.stages, channels = _stages(num_blocks, partial(_BODIES[block], deployed=deployed), deployed=deployed)
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores n  num_classes of ``image``: n  3  h  w."""
        return self.linear(torch.flatten(self.gap(self.stages(self.stem(image))), 1))


def resnet(
    *,
    num_blocks: Sequence[int],
    block: Literal["basic", "bottleneck", "aggregated"],
    deployed: bool,
    num_classes: int,
) -> ResNet:
    """A ``ResNet`` of the given depth."""
    return ResNet(num_blocks, block, num_classes=num_classes, deployed=deployed)
