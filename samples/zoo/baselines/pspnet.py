"""PSPNet on RepVGG.

Source: Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network", 2017; dilations and the fast form as in section 4.4
of Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from repvgg_onnx.zoo.repvgg import RepVGGBlock, groups_of, widths_of
from samples.zoo.baselines.parts import conv_norm

FAST = 5
"""How many layers the form "-fast" dilates."""

_STRIDES, _DILATIONS = (2, 2, 2, 1, 1), (1, 1, 1, 2, 4)
_BINS = (1, 2, 3, 6)


class _Pooled(nn.Module):
    """The input averaged in a grid of ``bins`` × ``bins``, reduced to ``c_out`` channels and resized back."""

    def __init__(self, c_in: int, c_out: int, bins: int, *, deployed: bool) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(bins)
        self.reduce = nn.Sequential(conv_norm(c_in, c_out, 1, deployed=deployed), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.reduce(self.pool(x)), x.shape[2:], mode="bilinear", align_corners=True)


class PSPHead(nn.Module):
    """The pyramid of pooled maps beside the input, a 3×3 convolution, the classifier, and the size of the image.

    Args:
        channels: of the input.
        hidden: channels between the 3×3 convolution and the classifier.
        num_classes: channels of the output.
        deployed: build the deployed form.
    """

    def __init__(self, channels: int, hidden: int, *, num_classes: int, deployed: bool = False) -> None:
        super().__init__()
        share = channels // len(_BINS)
        self.pyramid = nn.ModuleList(_Pooled(channels, share, bins, deployed=deployed) for bins in _BINS)
        merge = conv_norm(channels + share * len(_BINS), hidden, 3, deployed=deployed)
        self.merge = nn.Sequential(merge, nn.ReLU(), nn.Dropout2d(0.1))
        self.classify = nn.Conv2d(hidden, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores n  num_classes  8h  8w of feature maps ``x``: n  channels  h  w, h and w multiples of 6."""
        merged = self.merge(torch.cat([x, *(level(x) for level in self.pyramid)], dim=1))
        return functional.interpolate(self.classify(merged), scale_factor=8.0, mode="bilinear", align_corners=True)


def backbone(
    depths: Sequence[int], widths: Sequence[int], *, groups: int, dilated_layers: int | None, deployed: bool = False
) -> nn.Sequential:
    """Five stages of RepVGG blocks of output stride 8.

    Args:
        depths: blocks of each stage.
        widths: channels of each stage.
        groups: groups of every other layer from the third on.
        dilated_layers: how many of the last layers are dilated; by default every one of the last two stages.
        deployed: build the deployed form.
    """
    blocks: list[nn.Module] = []
    c_in, plain = 3, sum(depths) - (sum(depths) if dilated_layers is None else dilated_layers)
    for depth, width, stride, dilation in zip(depths, widths, _STRIDES, _DILATIONS, strict=True):
        for position in range(depth):
            layer = len(blocks)
            blocks.append(
                RepVGGBlock(
                    c_in,
                    width,
                    stride=1 if position else stride,
                    dilation=dilation if layer >= plain else 1,
                    groups=groups_of(layer + 1, groups),
                    deployed=deployed,
                )
            )
            c_in = width
    return nn.Sequential(*blocks)


def pspnet(
    *,
    num_blocks: Sequence[int],
    width_multipliers: tuple[float, float],
    groups: int,
    fast: bool,
    deployed: bool,
    num_classes: int,
) -> nn.Sequential:
    """PSPNet on the RepVGG of these sizes; height and width are multiples of 48.

    ``fast`` leaves all but the last five layers without dilation.
    """
    widths = widths_of(*width_multipliers)
    features = backbone(
        (1, *num_blocks), widths, groups=groups, dilated_layers=FAST if fast else None, deployed=deployed
    )
    return nn.Sequential(features, PSPHead(widths[-1], 512, num_classes=num_classes, deployed=deployed))
