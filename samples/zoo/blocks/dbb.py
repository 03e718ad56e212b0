"""Diverse Branch Block.

The authors pad a normalized map with the value that BN gives to zero, by assignments to the border. That equals BN
after padding with zeros, which is how it is written here.

Source: Ding, Zhang, Han, Ding, "Diverse Branch Block: Building a Convolution as an Inception-like Unit", 2021.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from samples.zoo.blocks.parts import Sum, as_conv, conv, conv_bn, trained, with_activation
from samples.zoo.folding import Foldable


class _IdentityBased(nn.Module):
    """A pointwise convolution with the kernel ``W + I``."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(trained(channels, channels // groups, 1, 1))
        identity = nn.init.dirac_(torch.empty(channels, channels // groups, 1, 1), groups)
        self.register_buffer("identity", identity)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.weight + self.identity, groups=self.groups)


def _padded_norm(channels: int) -> nn.Sequential:
    """The border of 1 has the value that BN gives to zero."""
    return nn.Sequential(nn.ZeroPad2d(1), nn.BatchNorm2d(channels))


def _through_pointwise(c_in: int, c_out: int, stride: int, groups: int) -> nn.Sequential:
    """Pointwise, then 3×3; a depthwise block has twice the channels between them, others start from the identity."""
    depthwise = groups == c_out
    hidden = 2 * c_in if depthwise else c_in
    first = conv(c_in, hidden, 1, groups=groups, bias=False) if depthwise else _IdentityBased(c_in, groups)
    return nn.Sequential(
        first, _padded_norm(hidden), conv_bn(hidden, c_out, 3, stride=stride, padding=0, groups=groups)
    )


def _averaged(c_in: int, c_out: int, stride: int, groups: int) -> nn.Sequential:
    """Pointwise, then the mean of 3×3; a depthwise block has the mean alone."""
    if groups == c_out:
        return nn.Sequential(nn.AvgPool2d(3, stride, 1), nn.BatchNorm2d(c_out))
    pointwise = conv(c_in, c_out, 1, groups=groups, bias=False)
    return nn.Sequential(pointwise, _padded_norm(c_out), nn.AvgPool2d(3, stride), nn.BatchNorm2d(c_out))


def _block(c_in: int, c_out: int, *, stride: int = 1, groups: int = 1) -> Foldable:
    terms = [conv_bn(c_in, c_out, 3, stride=stride, groups=groups)]
    if groups < c_out:
        terms.append(conv_bn(c_in, c_out, 1, stride=stride, groups=groups))
    terms += [_averaged(c_in, c_out, stride, groups), _through_pointwise(c_in, c_out, stride, groups)]
    return as_conv(Sum(*terms), c_in, c_out, 3, stride=stride, groups=groups)


def dbb() -> nn.Sequential:
    """Dense blocks of stride 2 and 1, a groupwise and a depthwise block."""
    return with_activation(
        [_block(3, 8, stride=2), _block(8, 8), _block(8, 12, stride=2, groups=2), _block(12, 12, groups=12)]
    )
