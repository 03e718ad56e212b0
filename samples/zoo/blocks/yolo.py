"""Convolutions of YOLO detectors: RepConv in three spellings, and implicit knowledge.

Source: Li et al., "YOLOv6: A Single-Stage Object Detection Framework for Industrial Applications", 2022; Wang,
Bochkovskiy, Liao, "YOLOv7: Trainable Bag-of-Freebies Sets New State-of-the-Art for Real-Time Object Detectors", 2023;
Wang, Yeh, Liao, "YOLOv9: Learning What You Want to Learn Using Programmable Gradient Information", 2024; implicit
knowledge from Wang, Yeh, Liao, "You Only Learn One Representation: Unified Network for Multiple Tasks", 2021.
"""

from __future__ import annotations

from torch import nn

from samples.zoo.blocks.parts import (
    Concat,
    Gain,
    Offset,
    Residual,
    Sum,
    as_conv,
    conv,
    conv_bn,
    foldable_conv_bn,
    with_activation,
)
from samples.zoo.folding import Foldable


def _rep_conv(c_in: int, c_out: int, *, stride: int = 1, identity: bool, from_zero: bool = False) -> Foldable:
    branches = [conv_bn(c_in, c_out, size, stride=stride) for size in (3, 1)]
    skip = [nn.BatchNorm2d(c_in)] if identity and c_in == c_out and stride == 1 else []
    return as_conv(Sum(*branches, *skip, from_zero=from_zero), c_in, c_out, 3, stride=stride)


def _conv_silu(c_in: int, c_out: int, size: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(foldable_conv_bn(c_in, c_out, size, stride=stride), nn.SiLU())


def yolov6() -> nn.Sequential:
    """A strided RepVGG block and a RepBlock of two, with Relu."""
    return with_activation(
        [_rep_conv(3, 8, stride=2, identity=True), *(_rep_conv(8, 8, identity=True) for _ in range(2))]
    )


def yolov7() -> nn.Sequential:
    """An aggregation block of a few layers, then a RepConv as in front of the head, with Silu."""
    deep = nn.Sequential(_conv_silu(8, 4, 1), _conv_silu(4, 4, 3), _conv_silu(4, 4, 3))
    aggregated = nn.Sequential(Concat(_conv_silu(8, 4, 1), deep), _conv_silu(8, 12, 1))
    return nn.Sequential(_conv_silu(3, 8, 3, stride=2), aggregated, _rep_conv(12, 12, identity=True), nn.SiLU())


def yolov9() -> nn.Sequential:
    """A cross-stage block whose bottlenecks begin with a RepConv without identity, with Silu."""

    def bottleneck(channels: int) -> Residual:
        first = _rep_conv(channels, channels, identity=False, from_zero=True)
        return Residual(nn.Sequential(first, nn.SiLU(), _conv_silu(channels, channels, 3)))

    deep = nn.Sequential(_conv_silu(16, 8, 1), bottleneck(8), bottleneck(8))
    return nn.Sequential(_conv_silu(3, 16, 3, stride=2), Concat(deep, _conv_silu(16, 8, 1)), _conv_silu(16, 20, 1))


def implicit() -> nn.Sequential:
    """YOLOv7's detection layer: a trained term added before, and a trained factor after, a pointwise convolution."""
    knowing = nn.Sequential(Offset(1, 12, 1, 1), conv(12, 33, 1), Gain(1, 33, 1, 1))
    return nn.Sequential(
        _conv_silu(3, 8, 3, stride=2), _rep_conv(8, 12, identity=True), nn.SiLU(), as_conv(knowing, 12, 33, 1)
    )
