"""Linear layers: normalized, in parallel, with adapters, with the channels last.

Source: RepMLP from Ding, Xia, Zhang, Chu, Han, Ding, "RepMLP: Re-parameterizing Convolutions into Fully-connected
Layers for Image Recognition", 2021; adapters from Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen, "LoRA: Low-Rank
Adaptation of Large Language Models", 2021; ConvNeXt from Liu, Mao, Wu, Feichtenhofer, Darrell, Xie, "A ConvNet for
the 2020s", 2022.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from torch import Tensor, nn

from samples.zoo.blocks.parts import (
    Gain,
    Offset,
    Permute,
    Residual,
    Sum,
    as_linear,
    conv,
    foldable_conv_bn,
    trained,
)
from samples.zoo.folding import Foldable


def _linear_bn(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(c_in, c_out, bias=False), nn.BatchNorm1d(c_out))


def repmlp() -> nn.Sequential:
    """Two layers of parallel linear branches with BN, and a BN of the input, on a flattened map of 4  5  7.

    The convolutions that RepMLP has as further branches are matrices there, not convolutions, and are left out.
    """

    def layer(features: int) -> Foldable:
        branches = Sum(_linear_bn(features, features), _linear_bn(features, features), nn.BatchNorm1d(features))
        return as_linear(branches, features, features)

    return nn.Sequential(nn.Flatten(), layer(140), nn.ReLU(), layer(140), nn.ReLU(), nn.Linear(140, 11))


def normalized() -> nn.Sequential:
    """BN before, after and on both sides of linear layers with Relu between them."""

    def around(c_in: int, c_out: int) -> Foldable:
        return as_linear(nn.Sequential(nn.BatchNorm1d(c_in), _linear_bn(c_in, c_out)), c_in, c_out)

    before = as_linear(nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 7)), 12, 7)
    after = as_linear(_linear_bn(20, 16), 20, 16)
    return nn.Sequential(after, nn.ReLU(), around(16, 12), nn.ReLU(), before)


class _Adapted(nn.Module):
    """``linear(x) + (x A) B s``."""

    def __init__(self, c_in: int, c_out: int, rank: int, scale: float) -> None:
        super().__init__()
        self.linear = nn.Linear(c_in, c_out)
        self.down = nn.Parameter(trained(c_in, rank))
        self.up = nn.Parameter(trained(rank, c_out))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + (x @ self.down) @ self.up * self.scale


def adapters() -> nn.Sequential:
    """Two linear layers on the last of four axes, each with an adapter of rank 4."""

    def layer(c_in: int, c_out: int) -> Foldable:
        return as_linear(_Adapted(c_in, c_out, rank=4, scale=0.5), c_in, c_out)

    return nn.Sequential(layer(24, 32), nn.GELU(), layer(32, 20))


def channels_last() -> nn.Sequential:
    """Parallel linear layers on the last axis, each with a factor per feature, and a term per feature after the sum."""

    def layer(c_in: int, c_out: int) -> Foldable:
        branches = Sum(*(nn.Sequential(nn.Linear(c_in, c_out), Gain(c_out)) for _ in range(2)))
        return as_linear(nn.Sequential(branches, Offset(c_out)), c_in, c_out)

    return nn.Sequential(Permute(0, 2, 3, 1), layer(12, 24), nn.GELU(), layer(24, 16), Permute(0, 3, 1, 2))


def _convnext_block(channels: int) -> Residual:
    hidden = 2 * channels
    scaled = nn.Sequential(nn.Linear(hidden, channels), Gain(channels))
    return Residual(
        nn.Sequential(
            conv(channels, channels, 7, groups=channels),
            Permute(0, 2, 3, 1),
            nn.LayerNorm(channels),
            nn.Linear(channels, hidden),
            nn.GELU(),
            as_linear(scaled, hidden, channels),
            Permute(0, 3, 1, 2),
        )
    )


def convnext() -> nn.Sequential:
    """A first convolution and two ConvNeXt blocks, whose layer scale follows a linear layer with the channels last."""
    return nn.Sequential(foldable_conv_bn(3, 12, 3, stride=2), nn.GELU(), _convnext_block(12), _convnext_block(12))
