"""Random values for one input, true to its type."""

import math
from typing import Any, Literal

import numpy as np

from repvgg_onnx.checks.pictures import smooth
from repvgg_onnx.checks.precision import FLOATS
from repvgg_onnx.checks.ranges import Range, check_range
from repvgg_onnx.checks.session import Array, TensorSpec
from repvgg_onnx.errors import CheckError, RunError
from repvgg_onnx.graph.shapes import channels_last

Style = Literal["normal", "border", "picture"]

PIXEL = 255.0
"""White of a picture of bytes."""

_BORDER = 10.0  # magnitude of the border-stressing values on the border
_INSIDE = 0.01  # and inside
_LARGEST_INDEX = 9


def draw(
    spec: TensorSpec,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    *,
    bounds: Range | None = None,
    style: Style = "normal",
    white: float = 1.0,
) -> Array:
    """Values for one input, in its own type; never NaN or infinity.

    Floating-point values are standard-normal, or uniform in the range that is given, rounded to the input's type.
    Integers of 32 and 64 bits are 0 to 9, so that they are plausible indices, narrower ones use their whole range,
    and a range that is given includes both its ends. A picture of bytes uses all of them.

    Args:
        spec: the input.
        shape: its bound shape.
        rng: source of the values.
        bounds: smallest and largest value.
        style: what floating-point values look like: ``normal``; ``border``, large on the borders, with the sign of a
            checkerboard, and near zero inside, or near the ends of the range, and near its middle; or ``picture``,
            smooth and from 0 to white, or from one end of the range to the other.
        white: largest value of a picture without a range.

    Raises:
        CheckError: the input takes strings, is not a tensor of numbers, or has a type that the range does not fit.
    """
    dtype = dtype_of(spec)
    if dtype.name in FLOATS:
        return _floats(spec.name, dtype, shape, rng, bounds, style, white)
    if style == "picture" and dtype.name == "uint8" and bounds is None:
        return np.rint(PIXEL * _shares(shape, rng, style)).astype(dtype)
    if dtype.kind in "biu":
        low, high = _integer_bounds(spec.name, dtype, bounds)
        drawn_as = np.uint64 if dtype == np.uint64 else np.int64
        return np.asarray(rng.integers(low, high, shape, dtype=drawn_as, endpoint=True)).astype(dtype)
    raise CheckError(f"input {spec.name!r} is {spec.type}, which cannot be drawn: give it with --inputs")


def dtype_of(spec: TensorSpec) -> np.dtype[Any]:
    """Type of an input's elements.

    Raises:
        RunError: the input is a sequence, a map or an optional.
    """
    if spec.dtype is None:
        raise RunError(f"input {spec.name!r} is {spec.type}: only tensors can be fed")
    return spec.dtype


def _floats(
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    rng: np.random.Generator,
    bounds: Range | None,
    style: Style,
    white: float,
) -> Array:
    if bounds is None and style != "picture":
        values = _BORDER * _border_stressing(shape, rng) if style == "border" else rng.standard_normal(shape)
        return np.asarray(values).astype(dtype)
    bounds = bounds or (0.0, white)
    check_range(name, bounds)
    with np.errstate(over="ignore"):
        ends = np.array(bounds, np.float64).astype(dtype)
    if not np.isfinite(ends).all():
        raise _misfit(name, bounds, dtype)
    low, high = bounds
    share = _shares(shape, rng, style)
    return np.asarray(low * (1 - share) + high * share).astype(dtype)


def _shares(shape: tuple[int, ...], rng: np.random.Generator, style: Style) -> Array:
    """Values from 0 to 1 in a style."""
    if style == "border":
        return (1 + _border_stressing(shape, rng)) / 2
    return smooth(shape, _spatial_axes(shape), rng) if style == "picture" else rng.random(shape)


def _integer_bounds(name: str, dtype: np.dtype[Any], bounds: Range | None) -> tuple[int, int]:
    """Smallest and largest integer."""
    lowest, highest = (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    if bounds is None:
        return (0, _LARGEST_INDEX) if dtype.itemsize > 2 else (lowest, highest)
    check_range(name, bounds)
    low, high = math.ceil(bounds[0]), math.floor(bounds[1])
    if not lowest <= low <= high <= highest:
        raise _misfit(name, bounds, dtype)
    return low, high


def _misfit(name: str, bounds: Range, dtype: np.dtype[Any]) -> CheckError:
    return CheckError(f"range {bounds[0]},{bounds[1]} does not fit input {name!r}, which takes {dtype.name} values")


def _border_stressing(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Within -1 and 1: large on the spatial border and near zero inside, with the sign of a checkerboard."""
    scale = np.full(shape, _INSIDE / _BORDER if shape else 1.0)
    for axis in _spatial_axes(shape):
        for end in (0, -1):
            scale[(slice(None),) * axis + (end,)] = 1.0
    sign = 1 - 2 * (sum(np.indices(shape, sparse=True)) % 2)
    return np.asarray(scale * sign * rng.uniform(0.5, 1.0, shape))


def _spatial_axes(shape: tuple[int, ...]) -> range:
    """Axes after batch and channels; the last axis where there are at most two."""
    if len(shape) < 3:
        return range(max(len(shape) - 1, 0), len(shape))
    return range(1, 3) if channels_last(shape) else range(2, len(shape))
