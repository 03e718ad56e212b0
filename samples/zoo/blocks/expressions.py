"""Convolutions whose kernel is an expression of other parameters, computed in each forward pass.

Source: DiracNet from Zagoruyko, Komodakis, "DiracNets: Training Very Deep Neural Networks Without Skip-Connections",
2017; the trivial re-parameterization from table 7 of "RepVGG", 2021; DO-Conv from Cao, Li, Sun, Chen, Lischinski,
Cohen-Or, Chen, Tu, "DO-Conv: Depthwise Over-parameterized Convolutional Layer", 2020; OREPA from Hu, Feng, Hua, Lai,
Huang, Gong, Hua, "Online Convolutional Re-parameterization", 2022; weight standardization from Qiao, Wang, Liu, Shen,
Yuille, "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization", 2019.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from samples.zoo.blocks.parts import as_conv, trained
from samples.zoo.blocks.variants import three_blocks


class _ExpressedConv(nn.Module):
    """A 3×3 convolution with padding 1 and no bias, whose kernel begins with the parameter ``weight``."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(nn.init.kaiming_uniform_(torch.empty(c_out, c_in, 3, 3)))

    def kernel(self) -> Tensor:
        """The kernel, c_out  c_in  3  3: the parameter itself, unless a subclass makes more of it."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.kernel(), stride=self.stride, padding=1)


class _Dirac(_ExpressedConv):
    """diag(a) I + diag(b) W/‖W‖, the norm taken over each filter."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__(c_in, c_out, stride)
        self.a = nn.Parameter(trained(c_out, 1, 1, 1, around=1.0))
        self.b = nn.Parameter(trained(c_out, 1, 1, 1, around=0.5))
        self.register_buffer("delta", nn.init.dirac_(torch.empty(c_out, c_in, 3, 3)))

    def kernel(self) -> Tensor:
        norm = self.weight.flatten(1).norm(dim=1)[:, None, None, None]
        return self.a * self.delta + self.b * (self.weight / norm)


class _Trivial(_ExpressedConv):
    """I + W."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__(c_in, c_out, stride)
        self.register_buffer("delta", nn.init.dirac_(torch.empty(c_out, c_in, 3, 3)))

    def kernel(self) -> Tensor:
        return self.weight + self.delta


class _DepthwiseOverParameterized(_ExpressedConv):
    """Each input channel's 9 taps of W go through a 9×9 matrix of the channel's own."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__(c_in, c_out, stride)
        self.depthwise = nn.Parameter(trained(c_in, 9, 9))
        self.register_buffer("eye", torch.eye(9).repeat(c_in, 1, 1))

    def kernel(self) -> Tensor:
        taps = torch.einsum("ims,ois->oim", self.depthwise + self.eye, self.weight.flatten(2))
        return taps.reshape(self.weight.shape)


class _OnlineReparameterized(_ExpressedConv):
    """A 3×3, an averaged 1×1, a 1×1, and a 1×1 followed by a 3×3, each with a gain per filter, summed as kernels."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__(c_in, c_out, stride)
        self.averaged = nn.Parameter(trained(c_out, c_in))
        self.pointwise = nn.Parameter(trained(c_out, c_in, 1, 1))
        self.first = nn.Parameter(trained(c_in, c_in))
        self.second = nn.Parameter(trained(c_out, c_in, 3, 3))
        self.gains = nn.Parameter(trained(4, c_out, around=0.5))
        self.register_buffer("box", torch.full((3, 3), 1 / 9))
        self.register_buffer("eye", torch.eye(c_in))

    def kernel(self) -> Tensor:
        terms = (
            self.weight,
            torch.einsum("oi,hw->oihw", self.averaged, self.box),
            functional.pad(self.pointwise, (1, 1, 1, 1)),
            torch.einsum("ti,othw->oihw", self.first + self.eye, self.second),
        )
        scaled = [torch.einsum("oihw,o->oihw", term, gain) for term, gain in zip(terms, self.gains, strict=True)]
        return (scaled[0] + scaled[1] + scaled[2] + scaled[3]).reshape(self.weight.shape)


class _Standardized(_ExpressedConv):
    """W with mean 0 and variance 1 over each filter."""

    def kernel(self) -> Tensor:
        centered = self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True)
        deviation = centered.flatten(1).std(dim=1)[:, None, None, None] + 1e-5
        return centered / deviation


def _normalized(kind: type[_ExpressedConv]) -> nn.Sequential:
    def block(c_in: int, c_out: int, stride: int) -> nn.Module:
        body = nn.Sequential(kind(c_in, c_out, stride), nn.BatchNorm2d(c_out))
        return as_conv(body, c_in, c_out, 3, stride=stride)

    return three_blocks(block)


def diracnet() -> nn.Sequential:
    """Table 7 of RepVGG, "DiracNet"."""
    return _normalized(_Dirac)


def trivial() -> nn.Sequential:
    """Table 7 of RepVGG, "Trivial Re-param": DiracNet with a = b = 1 and no norm."""
    return _normalized(_Trivial)


def do_conv() -> nn.Sequential:
    """DO-Conv layers with batch normalization."""
    return _normalized(_DepthwiseOverParameterized)


def orepa() -> nn.Sequential:
    """OREPA layers with batch normalization, with four of its seven branches."""
    return _normalized(_OnlineReparameterized)


def standardized() -> nn.Sequential:
    """Weight-standardized layers with group normalization, which stays."""

    def block(c_in: int, c_out: int, stride: int) -> nn.Module:
        layer = as_conv(_Standardized(c_in, c_out, stride), c_in, c_out, 3, stride=stride)
        return nn.Sequential(layer, nn.GroupNorm(4, c_out))

    return three_blocks(block)
