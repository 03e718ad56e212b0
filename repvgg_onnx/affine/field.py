"""Additive terms that differ from position to position: what a bias becomes behind zero padding.

``conv(x) + bias`` followed by a padded convolution is not a single kernel and bias, because the padding is zero where
the bias is not. It is a kernel and a field: the second convolution's view of the bias inside and the zeros around it.
A field is data, as maps are: each operation says once how it is read, as numbers or as their majorant.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.affine.interpreters import evaluated
from repvgg_onnx.affine.kernels import Array, spatial
from repvgg_onnx.errors import GeometryError

LARGEST = 2**24  # elements of a field, and of what it is computed from; a model would have to store them


FieldSteps: TypeAlias = "Generator[tuple[Term, bool], Array, Array]"
"""Yields an operand and whether it is wanted as sizes; returns c  *size."""


@dataclass(frozen=True, eq=False)
class Term(ABC):
    """Something for each channel and position, computed when it is read."""

    @property
    def operands(self) -> "tuple[Term, ...]":
        """What it is made of, once for each time that it is read."""
        return ()

    @abstractmethod
    def steps(self, sizes: bool) -> FieldSteps:
        """Makes the term, or what its rounding errors are proportional to."""

    def read(self, *, sizes: bool = False) -> Array:
        """The term, or what its rounding errors are proportional to: c  *size, not to be changed."""
        return evaluated(lambda term, sizes: term.steps(sizes), (self, sizes))


@dataclass(frozen=True, eq=False)
class Stored(Term):
    """Stored numbers.

    Attributes:
        values: c  *size.
    """

    values: Array

    def steps(self, sizes: bool) -> FieldSteps:
        """The numbers."""
        return np.abs(self.values) if sizes else self.values
        yield  # a generator, like the others


@dataclass(frozen=True, eq=False)
class Offsets(Term):
    """All that a map adds: its bias at every position, and a field.

    Attributes:
        conv: has the bias.
        field: what is added besides; None for nothing.
        size: spatial size.
    """

    conv: AffineConv
    field: "Field | None"
    size: tuple[int, ...]

    @property
    def operands(self) -> tuple[Term, ...]:
        """The field."""
        return () if self.field is None else (self.field,)

    def steps(self, sizes: bool) -> FieldSteps:
        """The sum."""
        total = uniform(self.conv.majorant.bias if sizes else self.conv.bias, self.size)
        return total if self.field is None else total + (yield self.field, sizes)


@dataclass(frozen=True, eq=False)
class Convolved(Term):
    """What a map, without its bias, makes of a term with zeros around it.

    Attributes:
        conv: the map.
        term: what it is applied to.
    """

    conv: AffineConv
    term: Term

    @property
    def operands(self) -> tuple[Term, ...]:
        """The term."""
        return (self.term,)

    def steps(self, sizes: bool) -> FieldSteps:
        """The convolution."""
        return convolve(self.conv.majorant if sizes else self.conv, (yield self.term, sizes))


@dataclass(frozen=True, eq=False)
class Part(Term):
    """Some of the channels.

    Attributes:
        term: what has them all.
        channels: which.
    """

    term: Term
    channels: slice

    @property
    def operands(self) -> tuple[Term, ...]:
        """What has them all."""
        return (self.term,)

    def steps(self, sizes: bool) -> FieldSteps:
        """The channels."""
        return (yield self.term, sizes)[self.channels]


@dataclass(frozen=True, eq=False)
class Field(Term):
    """A sum of terms, each times one gain per channel.

    Scaling and adding fields makes no deeper ones.

    Attributes:
        size: spatial size.
        terms: at least one, each with its gain, c, or None for 1.
    """

    size: tuple[int, ...]
    terms: tuple[tuple[Array | None, Term], ...]

    @property
    def operands(self) -> tuple[Term, ...]:
        """The terms."""
        return tuple(term for _, term in self.terms)

    def steps(self, sizes: bool) -> FieldSteps:
        """One product after the other."""
        total: Array | None = None
        for gain, term in self.terms:
            product = yield term, sizes
            if gain is not None:
                product = product * (np.abs(gain) if sizes else gain).reshape(-1, *(1,) * len(self.size))
            total = product if total is None else total + product
        assert total is not None
        return total

    def scaled(self, factors: Array) -> "Field":
        """The field times one gain per channel."""
        return Field(self.size, tuple((factors if gain is None else gain * factors, term) for gain, term in self.terms))

    def plus(self, *fields: "Field") -> "Field":
        """The sum of fields of one size."""
        first = (field.terms[0] for field in fields)
        others = (each for field in fields for each in field.terms[1:])
        return Field(self.size, (*self.terms, *first, *others))

    def select(self, channels: slice) -> "Field":
        """Some of the channels."""
        return field_of(self.size, Part(self, channels))


def field_of(size: tuple[int, ...], term: Term) -> Field:
    """One term as a field."""
    return Field(size, ((None, term),))


def require_small(channels: int, size: Sequence[int]) -> None:
    """Makes sure that a term for each channel and position can be held.

    Raises:
        GeometryError: it would be too large.
    """
    if channels * math.prod(size) > LARGEST:
        raise GeometryError(
            "too-large", f"a term for each of {channels:,} channels and {math.prod(size):,} positions is too large"
        )


def padded_size(geometry: Geometry, size: Sequence[int]) -> tuple[int, ...]:
    """Spatial size of an input of this size with the zeros around it."""
    pads = zip(geometry.pads[: geometry.rank], geometry.pads[geometry.rank :], strict=True)
    return tuple(length + begin + end for length, (begin, end) in zip(size, pads, strict=True))


def uniform(bias: Array, size: Sequence[int]) -> Array:
    """The bias at every position: c  *size."""
    return np.broadcast_to(bias.reshape(-1, *(1,) * len(size)), (len(bias), *size))


def convolve(conv: AffineConv, values: Array) -> Array:
    """The map without its bias, applied to one example with zeros around it.

    Args:
        conv: not transposed.
        values: c_in  *size.

    Returns:
        c_out  *output size.

    Raises:
        GeometryError: the map is transposed.
    """
    geometry = conv.geometry
    if geometry.transposed:
        raise GeometryError("transposed", "a transposed convolution makes no field of a bias")
    pads = zip(geometry.pads[: geometry.rank], geometry.pads[geometry.rank :], strict=True)
    padded = np.pad(values, [(0, 0), *pads])
    padded = padded.reshape(geometry.group, -1, *padded.shape[1:])
    size = tuple(length or 0 for length in geometry.output_size(values.shape[1:]))
    kernel = conv.kernel.reshape(geometry.group, -1, *geometry.kernel_dims[1:])
    total = np.zeros((geometry.group, geometry.c_out // geometry.group, *size))
    for tap in np.ndindex(*geometry.kernel_shape):
        weights = kernel[spatial(tap)]
        total += np.einsum("goi,gi...->go...", weights, padded[spatial(_seen(geometry, tap, size))])
    return total.reshape(geometry.c_out, *size)


def reached(geometry: Geometry, size: Sequence[int]) -> NDArray[np.bool_]:
    """Which output positions read any position of an input of this size; the others see padding only.

    Args:
        geometry: of a map that is not transposed.
        size: spatial input size.

    Returns:
        bool, *output size.
    """
    outputs = geometry.output_size(size)
    mask: NDArray[np.bool_] = np.ones([count or 0 for count in outputs], dtype=np.bool_)
    for axis, lattice in enumerate(geometry.lattices):
        # For each output position along the axis whether some tap is inside the input.
        begins = np.arange(mask.shape[axis])[:, None] * geometry.strides[axis] + lattice.start
        positions = begins + np.arange(lattice.count) * lattice.step
        flags = np.logical_or.reduce((positions >= 0) & (positions < (size[axis] or 0)), axis=1)
        np.logical_and(mask, flags.reshape(*(-1 if axis == other else 1 for other in range(mask.ndim))), out=mask)
    return mask


def _seen(geometry: Geometry, tap: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """What one tap reads of the padded input, one slice an axis."""
    starts = [index * dilation for index, dilation in zip(tap, geometry.dilations, strict=True)]
    return tuple(
        slice(start, start + stride * (count - 1) + 1, stride)
        for start, stride, count in zip(starts, geometry.strides, size, strict=True)
    )
