"""RepVGG (Ding et al., arXiv 2101.03697) with the parameter names of the original release."""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional


def fold_batch_norm(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """The kernel and bias of ``norm(conv(x, kernel))`` at inference.

    Args:
        kernel: c_out  c_in/group  kh  kw.
        norm: batch normalization of c_out channels with running statistics.

    Returns:
        A kernel of the same shape and a bias of c_out values.
    """
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return kernel * gain[:, None, None, None], norm.bias - norm.running_mean * gain


def identity_kernel(channels: int, groups: int) -> Tensor:
    """The 1×1 kernel (channels  channels/groups  1  1, float64) of the grouped convolution that does nothing."""
    per_group = channels // groups
    kernel = torch.zeros(channels, per_group, 1, 1, dtype=torch.float64)
    outputs = torch.arange(channels)
    kernel[outputs, outputs % per_group] = 1
    return kernel


def _conv_bn(
    in_channels: int, out_channels: int, *, size: int, stride: int, dilation: int, groups: int
) -> nn.Sequential:
    padding = dilation * (size // 2)
    conv = nn.Conv2d(in_channels, out_channels, size, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(out_channels)))


class SEBlock(nn.Module):
    """Squeeze-and-excite: every channel is multiplied by a gate that the channel means decide."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(channels, hidden, 1)
        self.up = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The gated ``x``: n  c  h  w, as it came."""
        gate = functional.relu(self.down(functional.adaptive_avg_pool2d(x, 1)))
        return x * torch.sigmoid(self.up(gate))


@dataclass(frozen=True)
class Form:
    """How a block is built.

    Attributes:
        squeeze_excite: put squeeze-and-excite before the Relu.
        identity: have the branch that keeps the input, where the shapes agree (table 6 of the paper leaves it out).
        pointwise: have the branch with the 1×1 (likewise).
        deployed: build the deployed form.
    """

    squeeze_excite: bool = False
    identity: bool = True
    pointwise: bool = True
    deployed: bool = False


class RepVGGBlock(nn.Module):
    """3×3 Conv→BN + 1×1 Conv→BN + BN of the input (where the shapes agree), squeeze-and-excite if asked, Relu.

    The deployed form is one 3×3 convolution with a bias in place of the three branches.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        stride: of the 3×3 and of the 1×1.
        dilation: of the 3×3.
        groups: of the 3×3 and of the 1×1.
        **form: the fields of Form.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        **form: bool,
    ) -> None:
        super().__init__()
        built = Form(**form)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride, self.dilation, self.groups, self.deployed = stride, dilation, groups, built.deployed
        self.nonlinearity = nn.ReLU()
        self.se = SEBlock(out_channels, out_channels // 16) if built.squeeze_excite else nn.Identity()
        if built.deployed:
            self.rbr_reparam = nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, groups)
            return
        has_identity = built.identity and in_channels == out_channels and stride == 1
        self.rbr_identity = nn.BatchNorm2d(in_channels) if has_identity else None
        branch = partial(_conv_bn, in_channels, out_channels, stride=stride, groups=groups)
        self.rbr_dense = branch(size=3, dilation=dilation)
        self.rbr_1x1 = branch(size=1, dilation=1) if built.pointwise else None

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps n  c_out  ceil(h/stride)  ceil(w/stride) of ``x``: n  c_in  h  w."""
        if self.deployed:
            return self.nonlinearity(self.se(self.rbr_reparam(x)))
        total = self.rbr_dense(x)
        if self.rbr_1x1 is not None:
            total = total + self.rbr_1x1(x)
        if self.rbr_identity is not None:
            total = total + self.rbr_identity(x)
        return self.nonlinearity(self.se(total))

    def get_equivalent_kernel_bias(self) -> tuple[Tensor, Tensor]:
        """The kernel (c_out  c_in/group  3  3) and bias (c_out) of the sum of the branches of a training-time block."""
        kernel, bias = fold_batch_norm(self.rbr_dense.conv.weight, self.rbr_dense.bn)
        if self.rbr_1x1 is not None:
            pointwise, pointwise_bias = fold_batch_norm(self.rbr_1x1.conv.weight, self.rbr_1x1.bn)
            kernel, bias = kernel + functional.pad(pointwise, (1, 1, 1, 1)), bias + pointwise_bias
        if self.rbr_identity is None:
            return kernel, bias
        skip = identity_kernel(self.in_channels, self.groups).to(kernel)
        skip, skip_bias = fold_batch_norm(skip, self.rbr_identity)
        return kernel + functional.pad(skip, (1, 1, 1, 1)), bias + skip_bias

    def deployed_form(self) -> RepVGGBlock:
        """This block as one convolution, in the type that it has; it shares ``se`` with this block.

        A block that is deployed already is its own deployed form.
        """
        if self.deployed:
            return self
        kernel, bias = self.get_equivalent_kernel_bias()
        block = RepVGGBlock(
            self.in_channels,
            self.out_channels,
            stride=self.stride,
            dilation=self.dilation,
            groups=self.groups,
            deployed=True,
        )
        block.se = self.se
        block.rbr_reparam.weight = nn.Parameter(kernel.detach())
        block.rbr_reparam.bias = nn.Parameter(bias.detach())
        block.train(self.training)
        return block


class RepVGG(nn.Module):
    """One block, then stages of blocks, global average pooling and a linear classifier.

    Args:
        num_blocks: blocks of stage 1, 2, ...; stage 0 is always one block.
        widths: output channels of stage 0, 1, 2, ...
        strides: stride of the first block of stage 0, 1, 2, ...
        groups: groups of layers 3, 5, 7, ... (layer 1 is stage 0); all others have one.
        in_channels: channels of the image.
        num_classes: outputs of the classifier.
        **form: the fields of Form, for every block.
    """

    def __init__(
        self,
        num_blocks: Sequence[int],
        widths: Sequence[int],
        strides: Sequence[int],
        *,
        groups: int = 1,
        in_channels: int = 3,
        num_classes: int = 1000,
        **form: bool,
    ) -> None:
        super().__init__()
        self.stages: list[str] = []
        channels, layer = in_channels, 1
        for stage, (depth, width, stride) in enumerate(zip((1, *num_blocks), widths, strides, strict=True)):
            blocks = [
                RepVGGBlock(
                    width if position else channels,
                    width,
                    stride=1 if position else stride,
                    groups=groups_of(layer + position, groups),
                    **form,
                )
                for position in range(depth)
            ]
            self.stages.append(f"stage{stage}")
            self.add_module(self.stages[-1], nn.Sequential(*blocks) if stage else blocks[0])
            channels, layer = width, layer + depth
        self.gap = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(channels, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """Class scores n  num_classes of ``image``: n  in_channels  h  w."""
        features = image
        for stage in self.stages:
            features = self.get_submodule(stage)(features)
        return self.linear(torch.flatten(self.gap(features), 1))


def groups_of(layer: int, groups: int) -> int:
    """The groups of a layer, counted from 1: every other layer from the third on is groupwise."""
    return groups if layer > 1 and layer % 2 else 1


def widths_of(a: float, b: float) -> tuple[int, ...]:
    """Channels of the five stages by table 2, of the width multipliers of table 3."""
    return min(64, int(64 * a)), int(64 * a), int(128 * a), int(256 * a), int(512 * b)


def repvgg(
    *,
    num_blocks: Sequence[int],
    width_multipliers: tuple[float, float],
    groups: int,
    num_classes: int,
    **form: bool,
) -> RepVGG:
    """A RepVGG of the paper for ImageNet: widths by table 2, stride 2 at the start of each of its five stages."""
    widths, strides = widths_of(*width_multipliers), (2, 2, 2, 2, 2)
    return RepVGG(num_blocks, widths, strides, groups=groups, num_classes=num_classes, **form)
