"""Depthwise strips on parts of the channels.

Source: Yu, Zhou, Yan, Wang, "InceptionNeXt: When Inception Meets ConvNeXt", 2024; Zhao, Luo, Ouyang, "RepNeXt: A Fast
Multi-Scale CNN using Structural Reparameterization", 2024.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from samples.zoo.blocks.parts import Gain, Residual, Size, Sum, as_conv, conv, conv_bn, foldable_conv_bn


class _SplitConcat(nn.Module):
    """The channels in parts, each through its own branch, and together again."""

    def __init__(self, parts: Sequence[int], *branches: nn.Module) -> None:
        super().__init__()
        self.parts = list(parts)
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        chunks = torch.split(x, self.parts, dim=1)
        return torch.cat([branch(chunk) for branch, chunk in zip(self.branches, chunks, strict=True)], dim=1)


def _depthwise(channels: int, size: Size, *, bias: bool = True, dilation: int = 1) -> nn.Module:
    return conv(channels, channels, size, groups=channels, bias=bias, dilation=dilation)


def _inception_block(channels: int) -> Residual:
    part = channels // 4
    mixer = _SplitConcat(
        (channels - 3 * part, part, part, part),
        nn.Identity(),
        _depthwise(part, 3),
        _depthwise(part, (1, 11)),
        _depthwise(part, (11, 1)),
    )
    hidden = 2 * channels
    expand = nn.Sequential(nn.BatchNorm2d(channels), conv(channels, hidden, 1))
    project = nn.Sequential(conv(hidden, channels, 1), Gain(channels, 1, 1))
    layers = mixer, as_conv(expand, channels, hidden, 1), nn.GELU(), as_conv(project, hidden, channels, 1)
    return Residual(nn.Sequential(*layers))


def inceptionnext() -> nn.Sequential:
    """Two blocks: identity, 3×3, 1×11 and 11×1 on parts of the channels, then BN, two pointwise layers, layer scale."""
    return nn.Sequential(foldable_conv_bn(3, 16, 4, stride=2, padding=1), _inception_block(16), _inception_block(16))


def _small(channels: int) -> nn.Module:
    """3×3, 1×3, 3×1 and a 2×2 of dilation 2."""
    strips = [_depthwise(channels, size) for size in (3, (3, 1), (1, 3))]
    return as_conv(Sum(*strips, _depthwise(channels, 2, dilation=2)), channels, channels, 3, groups=channels)


def _medium(channels: int) -> nn.Module:
    """7×7, 5×3, 3×5, and chains 1×7→7×1 and 1×5→5×1."""
    kernels = [_depthwise(channels, size) for size in (7, (5, 3), (3, 5))]
    chains = [
        nn.Sequential(_depthwise(channels, (1, size), bias=False), _depthwise(channels, (size, 1), bias=False))
        for size in (7, 5)
    ]
    return as_conv(Sum(*kernels, *chains), channels, channels, 7, groups=channels)


def _large(channels: int) -> nn.Sequential:
    """1×11→11×1 with biases, which stays a chain: one kernel would cost more and miss the border."""
    return nn.Sequential(_depthwise(channels, (1, 11)), _depthwise(channels, (11, 1)))


def _chunked_block(channels: int) -> Residual:
    part, hidden = channels // 4, 2 * channels
    mixer = _SplitConcat((part,) * 4, nn.Identity(), _small(part), _medium(part), _large(part))
    expand = nn.Sequential(nn.BatchNorm2d(channels), conv_bn(channels, hidden, 1))
    layers = mixer, as_conv(expand, channels, hidden, 1), nn.GELU(), foldable_conv_bn(hidden, channels, 1)
    return Residual(nn.Sequential(*layers))


def repnext() -> nn.Sequential:
    """Two blocks with small, medium and large kernels on quarters of the channels."""
    return nn.Sequential(foldable_conv_bn(3, 16, 3, stride=2), nn.GELU(), _chunked_block(16), _chunked_block(16))
