"""Do two models compute the same outputs?"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from repvgg_onnx.checks.inputs import FLOATS, Feed, InputsLike, Shapes, build_feeds
from repvgg_onnx.checks.precision import tolerance_of
from repvgg_onnx.checks.session import (
    CPU,
    LEVELS,
    Array,
    ModelLike,
    Session,
    Source,
    common_inputs,
    loadable,
    open_session,
)
from repvgg_onnx.errors import CheckError

Outputs = dict[str, Any]  # name to array, or to lists and dicts of arrays


@dataclass(frozen=True)
class OutputParity:
    """How one output of the second model compares with the first model's.

    Attributes:
        name: tensor name.
        dtype: numpy's name of the first model's type; ``sequence`` or ``map`` for what is no tensor.
        shape: of the first model's output in the worst run; empty for what is no tensor.
        error: worst over feeds and levels. Floating point: normalized error. Everything else: fraction of the elements
            that differ.
        tolerance: largest error that passes.
        passed: whether the error is within the tolerance.
        worst_feed: label of the feed with the worst error.
        worst_level: onnxruntime optimization level with the worst error.
        reason: why the error is infinite, in words; empty otherwise.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    error: float
    tolerance: float
    passed: bool
    worst_feed: str
    worst_level: str
    reason: str = ""


@dataclass(frozen=True)
class Parity:
    """How the outputs of two models compare.

    Attributes:
        outputs: one entry for each output that either model has, the first model's order first.
        feeds: labels of what the models were fed.
        levels: onnxruntime optimization levels at which both were run.
        tolerance_reason: the tolerance and where it comes from.
    """

    outputs: tuple[OutputParity, ...]
    feeds: tuple[str, ...]
    levels: tuple[str, ...]
    tolerance_reason: str

    @property
    def passed(self) -> bool:
        """Whether every output passed."""
        return all(output.passed for output in self.outputs)

    @property
    def error(self) -> float:
        """Worst error of any output."""
        return max((output.error for output in self.outputs), default=0.0)


@dataclass(frozen=True)
class _Finding:
    """One output in one run; fields as in OutputParity."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    error: float
    reason: str
    feed: str
    level: str


def verify(
    before: ModelLike,
    after: ModelLike,
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    tolerance: float | None = None,
    provider: str = CPU,
    threads: int = 0,
) -> Parity:
    """Comparison of every output of two models, at ORT_DISABLE_ALL and at ORT_ENABLE_ALL.

    Both models run at the same level on the same feeds. Outputs are matched by name. A missing output, another type
    or shape, NaN or infinity in other places, and a second model that fails to run where the first does not are
    failures with an infinite error and a reason. Outputs that are no floating point must be equal, except for a
    fraction of elements within the tolerance: with float32's, one in 100,000, because an ArgMax of two nearly equal
    values may turn with a rounding.

    Args:
        before: path, bytes or ModelProto of the model that is right.
        after: the model to judge.
        shapes: input name to shape, for dynamic axes.
        inputs: further values to feed: input name to array, or path of an ``.npz`` file.
        seeds: one standard-normal feed each.
        tolerance: largest error that passes; by default it follows from the least precise type in ``before``.
        provider: onnxruntime execution provider.
        threads: threads inside an operator; 0 lets onnxruntime decide.

    Raises:
        CheckError: the models take different inputs, ``shapes`` or ``inputs`` do not fit them, the provider is not
            available, the tolerance is negative, or ``before`` cannot be run on a feed.
        ModelError: onnxruntime cannot load one of the models.
    """
    if tolerance is not None and not tolerance >= 0:
        raise CheckError(f"tolerance {tolerance} is not a number of at least 0")
    findings: list[_Finding] = []
    feeds: tuple[Feed, ...] = ()
    with loadable(before) as first, loadable(after) as second:
        for level in LEVELS:
            ours = open_session(first, level=level, provider=provider, threads=threads)
            theirs = open_session(second, level=level, provider=provider, threads=threads)
            feeds = feeds or build_feeds(common_inputs(ours, theirs), shapes=shapes, inputs=inputs, seeds=seeds)
            findings += [finding for feed in feeds for finding in _compare_run(ours, theirs, feed, level)]
        limit, reason = _tolerance(first, tolerance)
    labels = tuple(feed.label for feed in feeds)
    return Parity(_worst_of_each(findings, limit), labels, tuple(LEVELS), reason)


def normalized_error(before: Array, after: Array) -> float:
    """max|before - after| / max|before|.

    It is 0 where both are all zeros, and infinite where only ``before`` is. NaN, and infinity of one sign, in the same
    place are equal and left out of both maxima; in different places the error is infinite.

    Args:
        before: floating-point array.
        after: array of the same shape.

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
    largest = np.abs(a[finite]).max(initial=0.0)
    difference = np.abs(a[finite] - b[finite]).max(initial=0.0)
    if difference == 0:
        return 0.0
    return float(difference / largest) if largest > 0 else math.inf


def _tolerance(before: Source, asked: float | None) -> tuple[float, str]:
    return tolerance_of(before) if asked is None else (asked, f"{asked:g}: as asked")


def _compare_run(before: Session, after: Session, feed: Feed, level: str) -> Iterator[_Finding]:
    """Findings on every output that either model has, for one feed."""
    expected = before.run(feed.values)
    missing = "the second model has no such output"
    actual: Outputs = {}
    try:
        actual = after.run(feed.values)
    except CheckError as failure:
        missing = f"the second model fails to run: {failure}"
    for name, value in expected.items():
        error, reason = _compare(value, actual[name]) if name in actual else (math.inf, missing)
        yield _Finding(name, *_described(value), error, reason, feed.label, level)
    for name in [name for name in actual if name not in expected]:
        reason = "the first model has no such output"
        yield _Finding(name, *_described(actual[name]), math.inf, reason, feed.label, level)


def _compare(before: Any, after: Any) -> tuple[float, str]:
    """Error and reason for one output: an array, or lists and maps of them."""
    ours, theirs = _leaves(before), _leaves(after)
    if len(ours) != len(theirs):
        return math.inf, "the output has another number of elements"
    compared = (_compare_arrays(a, b) for a, b in zip(ours, theirs, strict=True))
    return max(compared, key=lambda found: found[0], default=(0.0, ""))


def _compare_arrays(before: Array, after: Array) -> tuple[float, str]:
    if before.dtype != after.dtype:
        return math.inf, f"the type is {after.dtype.name} instead of {before.dtype.name}"
    if before.shape != after.shape:
        return math.inf, f"the shape is {after.shape} instead of {before.shape}"
    if before.dtype.name not in FLOATS:
        return np.count_nonzero(before != after) / max(before.size, 1), ""
    error = normalized_error(before, after)
    return error, "" if math.isfinite(error) else _why_infinite(before, after)


def _why_infinite(before: Array, after: Array) -> str:
    if np.isfinite(after).all() and not before.any():
        return "the second model's output is not all zeros, as the first one's is"
    return "NaN or infinity is not in the same places"


def _leaves(value: Any) -> list[Array]:
    """Arrays of an output, in order; a map is its keys and its values."""
    if value is None:  # an empty optional
        return []
    if isinstance(value, Mapping):
        return [np.asarray(list(value.keys())), np.asarray(list(value.values()))]
    if isinstance(value, list):
        return [leaf for item in value for leaf in _leaves(item)]
    return [np.asarray(value)]


def _described(value: Any) -> tuple[str, tuple[int, ...]]:
    """Type and shape of an output."""
    if isinstance(value, np.ndarray):
        return "string" if value.dtype.kind in "OU" else value.dtype.name, value.shape
    return "map" if isinstance(value, Mapping) else "sequence", ()


def _worst_of_each(findings: Sequence[_Finding], tolerance: float) -> tuple[OutputParity, ...]:
    names = dict.fromkeys(finding.name for finding in findings)
    worst = (max((f for f in findings if f.name == name), key=lambda f: f.error) for name in names)
    return tuple(
        OutputParity(f.name, f.dtype, f.shape, f.error, tolerance, f.error <= tolerance, f.feed, f.level, f.reason)
        for f in worst
    )
