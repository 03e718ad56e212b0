"""AffineConv: one affine convolution as a value, with exact operations.

Kernels are float64 and are computed when they are read, so that asking whether a sum or a composition exists costs
integers only; the numbers are made once, when a region is folded, and some output channels at a time where that is no
more work than all at once. What a map is made of is an expression (``affine/expressions.py``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from repvgg_onnx.affine.expressions import (
    Composed,
    Expression,
    Leaf,
    Majorant,
    Named,
    Scaled,
    Selected,
    Shifted,
    Stacked,
    Sum,
    Unbiased,
    dense_term,
    placed,
    read_bias,
    read_kernel,
)
from repvgg_onnx.affine.geometry import (
    Geometry,
    Lattice,
    Size,
    check_chain,
    compose_geometry,
    stack_geometry,
    sum_geometry,
)
from repvgg_onnx.affine.kernels import Array, Reader
from repvgg_onnx.affine.words import IDENTITY, words_of
from repvgg_onnx.errors import GeometryError


@dataclass(frozen=True, eq=False, init=False)
class AffineConv:
    """The map ``x ↦ conv(x, kernel) + bias``, exact in float64.

    Attributes:
        expression: what the map is made of.

    Example:
        >>> dense = AffineConv(np.ones((2, 2, 3, 3)), np.zeros(2), pads=(1, 1, 1, 1))
        >>> skip = AffineConv.identity(2, rank=2)
        >>> block = dense.add(skip)
        >>> block.geometry.kernel_shape, block.kernel[0, :, 1, 1].tolist()
        ((3, 3), [2.0, 1.0])
    """

    expression: Expression

    def __init__(
        self,
        kernel: ArrayLike,
        bias: ArrayLike | None = None,
        strides: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        group: int = 1,
    ) -> None:
        """Makes a map from arrays.

        Args:
            kernel: c_out  c_in/group  *k; no spatial axes make a dense layer.
            bias: c_out; None for zeros.
            strides: one per spatial axis, 1 by default.
            pads: ONNX order, 0 by default.
            dilations: one per spatial axis, 1 by default.
            group: number of groups.

        Raises:
            GeometryError: the shapes do not fit together.
        """
        values = np.asarray(kernel, dtype=np.float64)
        if values.ndim < 2:
            raise GeometryError("bad-geometry", f"a kernel needs at least 2 axes, not {values.ndim}")
        rank = values.ndim - 2
        geometry = Geometry(
            values.shape[0],
            values.shape[1] * group,
            group,
            tuple(values.shape[2:]),
            tuple(strides) if strides is not None else (1,) * rank,
            tuple(pads) if pads is not None else (0,) * (2 * rank),
            tuple(dilations) if dilations is not None else (1,) * rank,
        )
        offsets = np.zeros(geometry.c_out) if bias is None else np.asarray(bias, dtype=np.float64)
        if offsets.shape != (geometry.c_out,):
            raise GeometryError("bad-geometry", f"the bias has shape {list(offsets.shape)}, not [{geometry.c_out}]")
        object.__setattr__(self, "expression", Leaf(geometry, lambda rows: values[rows].copy(), lambda: offsets))

    @classmethod
    def of(cls, expression: Expression) -> "AffineConv":
        """The map that an expression states."""
        made = cls.__new__(cls)
        object.__setattr__(made, "expression", expression)
        return made

    @classmethod
    def deferred(
        cls,
        geometry: Geometry,
        kernel: Callable[[], Array],
        bias: Callable[[], Array] | None = None,
        *,
        origin: "AffineConv | None" = None,
        word: str = "",
    ) -> "AffineConv":
        """A map whose arrays are computed when they are read.

        Args:
            geometry: known at once.
            kernel: gives the kernel, in an array of its own each time.
            bias: gives the bias; None for zeros.
            origin: what the arrays were rounded from, on as many channels and taps; its majorant is the map's.
            word: what a report calls it; empty for nothing worth a word.
        """
        made = None if origin is None else origin.expression
        return cls.of(Leaf(geometry, lambda rows: kernel()[rows], bias, made, rows_are_cheap=False, word=word))

    @classmethod
    def read_by_rows(
        cls,
        geometry: Geometry,
        rows: Reader,
        bias: Callable[[], Array] | None = None,
        *,
        origin: "AffineConv | None" = None,
        word: str = "",
    ) -> "AffineConv":
        """A map whose kernel is computed for as many output channels as are read.

        Args:
            geometry: known at once.
            rows: gives the kernel of a range of output channels.
            bias: gives the bias; None for zeros.
            origin: what the arrays were rounded from, on as many channels and taps; its majorant is the map's.
            word: what a report calls it; empty for nothing worth a word.
        """
        return cls.of(Leaf(geometry, rows, bias, None if origin is None else origin.expression, word=word))

    @classmethod
    def identity(cls, channels: int, rank: int) -> "AffineConv":
        """The map that changes nothing, on ``rank`` spatial axes."""
        geometry = Geometry.pointwise(channels, channels, channels, rank)
        return cls.read_by_rows(geometry, lambda rows: np.ones(geometry.kernel_dims)[rows])

    @property
    def geometry(self) -> Geometry:
        """Where the taps sit."""
        return self.expression.geometry

    @property
    def by_rows(self) -> bool:
        """Whether reading some rows of the kernel is less work than reading all of them."""
        return self.expression.by_rows

    @property
    def kernel(self) -> Array:
        """The kernel, c_out  c_in/group  *k, computed anew at each reading."""
        return read_kernel(self.expression)

    def rows(self, channels: slice) -> Array:
        """The kernel of a range of output channels, computed anew at each reading.

        Args:
            channels: with step 1.
        """
        return read_kernel(self.expression, channels)

    @property
    def bias(self) -> Array:
        """The additive term, c_out; not to be changed."""
        return read_bias(self.expression)

    @property
    def majorant(self) -> "AffineConv":
        """The same steps with absolute values: what rounding errors on the way are proportional to.

        Applied to ``|x|`` it bounds every intermediate result of any order of evaluation, cancellations included. Its
        geometry is the map's, whatever the numbers are.
        """
        return AffineConv.of(Majorant(self.geometry, self.expression))

    @property
    def has_bias(self) -> bool:
        """Whether the map adds anything."""
        return bool(np.any(self.bias != 0))

    def named(self, word: str, *, follows: bool = False) -> "AffineConv":
        """The same map with a word for a report.

        Args:
            word: what was done last.
            follows: whether it is said after what was done before; otherwise only where there is nothing else to say.
        """
        return AffineConv.of(Named(self.geometry, self.expression, word, follows))

    def scale(self, gain: ArrayLike, magnitude: ArrayLike | None = None) -> "AffineConv":
        """This map and then one gain per output channel (or one for all).

        Args:
            gain: c_out, or a scalar.
            magnitude: what the gain's own rounding errors are proportional to, where that is more than its size.
        """
        gains = self._per_channel(gain)
        sizes = np.abs(gains if magnitude is None else self._per_channel(magnitude))
        return AffineConv.of(Scaled(self.geometry, self.expression, gains, sizes))

    def shift(self, offset: ArrayLike, magnitude: ArrayLike | None = None) -> "AffineConv":
        """This map and then one additive term per output channel (or one for all).

        Args:
            offset: c_out, or a scalar.
            magnitude: what the term's own rounding errors are proportional to, where that is more than its size.
        """
        terms = self._per_channel(offset)
        sizes = np.abs(terms if magnitude is None else self._per_channel(magnitude))
        return AffineConv.of(Shifted(self.geometry, self.expression, terms, sizes))

    def without_bias(self) -> "AffineConv":
        """This map without its additive term."""
        return AffineConv.of(Unbiased(self.geometry, self.expression))

    def add(self, *others: "AffineConv", size: Size | None = None) -> "AffineConv":
        """The sum of maps of the same input, taps aligned by position.

        Args:
            others: the other terms.
            size: spatial size of the common input where it is known; branches that pad differently at the end need it.

        Raises:
            GeometryError: channels, strides or output sizes differ, or the sizes are not known to be equal.
        """
        terms = (self, *others)
        geometry = sum_geometry([term.geometry for term in terms], size)
        return AffineConv.of(Sum(geometry, tuple(term.expression for term in terms)))

    def compose(self, inner: "AffineConv") -> "AffineConv":
        """This map applied to the result of ``inner``.

        Raises:
            GeometryError: the channels do not fit, or the border would not be exact.
        """
        check_chain(self.geometry, inner.geometry)
        if self.geometry.is_diagonal:
            gained = inner.scale(self.kernel.reshape(-1), self.majorant.kernel.reshape(-1))
            made, words = gained.shift(self.bias, self.majorant.bias), words_of(self.expression)
            return made if words == IDENTITY else made.named(" + ".join(words), follows=True)
        uneven = self.geometry.is_padded or self.geometry.transposed  # some outputs do not see every tap
        geometry = compose_geometry(self.geometry, inner.geometry, inner_has_bias=uneven and inner.has_bias)
        return AffineConv.of(Composed(geometry, self.expression, inner.expression))

    def stack(self, *others: "AffineConv", size: Size | None = None) -> "AffineConv":
        """The outputs of maps of the same input, one after the other on the channel axis.

        Args:
            others: the maps whose channels follow.
            size: spatial size of the common input where it is known.

        Raises:
            GeometryError: input channels, strides or output sizes differ, or the sizes are not known to be equal.
        """
        terms = (self, *others)
        geometry = stack_geometry([term.geometry for term in terms], size)
        return AffineConv.of(Stacked(geometry, tuple(dense_term(term.expression, geometry) for term in terms)))

    def select(self, channels: slice) -> "AffineConv":
        """Some of the output channels, as a dense map.

        Raises:
            GeometryError: the slice is empty.
        """
        count = len(range(*channels.indices(self.geometry.c_out)))
        if not count:
            raise GeometryError("channels-differ", "no channel is left")
        dense = replace(self.geometry, group=1)
        return AffineConv.of(Selected(replace(dense, c_out=count), placed(self.expression, dense), channels))

    def regroup(self, group: int) -> "AffineConv":
        """The same map with fewer groups.

        Raises:
            GeometryError: ``group`` does not divide the present number of groups.
        """
        if group < 1 or self.geometry.group % group:
            raise GeometryError("bad-geometry", f"{group} groups cannot hold {self.geometry.group}")
        return self._on(replace(self.geometry, group=group))

    def undilate(self) -> "AffineConv":
        """The same map with every dilation 1 and zeros between the taps."""
        dense = [Lattice(axis.start, 1, axis.span + 1) for axis in self.geometry.lattices]
        return self._on(self.geometry.with_lattices(dense, self.geometry.slack))

    def pad_kernel_to(self, kernel_shape: Sequence[int]) -> "AffineConv":
        """The same map with zero taps around the kernel, split evenly, the odd one at the end.

        Raises:
            GeometryError: the kernel is larger than ``kernel_shape`` on some axis.
        """
        grown = []
        for axis, count in zip(self.geometry.lattices, kernel_shape, strict=True):
            if count < axis.count:
                raise GeometryError("bad-geometry", f"a kernel of {axis.count} taps does not fit in {count}")
            grown.append(Lattice(axis.start - axis.step * ((count - axis.count) // 2), axis.step, count))
        return self._on(self.geometry.with_lattices(grown, self.geometry.slack))

    def _on(self, geometry: Geometry) -> "AffineConv":
        return AffineConv.of(placed(self.expression, geometry))

    def _per_channel(self, values: ArrayLike) -> Array:
        given = np.asarray(values, dtype=np.float64)
        return given if given.shape == (self.geometry.c_out,) else np.broadcast_to(given, (self.geometry.c_out,))
