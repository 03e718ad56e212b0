"""Edge-oriented convolution block for super-resolution.

The authors pad the result of a pointwise convolution with its bias, by assignments to the border. That equals padding
the input of the pointwise convolution with zeros, which is how it is written here.

Source: Zhang, Zeng, Zhang, "Edge-oriented Convolution Block for Real-time Super Resolution on Mobile Devices", 2021.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from samples.zoo.blocks.parts import Sum, as_conv, conv, trained
from samples.zoo.folding import Foldable

SCALE = 2
"""Pixels of the output for each pixel of the input, on each axis."""

_SOBEL_X = ((1, 0, -1), (2, 0, -2), (1, 0, -1))
_SOBEL_Y = ((1, 2, 1), (0, 0, 0), (-1, -2, -1))
_LAPLACIAN = ((0, 1, 0), (1, -4, 1), (0, 1, 0))
_MASKS = (_SOBEL_X, _SOBEL_Y, _LAPLACIAN)


class _EdgeFilter(nn.Module):
    """A fixed depthwise 3×3 mask without padding, with a trained factor and bias for each channel."""

    def __init__(self, channels: int, mask: tuple[tuple[int, ...], ...]) -> None:
        super().__init__()
        self.scale = nn.Parameter(trained(channels, 1, 1, 1))
        self.bias = nn.Parameter(trained(channels))
        self.register_buffer("mask", torch.tensor(mask, dtype=torch.float32).repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.scale * self.mask, self.bias, groups=len(self.mask))


def _edge_block(c_in: int, c_out: int) -> Foldable:
    """A 3×3, an expanding 1×1→3×3, three 1×1→edge filter, and the identity where the channels agree."""
    edges = [nn.Sequential(conv(c_in, c_out, 1, padding=1), _EdgeFilter(c_out, mask)) for mask in _MASKS]
    expanded = nn.Sequential(conv(c_in, 2 * c_out, 1, padding=1), conv(2 * c_out, c_out, 3, padding=0))
    skip = [nn.Identity()] if c_in == c_out else []
    return as_conv(Sum(conv(c_in, c_out, 3), expanded, *edges, *skip), c_in, c_out, 3)


class _SuperResolution(nn.Module):
    """Blocks with PRelu, the input added to each of the last block's channels, and a shuffle of channels to pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            _edge_block(1, channels),
            nn.PReLU(channels),
            _edge_block(channels, channels),
            nn.PReLU(channels),
            _edge_block(channels, SCALE**2),
        )
        self.upsample = nn.PixelShuffle(SCALE)

    def forward(self, x: Tensor) -> Tensor:
        return self.upsample(self.backbone(x) + x)


def ecbsr() -> nn.Module:
    """Three edge blocks that double the size of a luminance image."""
    return _SuperResolution(8)
