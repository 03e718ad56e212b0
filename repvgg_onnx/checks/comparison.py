"""One value of a model compared with the same value of another."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from repvgg_onnx.checks.precision import FLOATS
from repvgg_onnx.checks.session import Array


@dataclass(frozen=True)
class Comparison:
    """How a value of the second model compares with the first model's.

    Attributes:
        error: floating point: normalized error. Everything else: fraction of the elements that differ.
        reason: why the error is infinite, in words; empty otherwise.
        vacuous: whether the first model's value is all NaN and infinity, so that no number was compared.
        unlike: whether the types, the shapes or the numbers of elements differ.
        empty: whether neither value has an element, so that only types and shapes were compared.
    """

    error: float
    reason: str = ""
    vacuous: bool = False
    unlike: bool = False
    empty: bool = False


def compare_values(before: Any, after: Any, scale: float | None = None) -> Comparison:
    """The worst of all arrays that two values hold: each an array, or lists and maps of them.

    Args:
        before: the first model's value.
        after: the second model's.
        scale: what floating-point differences are measured against; the largest magnitude of ``before`` by default.
    """
    ours, theirs = _leaves(before), _leaves(after)
    if len(ours) != len(theirs):
        return Comparison(math.inf, "the output has another number of elements", unlike=True)
    compared = (_compare_arrays(a, b, scale) for a, b in zip(ours, theirs, strict=True))
    worst = max(compared, key=lambda found: (found.error, not found.vacuous), default=Comparison(0.0))
    return replace(worst, empty=not worst.unlike and not any(leaf.size for leaf in ours))


def normalized_error(before: Array, after: Array, scale: float | None = None) -> float:
    """max|before - after| / max|before|.

    It is 0 where both are all zeros, and infinite where only ``before`` is. NaN, and infinity of one sign, in the same
    place are equal and left out of both maxima; in different places the error is infinite.

    Args:
        before: floating-point array.
        after: array of the same shape.
        scale: what to divide by instead of max|before|, such as the width of the range that the values lie in.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, section 1.2: norm-wise relative error, here in
        the maximum norm.

    Example:
        >>> normalized_error(np.array([1.0, -4.0]), np.array([1.0, -3.0]))
        0.25
    """
    a, b = before.astype(np.float64), after.astype(np.float64)
    finite = np.isfinite(a)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True) or not np.isfinite(b[finite]).all():
        return math.inf
    difference = float(np.abs(a[finite] - b[finite]).max(initial=0.0))
    if difference == 0:
        return 0.0
    largest = float(np.abs(a[finite]).max(initial=0.0)) if scale is None else scale
    return difference / largest if largest > 0 else math.inf


def described(value: Any) -> tuple[str, tuple[int, ...]]:
    """Type and shape of a value: numpy's name, or ``string``, ``sequence`` or ``map``."""
    if isinstance(value, np.ndarray):
        return "string" if value.dtype.kind in "OU" else value.dtype.name, value.shape
    return "map" if isinstance(value, Mapping) else "sequence", ()


def is_finite(value: Any) -> bool:
    """Whether a value holds no NaN and no infinity."""
    return all(bool(np.isfinite(leaf).all()) for leaf in _leaves(value) if leaf.dtype.name in FLOATS)


def _compare_arrays(before: Array, after: Array, scale: float | None) -> Comparison:
    if before.dtype != after.dtype:
        return Comparison(math.inf, f"the type is {after.dtype.name} instead of {before.dtype.name}", unlike=True)
    if before.shape != after.shape:
        return Comparison(math.inf, f"the shape is {after.shape} instead of {before.shape}", unlike=True)
    if before.dtype.name not in FLOATS:
        return Comparison(int(np.count_nonzero(before != after)) / max(before.size, 1))
    error = normalized_error(before, after, scale)
    if math.isinf(error):
        return Comparison(error, _why_infinite(before, after))
    return Comparison(error, vacuous=before.size > 0 and not np.isfinite(before).any())


def _why_infinite(before: Array, after: Array) -> str:
    ours, theirs = bool(np.isfinite(before).all()), bool(np.isfinite(after).all())
    if ours and theirs:
        return "the second model's output is not all zeros, as the original's is"
    if ours:
        return "the second model's output holds NaN or infinity, and the original's does not"
    if theirs:
        return "the original's output holds NaN or infinity, and the second model's does not"
    return "both outputs hold NaN or infinity, and not in the same places"


def _leaves(value: Any) -> list[Array]:
    """Arrays of a value, in order; a map is its keys and its values."""
    if value is None:  # an empty optional
        return []
    if isinstance(value, Mapping):
        return [np.asarray(list(value.keys())), np.asarray(list(value.values()))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [np.asarray(value)]
