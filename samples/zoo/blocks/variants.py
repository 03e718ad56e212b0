"""RepVGG's block in its uses and ablations.

Source: Ding, Zhang, Ma, Han, Ding, Sun, "RepVGG: Making VGG-style ConvNets Great Again", 2021, tables 6 and 7; ACB
from Ding, Guo, Ding, Han, "ACNet: Strengthening the Kernel Skeletons for Powerful CNN via Asymmetric Convolution
Blocks", 2019.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from repvgg_onnx.zoo.repvgg import RepVGGBlock
from samples.zoo.blocks.parts import Residual, Sum, as_conv, conv, conv_bn, foldable_conv_bn, with_activation

Block = Callable[[int, int, int], nn.Module]
"""Makes a block without the final Relu: c_in, c_out, stride."""


def three_blocks(block: Block) -> nn.Sequential:
    """A block of stride 2, one that could keep its input, one of stride 2 again, each followed by a Relu."""
    return with_activation([block(3, 8, 2), block(8, 8, 1), block(8, 12, 2)])


def strided() -> nn.Sequential:
    """Three blocks of stride 2; the sizes may be odd or even."""
    return nn.Sequential(RepVGGBlock(3, 8, stride=2), RepVGGBlock(8, 12, stride=2), RepVGGBlock(12, 16, stride=2))


def dilated() -> nn.Sequential:
    """Blocks whose 3×3 branches have dilations 2 and 4, as in a backbone for segmentation."""
    return nn.Sequential(RepVGGBlock(3, 8, stride=2), RepVGGBlock(8, 8, dilation=2), RepVGGBlock(8, 12, dilation=4))


def grouped() -> nn.Sequential:
    """Blocks of 2 groups and of as many groups as channels."""
    return nn.Sequential(RepVGGBlock(3, 8, stride=2), RepVGGBlock(8, 8, groups=2), RepVGGBlock(8, 8, groups=8))


def _keeps(c_in: int, c_out: int, stride: int) -> bool:
    return c_in == c_out and stride == 1


def _ablated(identity: bool, pointwise: bool) -> Block:
    def block(c_in: int, c_out: int, stride: int) -> nn.Module:
        branches = [conv_bn(c_in, c_out, 3, stride=stride)]
        if pointwise:
            branches.append(conv_bn(c_in, c_out, 1, stride=stride))
        if identity and _keeps(c_in, c_out, stride):
            branches.append(nn.BatchNorm2d(c_in))
        return as_conv(Sum(*branches), c_in, c_out, 3, stride=stride)

    return block


def identity_only() -> nn.Sequential:
    """Table 6: no 1×1 branch."""
    return three_blocks(_ablated(identity=True, pointwise=False))


def pointwise_only() -> nn.Sequential:
    """Table 6: no identity branch."""
    return three_blocks(_ablated(identity=False, pointwise=True))


def plain() -> nn.Sequential:
    """Table 6: the 3×3 branch alone."""
    return three_blocks(_ablated(identity=False, pointwise=False))


def bare_identity() -> nn.Sequential:
    """Table 7, "Identity w/o BN"."""

    def block(c_in: int, c_out: int, stride: int) -> nn.Module:
        branches = [conv_bn(c_in, c_out, 3, stride=stride), conv_bn(c_in, c_out, 1, stride=stride)]
        skip = [nn.Identity()] if _keeps(c_in, c_out, stride) else []
        return as_conv(Sum(*branches, *skip), c_in, c_out, 3, stride=stride)

    return three_blocks(block)


def post_addition_norm() -> nn.Sequential:
    """Table 7, "Post-addition BN": one normalization of the sum in place of one in each branch."""

    def block(c_in: int, c_out: int, stride: int) -> nn.Module:
        branches = [conv(c_in, c_out, size, stride=stride, bias=False) for size in (3, 1)]
        skip = [nn.Identity()] if _keeps(c_in, c_out, stride) else []
        body = nn.Sequential(Sum(*branches, *skip), nn.BatchNorm2d(c_out))
        return as_conv(body, c_in, c_out, 3, stride=stride)

    return three_blocks(block)


def relu_in_branch() -> nn.Sequential:
    """Table 7, "+ReLU in branch": each branch ends with a Relu, so only the inside of a branch is linear."""

    def block(c_in: int, c_out: int, stride: int) -> nn.Module:
        branches = [nn.Sequential(foldable_conv_bn(c_in, c_out, size, stride=stride), nn.ReLU()) for size in (3, 1)]
        skip = [nn.Sequential(nn.BatchNorm2d(c_in), nn.ReLU())] if _keeps(c_in, c_out, stride) else []
        return Sum(*branches, *skip)

    return three_blocks(block)


def residual_reorganization() -> nn.Sequential:
    """Table 7, "Residual Reorg": residual blocks of two 3×3 layers, with a projection where the shape changes."""

    def two_layers(c_in: int, c_out: int, stride: int) -> nn.Sequential:
        return nn.Sequential(
            foldable_conv_bn(c_in, c_out, 3, stride=stride), nn.ReLU(), foldable_conv_bn(c_out, c_out, 3)
        )

    projected = Sum(two_layers(8, 12, 2), foldable_conv_bn(8, 12, 1, stride=2))
    return with_activation([foldable_conv_bn(3, 8, 3, stride=2), Residual(two_layers(8, 8, 1)), projected])


def asymmetric() -> nn.Sequential:
    """Table 7, "ACB": 3×3, 1×3 and 3×1 branches."""

    def block(c_in: int, c_out: int, stride: int) -> nn.Module:
        branches = [conv_bn(c_in, c_out, size, stride=stride) for size in (3, (1, 3), (3, 1))]
        return as_conv(Sum(*branches), c_in, c_out, 3, stride=stride)

    return three_blocks(block)
