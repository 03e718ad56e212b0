"""AffineConv: one affine convolution as a value, with exact operations.

Kernels are float64 and are computed when they are read, so that asking whether a sum or a composition exists costs
integers only; the numbers are made once, when a region is folded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from repvgg_onnx.errors import GeometryError
from repvgg_onnx.geometry import Geometry, Lattice, Size, check_chain, compose_geometry, stack_geometry, sum_geometry

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AffineConv:
    """The map ``x ↦ conv(x, kernel) + bias``, exact in float64.

    Example:
        >>> dense = AffineConv(np.ones((2, 2, 3, 3)), np.zeros(2), pads=(1, 1, 1, 1))
        >>> skip = AffineConv.identity(2, rank=2)
        >>> block = dense.add(skip)
        >>> block.geometry.kernel_shape, block.kernel[0, :, 1, 1].tolist()
        ((3, 3), [2.0, 1.0])
    """

    geometry: Geometry
    _read_kernel: Callable[[], Array]
    _read_bias: Callable[[], Array]

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
        self._set(geometry, lambda: values, lambda: offsets)

    @classmethod
    def deferred(
        cls, geometry: Geometry, kernel: Callable[[], Array], bias: Callable[[], Array] | None = None
    ) -> "AffineConv":
        """A map whose arrays are computed when they are read; no bias means zeros."""
        made = cls.__new__(cls)
        made._set(geometry, kernel, bias or (lambda: np.zeros(geometry.c_out)))
        return made

    @classmethod
    def identity(cls, channels: int, rank: int) -> "AffineConv":
        """The map that changes nothing, on ``rank`` spatial axes."""
        geometry = Geometry.pointwise(channels, channels, channels, rank)
        return cls.deferred(geometry, lambda: np.ones(geometry.kernel_dims))

    def _set(self, geometry: Geometry, kernel: Callable[[], Array], bias: Callable[[], Array]) -> None:
        object.__setattr__(self, "geometry", geometry)
        object.__setattr__(self, "_read_kernel", kernel)
        object.__setattr__(self, "_read_bias", bias)

    @property
    def kernel(self) -> Array:
        """The kernel, c_out  c_in/group  *k, computed anew at each reading."""
        return self._read_kernel()

    @cached_property
    def bias(self) -> Array:
        """The additive term, c_out."""
        return self._read_bias()

    @property
    def has_bias(self) -> bool:
        """Whether the map adds anything."""
        return bool(np.any(self.bias != 0))

    def scale(self, gain: ArrayLike) -> "AffineConv":
        """This map and then one gain per output channel (or one for all).

        Args:
            gain: c_out, or a scalar.
        """
        factors = np.broadcast_to(np.asarray(gain, dtype=np.float64), (self.geometry.c_out,))
        column = factors.reshape(-1, *(1,) * (self.geometry.rank + 1))
        return AffineConv.deferred(self.geometry, lambda: self.kernel * column, lambda: self.bias * factors)

    def shift(self, offset: ArrayLike) -> "AffineConv":
        """This map and then one additive term per output channel (or one for all).

        Args:
            offset: c_out, or a scalar.
        """
        terms = np.asarray(offset, dtype=np.float64)
        return AffineConv.deferred(self.geometry, self._read_kernel, lambda: self.bias + terms)

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
        return AffineConv.deferred(
            geometry,
            lambda: _sum_kernels(geometry, terms),
            lambda: np.sum([term.bias for term in terms], axis=0),
        )

    def compose(self, inner: "AffineConv") -> "AffineConv":
        """This map applied to the result of ``inner``.

        Raises:
            GeometryError: the channels do not fit, or the border would not be exact.
        """
        check_chain(self.geometry, inner.geometry)
        if self.geometry.is_diagonal:
            return inner.scale(self.kernel.reshape(-1)).shift(self.bias)
        uneven = any(self.geometry.pads) or self.geometry.transposed  # some outputs do not see every tap
        geometry = compose_geometry(self.geometry, inner.geometry, inner_has_bias=uneven and inner.has_bias)
        return AffineConv.deferred(
            geometry, lambda: _composed_kernel(geometry, self, inner), lambda: _composed_bias(self, inner)
        )

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
        return AffineConv.deferred(
            geometry,
            lambda: _stacked_kernel(geometry, terms),
            lambda: np.concatenate([term.bias for term in terms]),
        )

    def select(self, channels: slice) -> "AffineConv":
        """Some of the output channels, as a dense map.

        Raises:
            GeometryError: the slice is empty.
        """
        count = len(range(*channels.indices(self.geometry.c_out)))
        if not count:
            raise GeometryError("channels-differ", "no channel is left")
        geometry = replace(self.geometry, c_out=count, group=1)
        return AffineConv.deferred(geometry, lambda: self.regroup(1).kernel[channels], lambda: self.bias[channels])

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
        return AffineConv.deferred(geometry, lambda: _sum_kernels(geometry, (self,)), lambda: self.bias)


def _sum_kernels(geometry: Geometry, terms: Sequence[AffineConv]) -> Array:
    """Sum of the terms' kernels, each placed at its taps and its groups."""
    total = np.zeros(geometry.kernel_dims)
    for term in terms:
        part = term.geometry
        slots = tuple(axis.slots_of(own) for axis, own in zip(geometry.lattices, part.lattices, strict=True))
        blocks = _diagonal_blocks(total, geometry.group, part.group)
        blocks[spatial(slots)] += term.kernel.reshape(*blocks.shape[:4], *part.kernel_shape)
    return total


def _stacked_kernel(geometry: Geometry, terms: Sequence[AffineConv]) -> Array:
    """The terms' dense kernels below each other, each placed at its taps."""
    total = np.zeros(geometry.kernel_dims)
    start = 0
    for term in terms:
        place = replace(geometry, c_out=term.geometry.c_out)
        total[start : start + place.c_out] = _sum_kernels(place, (term,))
        start += place.c_out
    return total


def _diagonal_blocks(kernel: Array, group: int, parts: int) -> Array:
    """A writable view of the blocks that ``parts`` groups fill: group  parts/group  c_out/parts  c_in/parts  *k."""
    fold = parts // group
    c_out, width = kernel.shape[:2]
    blocks = kernel.reshape(group, fold, c_out // parts, fold, width // fold, *kernel.shape[2:])
    diagonal: Array = np.einsum("gaoai...->gaoi...", blocks)
    return diagonal


def _composed_kernel(geometry: Geometry, outer: AffineConv, inner: AffineConv) -> Array:
    """Kernel of ``outer`` after ``inner``: at each outer tap a product over the channels between them."""
    if inner.geometry.is_diagonal:
        return _scale_inputs(outer, inner.kernel.reshape(-1))
    over, under = (_split(part.regroup(geometry.group).kernel, geometry.group) for part in (outer, inner))
    total = np.zeros(geometry.kernel_dims)
    blocks = _split(total, geometry.group)
    columns = under.reshape(*under.shape[:2], -1)
    for tap in np.ndindex(*outer.geometry.kernel_shape):
        product = over[spatial(tap)] @ columns
        slots = _composed_slots(geometry, outer.geometry, inner.geometry, tap)
        blocks[spatial(slots)] += product.reshape(*blocks.shape[:3], *inner.geometry.kernel_shape)
    return total


def _composed_slots(geometry: Geometry, outer: Geometry, inner: Geometry, tap: Sequence[int]) -> tuple[slice, ...]:
    """Where the inner kernel lands in the composition when it is seen through one outer tap."""
    axes = zip(geometry.lattices, outer.lattices, inner.lattices, inner.strides, tap, strict=True)
    return tuple(
        whole.slots_of(Lattice((over.start + index * over.step) * stride + under.start, under.step, under.count))
        for whole, over, under, stride, index in axes
    )


def _composed_bias(outer: AffineConv, inner: AffineConv) -> Array:
    """Bias of ``outer`` after ``inner``: what the outer kernel makes of the inner bias, wherever it is not padding."""
    if not inner.has_bias:
        return outer.bias
    group = outer.geometry.group
    reach = _split(outer.kernel, group).sum(axis=tuple(range(3, 3 + outer.geometry.rank)))
    carried = np.einsum("goi,gi->go", reach, inner.bias.reshape(group, -1)).reshape(-1)
    total: Array = outer.bias + carried
    return total


def _scale_inputs(outer: AffineConv, gain: Array) -> Array:
    """The kernel that reads each input channel through a gain."""
    group, rank = outer.geometry.group, outer.geometry.rank
    scaled: Array = _split(outer.kernel, group) * gain.reshape(group, 1, -1, *(1,) * rank)
    return scaled.reshape(outer.geometry.kernel_dims)


def spatial(index: Sequence[int | slice]) -> Any:
    """An index into the spatial axes, which come last."""
    return (Ellipsis, *index)


def _split(kernel: Array, group: int) -> Array:
    """The kernel with its groups as a first axis: group  c_out/group  c_in/group  *k."""
    return kernel.reshape(group, -1, *kernel.shape[1:])
