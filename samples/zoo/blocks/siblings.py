"""Convolutions that read one input and are concatenated."""

from __future__ import annotations

from torch import nn

from samples.zoo.blocks.parts import Concat, as_conv, conv_bn, foldable_conv_bn


def mixed() -> nn.Sequential:
    """Three 3×3 convolutions side by side, concatenated and mixed by a pointwise one: one 3×3 convolution."""
    siblings = Concat(*(conv_bn(8, 8, 3) for _ in range(3)))
    mixed = nn.Sequential(siblings, conv_bn(24, 12, 1))
    return nn.Sequential(foldable_conv_bn(3, 8, 3, stride=2), nn.ReLU(), as_conv(mixed, 8, 12, 3), nn.ReLU())


def stacked() -> nn.Sequential:
    """Three pointwise convolutions side by side, concatenated: one that gives all their channels."""
    siblings = Concat(*(conv_bn(8, channels, 1) for channels in (4, 6, 10)))
    return nn.Sequential(foldable_conv_bn(3, 8, 3, stride=2), nn.ReLU(), as_conv(siblings, 8, 20, 1), nn.ReLU())
