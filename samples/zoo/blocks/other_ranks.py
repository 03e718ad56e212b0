"""Blocks for sequences and for video.

Source: the time-delay network from Snyder, Garcia-Romero, Sell, Povey, Khudanpur, "X-Vectors: Robust DNN Embeddings
for Speaker Recognition", 2018; the blocks from Ding et al., "RepVGG: Making VGG-style ConvNets Great Again", 2021.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from samples.zoo.blocks.parts import Size, Sum, as_conv, conv, conv_bn, with_activation
from samples.zoo.folding import Foldable

_NORMS = {1: nn.BatchNorm1d, 3: nn.BatchNorm3d}


def _block(c_in: int, c_out: int, *, rank: int, stride: Size = 1) -> Foldable:
    branches = [conv_bn(c_in, c_out, size, stride=stride, rank=rank) for size in (3, 1)]
    skip = [_NORMS[rank](c_in)] if c_in == c_out and stride == 1 else []
    return as_conv(Sum(*branches, *skip), c_in, c_out, 3, stride=stride, rank=rank)


def repvgg_1d() -> nn.Sequential:
    """RepVGG's block on sequences."""
    return with_activation([_block(12, 16, rank=1, stride=2), _block(16, 16, rank=1), _block(16, 20, rank=1)])


def repvgg_3d() -> nn.Sequential:
    """RepVGG's block on video, where only the image is strided."""
    return with_activation([_block(3, 8, rank=3, stride=(1, 2, 2)), _block(8, 8, rank=3)])


def tdnn() -> nn.Sequential:
    """Convolutions of growing dilation without padding, each followed by Relu and a BN, which the next one absorbs."""

    def after_norm(c_in: int, c_out: int, size: int, dilation: int) -> Foldable:
        geometry: dict[str, Any] = {"dilation": dilation, "padding": 0, "rank": 1}
        body = nn.Sequential(nn.BatchNorm1d(c_in), conv(c_in, c_out, size, **geometry))
        return as_conv(body, c_in, c_out, size, **geometry)

    return nn.Sequential(
        conv(12, 16, 5, padding=0, rank=1),
        nn.ReLU(),
        after_norm(16, 16, 3, 2),
        nn.ReLU(),
        after_norm(16, 16, 3, 3),
        nn.ReLU(),
        after_norm(16, 24, 1, 1),
    )
