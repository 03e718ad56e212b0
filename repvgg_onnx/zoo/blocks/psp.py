"""PSPNet on a narrow RepVGG with interleaved groups.

Source: Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network", 2017; dilations and the fast form as in section 4.4
of Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from repvgg_onnx.zoo.blocks.parts import foldable_conv_bn
from repvgg_onnx.zoo.repvgg import RepVGGBlock

CLASSES = 19
"""Classes of Cityscapes."""

_DEPTHS, _WIDTHS, _STRIDES = (1, 1, 2, 6, 1), (8, 8, 12, 16, 24), (2, 2, 2, 1, 1)
_DILATIONS = (1, 1, 1, 2, 4)


class _Pooled(nn.Module):
    """The input averaged in a grid of ``bins`` × ``bins``, reduced to ``c_out`` channels and resized back."""

    def __init__(self, c_in: int, c_out: int, bins: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(bins)
        self.reduce = nn.Sequential(foldable_conv_bn(c_in, c_out, 1), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return functional.interpolate(self.reduce(self.pool(x)), x.shape[2:], mode="bilinear", align_corners=True)


class _Head(nn.Module):
    """The pyramid of pooled maps beside the input, a 3×3 convolution, the classifier, and the size of the image."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.pyramid = nn.ModuleList(_Pooled(channels, channels // 4, bins) for bins in (1, 2, 3, 6))
        self.merge = nn.Sequential(foldable_conv_bn(2 * channels, hidden, 3), nn.ReLU(), nn.Dropout2d(0.1))
        self.classify = nn.Conv2d(hidden, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        merged = self.merge(torch.cat([x, *(level(x) for level in self.pyramid)], dim=1))
        return functional.interpolate(self.classify(merged), scale_factor=8.0, mode="bilinear", align_corners=True)


def _backbone(dilated_layers: int) -> nn.Sequential:
    """Five stages as of RepVGG-B1g2, output stride 8; only the last ``dilated_layers`` are dilated."""
    blocks: list[nn.Module] = []
    c_in, plain = 3, sum(_DEPTHS) - dilated_layers
    for depth, width, stride, dilation in zip(_DEPTHS, _WIDTHS, _STRIDES, _DILATIONS, strict=True):
        for position in range(depth):
            layer = len(blocks)
            blocks.append(
                RepVGGBlock(
                    c_in,
                    width,
                    stride=1 if position else stride,
                    dilation=dilation if layer >= plain else 1,
                    groups=2 if layer and layer % 2 == 0 else 1,
                )
            )
            c_in = width
    return nn.Sequential(*blocks)


def psp() -> nn.Sequential:
    """Every layer of the last two stages dilated; height and width are multiples of 48."""
    return nn.Sequential(_backbone(_DEPTHS[-2] + _DEPTHS[-1]), _Head(_WIDTHS[-1], 16))


def psp_fast() -> nn.Sequential:
    """The form "-fast": only the last five layers dilated; height and width are multiples of 48."""
    return nn.Sequential(_backbone(5), _Head(_WIDTHS[-1], 16))
