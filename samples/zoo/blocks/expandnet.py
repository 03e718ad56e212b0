"""ExpandNet: a convolution trained as a chain of three.

Source: Guo, Alvarez, Salzmann, "ExpandNets: Linear Over-parameterization to Train Compact Convolutional Networks",
2020.
"""

from __future__ import annotations

from torch import nn

from samples.zoo.blocks.parts import as_conv, conv
from samples.zoo.blocks.variants import three_blocks

RATE = 4
"""Channels inside a chain for each channel outside."""


def expanded() -> nn.Sequential:
    """Blocks 1×1 → 3×3 → 1×1 → BN; the padding is that of the first 1×1, so the 3×3 has none."""

    def block(c_in: int, c_out: int, stride: int) -> nn.Module:
        body = nn.Sequential(
            conv(c_in, RATE * c_in, 1, padding=1),
            conv(RATE * c_in, RATE * c_out, 3, stride=stride, padding=0),
            conv(RATE * c_out, c_out, 1),
            nn.BatchNorm2d(c_out),
        )
        return as_conv(body, c_in, c_out, 3, stride=stride)

    return three_blocks(block)
