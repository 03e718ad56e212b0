"""An affine value: a tensor of the graph as an affine map of another, its root."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.field import Convolved, Field, Offsets, field_of, padded_size, require_small
from repvgg_onnx.affine.geometry import Size
from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.affine.words import words_of
from repvgg_onnx.compiler.tail import Tail
from repvgg_onnx.errors import GeometryError, LiftError


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
    """A tensor that equals an affine map of the frame's root, and perhaps a term that differs by position.

    Attributes:
        conv: the map, on channels-first axes.
        axes: for each axis of this tensor its meaning, as in Frame, or MIXED behind a change of shape.
        field: what is added to the map's result, besides its bias; None for nothing.
        tail: changes of shape after the map; None for none.
        lead: what is added to each channel of the root before the map; None for nothing.
    """

    conv: AffineConv
    axes: tuple[int, ...]
    field: Field | None = None
    tail: Tail | None = None
    lead: Array | None = None

    @property
    def channels(self) -> int:
        """Number of channels of this tensor."""
        return self.conv.geometry.c_out

    @property
    def terms(self) -> tuple[str, ...]:
        """What has been summed, in words, for the report."""
        return words_of(self.conv.expression)

    @property
    def rank(self) -> int:
        """Number of axes of this tensor."""
        return len(self.axes)

    @property
    def map_axes(self) -> tuple[int, ...]:
        """Meaning of the axes of the map's own result, before any change of shape."""
        return self.axes if self.tail is None else self.tail.map_axes

    @property
    def is_channels_first(self) -> bool:
        """Whether the axes stand as ONNX's Conv wants them."""
        return self.axes == tuple(range(self.rank))

    def named(self, word: str) -> "Value":
        """The same value with a word for it, where nothing else is said of it."""
        return replace(self, conv=self.conv.named(word))

    def scale(self, gain: ArrayLike) -> "Value":
        """The value times one gain per channel, or one for all."""
        field = None
        if self.field is not None:
            field = self.field.scaled(np.broadcast_to(np.asarray(gain, dtype=np.float64), (self.channels,)))
        return replace(self, conv=self.conv.scale(gain), field=field)

    def shift(self, offset: ArrayLike, magnitude: ArrayLike | None = None) -> "Value":
        """The value plus one term per channel, or one for all; the arguments are AffineConv.shift's."""
        return replace(self, conv=self.conv.shift(offset, magnitude))

    def through(self, outer: AffineConv, sizes: Size) -> "Value":
        """The value after another map.

        Where the border of that map would see the bias of this one, the bias becomes a field if the sizes are known; if
        they are not and this one is a gain and an offset, the offset stands before both.

        Args:
            outer: the map that follows.
            sizes: spatial sizes of the root.

        Raises:
            GeometryError: there is no exact composition.
            LiftError: the map changes the number of channels, and a change of shape before it names that number.
        """
        if self.tail is not None and self.tail.names_channels and outer.geometry.c_out != self.channels:
            raise LiftError("reshaped", f"a Reshape before it asks for {self.channels} channels")
        size = self._size(sizes)
        try:
            if self.field is None:
                return replace(self, conv=outer.compose(self.conv))
        except GeometryError as error:
            if error.code != "border-bias":
                raise
            if size is None or outer.geometry.has_unknown_pads:
                led = self._led()
                if led is None:
                    raise
                return led.through(outer, sizes)
        if outer.geometry.has_unknown_pads or size is None:
            raise GeometryError("sizes-unknown", "a term that differs by position needs a fixed input size")
        linear = outer.compose(self.conv.without_bias())
        outputs = tuple(length or 0 for length in outer.geometry.output_size(size))
        if min(outputs, default=1) < 1:
            raise GeometryError("sizes-differ", f"a kernel is larger than its input of size {list(size)}")
        require_small(outer.geometry.c_in, padded_size(outer.geometry, size))
        require_small(outer.geometry.c_out, outputs)
        field = field_of(outputs, Convolved(outer, self._offsets(size)))
        return replace(self, conv=linear, field=field)

    def offsets(self, size: Sequence[int], *, sizes: bool = False) -> Array:
        """Everything that is added, bias and field, or what its rounding errors are proportional to: c  *size."""
        return self._offsets(size).read(sizes=sizes)

    def select(self, channels: slice) -> "Value":
        """Some of the channels."""
        field = None if self.field is None else self.field.select(channels)
        return replace(self, conv=self.conv.select(channels), field=field)

    def permuted(self, order: Sequence[int]) -> "Value":
        """The same value with the axes of this tensor in another order."""
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
        if constant.ndim > self.rank:
            raise LiftError("rank-grows", f"a constant of shape {list(constant.shape)} adds axes to the value")
        shape = (1,) * (self.rank - constant.ndim) + constant.shape
        axis = self.axes.index(1)
        if any(size != 1 for size in shape[:axis] + shape[axis + 1 :]):
            sentence = f"a constant of shape {list(constant.shape)} is not one number a channel"
            raise LiftError("not-per-channel", sentence)
        if shape[axis] not in (1, self.channels):
            raise LiftError("channels-grow", f"a constant of shape {list(constant.shape)} broadcasts the channels")
        return np.broadcast_to(constant.reshape(-1), (self.channels,))

    def _offsets(self, size: Sequence[int]) -> Offsets:
        return Offsets(self.conv, self.field, tuple(size))

    def _led(self) -> "Value | None":
        """A gain and an offset as an offset and then a gain: ``a·x + b = a·(x + b / a)``; None if that does not help.

        A gain of 1 would gain nothing, and behind a gain of 0 an offset cannot be had.
        """
        if not self.conv.geometry.is_diagonal or self.lead is not None or self.tail is not None:
            return None
        gain, offset = self.conv.kernel.reshape(-1), self.conv.bias
        if np.all(gain == 1) or np.any((gain == 0) & (offset != 0)):
            return None
        lead = np.divide(offset, gain, out=np.zeros_like(offset), where=gain != 0)
        return replace(self, conv=self.conv.without_bias(), lead=lead)

    def _size(self, sizes: Size) -> tuple[int, ...] | None:
        """Spatial size of this tensor, None where it is not known."""
        if self.field is not None:
            return self.field.size
        if self.conv.geometry.transposed:
            return None
        known = [length for length in self.conv.geometry.output_size(sizes) if length is not None]
        return tuple(known) if len(known) == len(sizes) else None


def sum_values(values: Sequence[Value], sizes: Size) -> Value:
    """The sum of values of one root.

    Args:
        values: the terms, at least one.
        sizes: spatial sizes of the root as far as they are known.

    Raises:
        LiftError: the values have their axes in different orders, or changed their shapes differently.
        GeometryError: the maps have no exact sum.
    """
    first, *others = values
    _require_one_order(values)
    conv = first.conv.add(*(value.conv for value in others), size=sizes)
    fields = [value.field for value in values if value.field is not None]
    field = fields[0].plus(*fields[1:]) if fields else None
    return replace(first, conv=conv, field=field)


def stack_values(values: Sequence[Value], sizes: Size) -> Value:
    """The channels of values of one root, one after the other.

    Raises:
        LiftError: the values have their axes in different orders, or a term that differs by position.
        GeometryError: the maps have no exact stack.
    """
    first, *others = values
    _require_one_order(values)
    if any(value.field is not None for value in values):
        raise LiftError("not-affine", "Concat joins values with a term that differs by position")
    conv = first.conv.stack(*(value.conv for value in others), size=sizes)
    return replace(first, conv=conv)


def _require_one_order(values: Sequence[Value]) -> None:
    if any(value.axes != values[0].axes for value in values):
        raise LiftError("layout", "the branches have their axes in different orders")
    first = values[0].lead
    if any(value.lead is not first and not np.array_equal(value.lead, first) for value in values):  # type: ignore[arg-type]
        raise GeometryError("border-bias", "the branches would need different offsets before their padding")
    if any(value.tail != values[0].tail for value in values):
        raise LiftError("reshaped", "the branches change their shapes differently")
