"""A convolution and its batch normalization, the layer of which all baselines are made."""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from repvgg_onnx.zoo.repvgg import fold_batch_norm


class ConvNorm(nn.Sequential):
    """A k×k convolution without a bias that keeps the size of its input (divided by the stride), and its normalization.

    The deployed form is the convolution with a bias.
    """

    def __init__(self, in_channels: int, out_channels: int, size: int, *, stride: int = 1, groups: int = 1) -> None:
        conv = nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups, bias=False)
        super().__init__(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))

    def deployed_form(self) -> nn.Conv2d:
        """One convolution with the weights of both, in the type that they have."""
        conv = self.conv
        with torch.device("meta"):  # initial weights would only be thrown away
            deployed = _biased(
                conv.in_channels, conv.out_channels, conv.kernel_size[0], stride=conv.stride[0], groups=conv.groups
            )
        kernel, bias = fold_batch_norm(conv.weight, self.bn)
        deployed.weight = nn.Parameter(kernel.detach())
        deployed.bias = nn.Parameter(bias.detach())
        return deployed.train(self.training)


def conv_norm(
    in_channels: int, out_channels: int, size: int, *, stride: int = 1, groups: int = 1, deployed: bool = False
) -> nn.Module:
    """A ``ConvNorm``, or the form that it is deployed in, with random weights."""
    make = _biased if deployed else ConvNorm
    return make(in_channels, out_channels, size, stride=stride, groups=groups)


def _biased(in_channels: int, out_channels: int, size: int, *, stride: int, groups: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, size, stride, size // 2, groups=groups)
