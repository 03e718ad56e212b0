"""What most blocks are made of."""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from samples.zoo.folding import Foldable

Size = int | tuple[int, ...]

_CONVS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def conv(
    c_in: int,
    c_out: int,
    size: Size,
    *,
    stride: Size = 1,
    padding: Size | None = None,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
    rank: int = 2,
) -> nn.Module:
    """A convolution on ``rank`` axes; without ``padding`` it keeps the size of its input (divided by the stride)."""
    sizes = size if isinstance(size, tuple) else (size,) * rank
    same = tuple(dilation * (taps - 1) // 2 for taps in sizes)
    pads = same if padding is None else padding
    return _CONVS[rank](c_in, c_out, sizes, stride, pads, dilation, groups, bias)


def conv_bn(c_in: int, c_out: int, size: Size, *, rank: int = 2, **geometry: Any) -> nn.Sequential:
    """A convolution without a bias and its batch normalization; ``geometry`` as in ``conv``."""
    layer = conv(c_in, c_out, size, bias=False, rank=rank, **geometry)
    return nn.Sequential(OrderedDict(conv=layer, bn=_NORMS[rank](c_out)))


def as_conv(body: nn.Module, c_in: int, c_out: int, size: Size, **geometry: Any) -> Foldable:
    """``body``, which is one convolution at inference; ``geometry`` as in ``conv``."""
    return Foldable(body, partial(conv, c_in, c_out, size, **geometry))


def foldable_conv_bn(c_in: int, c_out: int, size: Size, **geometry: Any) -> Foldable:
    """Convolution and batch normalization, one convolution at inference; ``geometry`` as in ``conv``."""
    return as_conv(conv_bn(c_in, c_out, size, **geometry), c_in, c_out, size, **geometry)


def as_linear(body: nn.Module, c_in: int, c_out: int) -> Foldable:
    """``body``, which is one linear layer at inference."""
    return Foldable(body, partial(nn.Linear, c_in, c_out))


class Sum(nn.Module):
    """The sum of what several branches make of one input.

    Args:
        branches: the terms, in the order in which they are added.
        from_zero: begin with the number 0, as loops over branches do.
    """

    def __init__(self, *branches: nn.Module, from_zero: bool = False) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.from_zero = from_zero

    def forward(self, x: Tensor) -> Tensor:
        """The sum, of the shape that all branches give."""
        first, *others = self.branches
        total = 0 + first(x) if self.from_zero else first(x)
        for branch in others:
            total = total + branch(x)
        return total


class Concat(nn.Module):
    """What several branches make of one input, one after the other on the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """The outputs of all branches: n  sum of their channels  *size."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class Residual(nn.Module):
    """The input plus what ``body`` makes of it."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """``x + body(x)``, of the shape of ``x``."""
        return x + self.body(x)


class Gain(nn.Module):
    """A trained factor for each channel.

    Args:
        shape: of the factors, such as (c, 1, 1) for images and (c,) where channels are last.
    """

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(trained(*shape, around=1.0))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` times the factors."""
        return x * self.gain


class Offset(nn.Module):
    """A trained additive term for each channel; ``shape`` as in ``Gain``."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(trained(*shape))

    def forward(self, x: Tensor) -> Tensor:
        """``x`` plus the terms."""
        return x + self.offset


class Permute(nn.Module):
    """The input with its axes in another order."""

    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """``x`` with axis ``order[i]`` as axis i."""
        return x.permute(self.order)


def trained(*shape: int, around: float = 0.0) -> Tensor:
    """Random values N(around, 0.3²) for a parameter that training would have moved away from its start."""
    return around + 0.3 * torch.randn(*shape)


def with_activation(blocks: Sequence[nn.Module], activation: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """The blocks one after the other, each followed by an activation."""
    return nn.Sequential(*(module for block in blocks for module in (block, activation())))
