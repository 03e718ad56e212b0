"""MobileOne: many like branches, a scale branch and a skip.

Source: Vasu, Gabriel, Zhu, Tuzel, Ranjan, "MobileOne: An Improved One Millisecond Mobile Backbone", 2023.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from torch import Tensor, nn

from samples.zoo.blocks.parts import as_conv, conv_bn, with_activation
from samples.zoo.folding import Foldable


class _Branches(nn.Module):
    """``0 + skip`` or ``scale + skip``, then one branch after the other, as the authors write the sum."""

    def __init__(self, c_in: int, c_out: int, size: int, stride: int, groups: int, count: int) -> None:
        super().__init__()
        self.skip = nn.BatchNorm2d(c_in) if c_in == c_out and stride == 1 else None
        self.scale = conv_bn(c_in, c_out, 1, stride=stride, groups=groups) if size > 1 else None
        self.convs = nn.ModuleList(conv_bn(c_in, c_out, size, stride=stride, groups=groups) for _ in range(count))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.skip(x) if self.skip is not None else 0
        scale = self.scale(x) if self.scale is not None else 0
        total = scale + skip
        for branch in self.convs:
            total = total + branch(x)
        return total


def branches(c_in: int, c_out: int, size: int, *, stride: int = 1, groups: int = 1, count: int = 4) -> Foldable:
    """A MobileOne block without its activation.

    Args:
        c_in: channels of the input.
        c_out: channels of the output.
        size: taps of the kernel on each axis; the scale branch is for more than one.
        stride: of all branches; the skip is for 1.
        groups: of all branches.
        count: like branches.
    """
    body = _Branches(c_in, c_out, size, stride, groups, count)
    return as_conv(body, c_in, c_out, size, stride=stride, groups=groups)


def mobileone() -> nn.Sequential:
    """The first block, then depthwise and pointwise blocks in turn."""
    return with_activation(
        [
            branches(3, 8, 3, stride=2, count=1),
            branches(8, 8, 3, stride=2, groups=8),
            branches(8, 16, 1),
            branches(16, 16, 3, groups=16),
            branches(16, 16, 1),
        ]
    )
