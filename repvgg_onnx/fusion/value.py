"""An affine value: a tensor of the graph as an affine map of another, its root."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from repvgg_onnx.algebra import AffineConv, Array
from repvgg_onnx.errors import LiftError
from repvgg_onnx.geometry import Size

IDENTITY = ("identity",)


@dataclass(frozen=True)
class Frame:
    """The tensor that a value is affine in, and how its axes are read.

    Attributes:
        root: tensor name.
        axes: for each axis of the tensor its meaning: 0 batch, 1 channels, 2 and more spatial, in kernel order.
        sizes: spatial sizes of the root in kernel order, as far as they hold for every run.
    """

    root: str
    axes: tuple[int, ...]
    sizes: tuple[int | None, ...] = ()


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor that equals an affine map of the frame's root.

    Attributes:
        conv: the map, on channels-first axes.
        axes: for each axis of this tensor its meaning, as in Frame.
        terms: what has been summed so far, in words, for the report.
    """

    conv: AffineConv
    axes: tuple[int, ...]
    terms: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Number of channels of this tensor."""
        return self.conv.geometry.c_out

    @property
    def channel_axis(self) -> int:
        """Axis of this tensor that holds the channels."""
        return self.axes.index(1)

    @property
    def rank(self) -> int:
        """Number of axes of this tensor."""
        return len(self.axes)

    @property
    def is_channels_first(self) -> bool:
        """Whether the axes stand as ONNX's Conv wants them."""
        return self.axes == tuple(range(len(self.axes)))

    def mapped(self, conv: AffineConv, terms: Sequence[str] | None = None) -> "Value":
        """The same axes with another map."""
        return replace(self, conv=conv, terms=self.terms if terms is None else tuple(terms))

    def then(self, conv: AffineConv, step: str) -> "Value":
        """The same axes with another map, reached by one more step, such as ``3x3 Conv``."""
        if self.terms == IDENTITY:
            return self.mapped(conv, (step,))
        before = self.terms[0] if len(self.terms) == 1 else f"({' + '.join(self.terms)})"
        return self.mapped(conv, (f"{before} → {step}",))

    def permuted(self, order: Sequence[int]) -> "Value":
        """The same values with the axes of this tensor in another order."""
        return replace(self, axes=tuple(self.axes[axis] for axis in order))

    def require_channels_first(self, op_type: str) -> None:
        """Makes sure that the axes stand as ONNX's Conv wants them.

        Raises:
            LiftError: they do not.
        """
        if not self.is_channels_first:
            raise LiftError("layout", f"{op_type} reads axis 1 as channels, and the value has them elsewhere")

    def axis_meaning(self, axis: int) -> int:
        """What an axis of this tensor means: 0 batch, 1 channels, 2 and more spatial; negative axes count from the end.

        Raises:
            LiftError: there is no such axis.
        """
        if not -self.rank <= axis < self.rank:
            raise LiftError("bad-attribute", f"axis {axis} is none of the {self.rank} axes")
        return self.axes[axis]

    def per_channel(self, constant: NDArray[np.float64]) -> Array:
        """A constant operand of an element-wise operator as one number per channel.

        Args:
            constant: any shape that broadcasts against this tensor.

        Raises:
            LiftError: the constant varies along another axis than the channels, or would enlarge the tensor.
        """
        rank = self.rank
        if constant.ndim > rank:
            raise LiftError("rank-grows", f"a constant of shape {list(constant.shape)} adds axes to the value")
        shape = (1,) * (rank - constant.ndim) + constant.shape
        rest = shape[: self.channel_axis] + shape[self.channel_axis + 1 :]
        if any(size != 1 for size in rest):
            raise LiftError(
                "not-per-channel", f"a constant of shape {list(constant.shape)} is not one number a channel"
            )
        if shape[self.channel_axis] not in (1, self.channels):
            raise LiftError("channels-grow", f"a constant of shape {list(constant.shape)} broadcasts the channels")
        return np.broadcast_to(constant.reshape(-1), (self.channels,))


def sum_values(values: Sequence[Value], size: Size) -> Value:
    """The sum of values of one root.

    Args:
        values: the terms, at least one.
        size: spatial sizes of the root as far as they are known.

    Raises:
        LiftError: the values have their axes in different orders.
        GeometryError: the maps have no exact sum.
    """
    first, *others = values
    if any(value.axes != first.axes for value in others):
        raise LiftError("layout", "the branches have their axes in different orders")
    conv = first.conv.add(*(value.conv for value in others), size=size)
    return first.mapped(conv, [term for value in values for term in value.terms])
