"""Large depthwise kernels beside small or dilated ones.

Source: Ding, Zhang, Zhou, Han, Ding, Sun, "Scaling Up Your Kernels to 31x31: Revisiting Large Kernel Design in CNNs",
2022; Ding, Zhang, Ge, Zhao, Song, Yue, Shan, "UniRepLKNet: A Universal Perception Large-Kernel ConvNet", 2024.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

import torch
from torch import Tensor, nn

from repvgg_onnx.zoo.repvgg import SEBlock
from samples.zoo.blocks.parts import (
    Gain,
    Offset,
    Permute,
    Residual,
    Sum,
    as_conv,
    conv_bn,
    foldable_conv_bn,
    trained,
)
from samples.zoo.folding import Foldable, fold_into


def _pre_normalized(c_in: int, c_out: int) -> Foldable:
    """BN, a pointwise convolution, BN."""
    return as_conv(nn.Sequential(nn.BatchNorm2d(c_in), conv_bn(c_in, c_out, 1)), c_in, c_out, 1)


def _replk_block(channels: int) -> Residual:
    kernels = Sum(*(conv_bn(channels, channels, size, groups=channels) for size in (13, 5)))
    return Residual(
        nn.Sequential(
            _pre_normalized(channels, channels),
            nn.ReLU(),
            as_conv(kernels, channels, channels, 13, groups=channels),
            nn.ReLU(),
            foldable_conv_bn(channels, channels, 1),
        )
    )


def _feed_forward(channels: int) -> Residual:
    hidden = 2 * channels
    layers = _pre_normalized(channels, hidden), nn.GELU(), foldable_conv_bn(hidden, channels, 1)
    return Residual(nn.Sequential(*layers))


def replknet() -> nn.Sequential:
    """A block with a 13×13 beside a 5×5 depthwise convolution, a feed-forward block, and a block again."""
    return nn.Sequential(
        foldable_conv_bn(3, 12, 3, stride=2), nn.ReLU(), _replk_block(12), _feed_forward(12), _replk_block(12)
    )


def _dilated_branches(channels: int) -> Foldable:
    """A 9×9 depthwise convolution and four smaller ones of dilation 1 to 4, each with BN; BN again after the sum."""
    smaller = zip((5, 5, 3, 3), (1, 2, 3, 4), strict=True)
    terms = Sum(
        conv_bn(channels, channels, 9, groups=channels),
        *(conv_bn(channels, channels, size, dilation=step, groups=channels) for size, step in smaller),
    )
    return as_conv(nn.Sequential(terms, nn.BatchNorm2d(channels)), channels, channels, 9, groups=channels)


class _ResponseNorm(nn.Module):
    """Global response normalization, channels last, without its additive term."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(trained(channels))

    def forward(self, x: Tensor) -> Tensor:
        response = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
        relative = response / (response.mean(dim=-1, keepdim=True) + 1e-6)
        return (self.gamma * relative + 1) * x


class _Projection(nn.Module):
    """The response normalization's additive term, a linear layer, channels to the front, BN and a layer scale.

    The deployed form is the linear layer and the change of axes.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.features = c_in, c_out
        self.body = nn.Sequential(
            Offset(c_in),
            nn.Linear(c_in, c_out, bias=False),
            Permute(0, 3, 1, 2),
            nn.BatchNorm2d(c_out),
            Gain(c_out, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)

    def deployed_form(self) -> nn.Module:
        linear = nn.Linear(*self.features, device="meta")
        dtype = self.body[1].weight.dtype
        folded = fold_into(linear, lambda rows: self.body(rows[:, None, None]).flatten(1), dtype)
        return nn.Sequential(folded, Permute(0, 3, 1, 2))


def _unireplk_block(channels: int) -> Residual:
    hidden = 2 * channels
    return Residual(
        nn.Sequential(
            _dilated_branches(channels),
            SEBlock(channels, channels // 4),
            Permute(0, 2, 3, 1),
            nn.Linear(channels, hidden),
            nn.GELU(),
            _ResponseNorm(hidden),
            _Projection(hidden, channels),
        )
    )


def unireplknet() -> nn.Sequential:
    """A first convolution and two blocks of dilated branches, whose pointwise layers have the channels last."""
    return nn.Sequential(foldable_conv_bn(3, 12, 3, stride=2), nn.GELU(), _unireplk_block(12), _unireplk_block(12))
