"""RepGhost: ghost modules that add where others concatenate.

Source: Chen, Guo, Zeng, Xiong, Dong, "RepGhost: A Hardware-Efficient Ghost Module via Re-parameterization", 2022.
"""

from __future__ import annotations

from torch import nn

from samples.zoo.blocks.parts import Residual, Sum, as_conv, conv_bn, foldable_conv_bn, with_activation


def _module(c_in: int, c_out: int, *, relu: bool) -> nn.Sequential:
    """A pointwise convolution, then a depthwise 3×3 and a BN of the same input, summed."""
    cheap = Sum(conv_bn(c_out, c_out, 3, groups=c_out), nn.BatchNorm2d(c_out))
    blocks = [foldable_conv_bn(c_in, c_out, 1), as_conv(cheap, c_out, c_out, 3, groups=c_out)]
    return with_activation(blocks) if relu else nn.Sequential(*blocks)


def _strided_bottleneck(c_in: int, hidden: int, c_out: int) -> Sum:
    main = nn.Sequential(
        _module(c_in, hidden, relu=True),
        foldable_conv_bn(hidden, hidden, 3, stride=2, groups=hidden),
        _module(hidden, c_out, relu=False),
    )
    shortcut = nn.Sequential(foldable_conv_bn(c_in, c_in, 3, stride=2, groups=c_in), foldable_conv_bn(c_in, c_out, 1))
    return Sum(main, shortcut)


def repghost() -> nn.Sequential:
    """A first convolution, a bottleneck that keeps its shape and one of stride 2."""
    kept = nn.Sequential(_module(8, 8, relu=True), _module(8, 8, relu=False))
    return nn.Sequential(foldable_conv_bn(3, 8, 3, stride=2), nn.ReLU(), Residual(kept), _strided_bottleneck(8, 24, 12))
