"""Transposed convolutions, as decoders and generators have them."""

from __future__ import annotations

from functools import partial

from torch import nn

from samples.zoo.blocks.parts import Gain, Sum, foldable_conv_bn
from samples.zoo.folding import Foldable


def transposed() -> nn.Sequential:
    """Two parallel transposed convolutions with BN, then a groupwise one with BN and a factor per channel."""
    dense = partial(nn.ConvTranspose2d, 8, 12, 4, stride=2, padding=1)
    branches = Sum(*(nn.Sequential(dense(bias=False), nn.BatchNorm2d(12)) for _ in range(2)))
    grouped = partial(nn.ConvTranspose2d, 12, 6, 3, stride=2, padding=1, groups=2)
    scaled = nn.Sequential(grouped(), nn.BatchNorm2d(6), Gain(6, 1, 1))
    return nn.Sequential(
        foldable_conv_bn(3, 8, 3, stride=2), nn.ReLU(), Foldable(branches, dense), nn.ReLU(), Foldable(scaled, grouped)
    )
