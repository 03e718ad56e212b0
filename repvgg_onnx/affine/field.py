"""Additive terms that differ from position to position: what a bias becomes behind zero padding.

``conv(x) + bias`` followed by a padded convolution is not a single kernel and bias, because the padding is zero where
the bias is not. It is a kernel and a field: the second convolution's view of the bias inside and the zeros around it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry, Lattice
from repvgg_onnx.affine.kernels import Array, spatial
from repvgg_onnx.errors import GeometryError

LARGEST = 2**24  # elements of a field, and of what it is computed from; a model would have to store them


@dataclass(frozen=True, eq=False)
class Field:
    """A term for each channel and position, computed when it is read.

    Scaling and adding fields makes no deeper ones, so that a long chain of either can be read.

    Attributes:
        size: spatial size.
        make: gives the term, c  *size.
        make_majorant: gives what the term's rounding errors are proportional to, c  *size.
        gain: what the term is scaled by, c; None for 1.
        others: fields that are added to it, each without others of its own.
    """

    size: tuple[int, ...]
    make: Callable[[], Array]
    make_majorant: Callable[[], Array]
    gain: Array | None = None
    others: "tuple[Field, ...]" = ()

    def read(self) -> Array:
        """The term, c  *size."""
        total: Array = self._times(self.make(), self.gain)
        for other in self.others:
            total = total + other.read()
        return total

    def read_majorant(self) -> Array:
        """What the term's rounding errors are proportional to, c  *size."""
        total: Array = self._times(self.make_majorant(), None if self.gain is None else np.abs(self.gain))
        for other in self.others:
            total = total + other.read_majorant()
        return total

    def scaled(self, factors: Array) -> "Field":
        """The field times one gain per channel."""
        gain = factors if self.gain is None else self.gain * factors
        return replace(self, gain=gain, others=tuple(other.scaled(factors) for other in self.others))

    def plus(self, *fields: "Field") -> "Field":
        """The sum of fields of one size."""
        alone = (replace(each, others=()) for each in fields)
        inner = (other for each in fields for other in each.others)
        return replace(self, others=(*self.others, *alone, *inner))

    def _times(self, term: Array, gain: Array | None) -> Array:
        return term if gain is None else term * gain.reshape(-1, *(1,) * len(self.size))


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
    axes = zip(geometry.lattices, geometry.strides, size, outputs, strict=True)
    inside = [_inside(lattice, stride, length or 0, count or 0) for lattice, stride, length, count in axes]
    mask: NDArray[np.bool_] = np.ones([len(flags) for flags in inside], dtype=np.bool_)
    for axis, flags in enumerate(inside):
        np.logical_and(mask, flags.reshape(*(-1 if axis == other else 1 for other in range(len(inside)))), out=mask)
    return mask


def _inside(lattice: Lattice, stride: int, length: int, count: int) -> NDArray[np.bool_]:
    """For each output position along one axis whether some tap is inside the input."""
    positions = np.arange(count)[:, None] * stride + lattice.start + np.arange(lattice.count) * lattice.step
    flags: NDArray[np.bool_] = np.logical_or.reduce((positions >= 0) & (positions < length), axis=1)
    return flags


def _seen(geometry: Geometry, tap: Sequence[int], size: Sequence[int]) -> tuple[slice, ...]:
    """What one tap reads of the padded input, one slice an axis."""
    starts = [index * dilation for index, dilation in zip(tap, geometry.dilations, strict=True)]
    return tuple(
        slice(start, start + stride * (count - 1) + 1, stride)
        for start, stride, count in zip(starts, geometry.strides, size, strict=True)
    )
