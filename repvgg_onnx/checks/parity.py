"""Do two models compute the same outputs?"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from repvgg_onnx.checks.agreement import Agreement, agreement_of, total
from repvgg_onnx.checks.comparison import Comparison, compare_values, described, normalized_error
from repvgg_onnx.checks.datasets import InputsLike, LabelsLike
from repvgg_onnx.checks.inputs import Feed, Ranges, Shapes, Specs, build_feeds
from repvgg_onnx.checks.precision import choose_tolerance, require_tolerance
from repvgg_onnx.checks.session import (
    CPU,
    LEVELS,
    ModelLike,
    ProviderLike,
    Session,
    Source,
    common_inputs,
    loadable,
    open_session,
)
from repvgg_onnx.checks.sizes import on_runnable_shapes
from repvgg_onnx.errors import CheckError

__all__ = ["OutputParity", "Parity", "normalized_error", "verify"]

SHIPPED = "ORT_ENABLE_ALL"
"""The optimization level whose outputs are looked at as a classifier's: the one that models are deployed with."""

_VACUOUS = "the output is all NaN and infinity, so that nothing could be compared"


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
        agreements: how the classes compare, for each output that looks like logits; on the user's inputs where there
            are any. They are for information and decide nothing.
    """

    outputs: tuple[OutputParity, ...]
    feeds: tuple[str, ...]
    levels: tuple[str, ...]
    tolerance_reason: str
    agreements: tuple[Agreement, ...] = ()

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
    """One output in one run; name, dtype and shape as in OutputParity."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    compared: Comparison
    feed: Feed
    level: str
    agreement: Agreement | None = None

    @property
    def error(self) -> float:
        return self.compared.error


@on_runnable_shapes
def verify(
    before: ModelLike,
    after: ModelLike,
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    ranges: Ranges | None = None,
    labels: LabelsLike | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    tolerance: float | None = None,
    provider: ProviderLike = CPU,
    threads: int = 0,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
) -> Parity:
    """Comparison of every output of two models, at ORT_DISABLE_ALL and at ORT_ENABLE_ALL.

    Both models run at the same level on the same feeds. Outputs are matched by name. A missing output, another type
    or shape, NaN or infinity in other places, an output that is nothing else on every feed, and a second model that
    fails to run where the first does not are failures with an infinite error and a reason. Outputs that are no
    floating point must be equal, except for a fraction of elements within the tolerance: with float32's, one in
    100,000, because an ArgMax of two nearly equal values may turn with a rounding.

    Args:
        before: path, bytes or ModelProto of the model that is right.
        after: the model to judge.
        shapes: input name to shape, for dynamic axes.
        inputs: further values to feed: input name to array; path of an ``.npz`` or ``.npy`` file or of a folder of
            ONNX test data sets; or several of these.
        ranges: input name to smallest and largest value, for the values that are drawn.
        labels: the class of each row of ``inputs``, or path of an ``.npy`` file of them.
        seeds: one standard-normal feed each.
        tolerance: largest error that passes; by default it follows from the least precise type in ``before``.
        provider: onnxruntime execution provider, or its name and its options.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        custom_ops: libraries of operators that onnxruntime itself lacks. Their code is run.

    Raises:
        CheckError: the models take different inputs, ``shapes``, ``inputs``, ``ranges`` or ``labels`` do not fit
            them, the provider is not available, the tolerance is negative, or ``before`` cannot be run on a feed.
        ModelError: onnxruntime cannot load one of the models.
    """
    require_tolerance(tolerance)
    make_feeds = partial(build_feeds, shapes=shapes, inputs=inputs, ranges=ranges, labels=labels, seeds=seeds)
    findings: list[_Finding] = []
    feeds: tuple[Feed, ...] = ()
    with loadable(before) as first, loadable(after) as second:
        for level in LEVELS:
            opener = partial(open_session, level=level, provider=provider, threads=threads, custom_ops=custom_ops)
            found, feeds = _compare_level(opener, (first, second), feeds or make_feeds, level)
            findings += found
        limit, reason = choose_tolerance(first, tolerance)
    agreements = _agreements(findings)
    if labels is not None and not any(agreement.before.rows for agreement in agreements):
        raise CheckError("labels are given, but no output of the models holds a row of scores for each of them")
    outputs = _worst_of_each(findings, limit)
    return Parity(outputs, tuple(feed.label for feed in feeds), tuple(LEVELS), reason, agreements)


def _compare_level(
    opener: Callable[[Source], Session],
    sources: tuple[Source, Source],
    feeds: tuple[Feed, ...] | Callable[[Specs], tuple[Feed, ...]],
    level: str,
) -> tuple[list[_Finding], tuple[Feed, ...]]:
    """Findings on all feeds at one level, and the feeds; both sessions are closed before others are opened."""
    before, after = map(opener, sources)
    feeds = feeds(common_inputs(before, after)) if callable(feeds) else feeds
    return [finding for feed in feeds for finding in _compare_run(before, after, feed, level)], feeds


def _compare_run(before: Session, after: Session, feed: Feed, level: str) -> Iterator[_Finding]:
    """Findings on every output that either model has, for one feed."""
    expected = before.run(feed.values)
    missing = "the second model has no such output"
    actual: dict[str, Any] = {}
    try:
        actual = after.run(feed.values)
    except CheckError as failure:
        missing = f"the second model fails to run: {failure}"
    for name, value in expected.items():
        found = compare_values(value, actual[name]) if name in actual else Comparison(math.inf, missing)
        alike = agreement_of(name, value, actual.get(name), feed.labels) if level == SHIPPED else None
        yield _Finding(name, *described(value), found, feed, level, alike)
    for name in [name for name in actual if name not in expected]:
        lacking = Comparison(math.inf, "the first model has no such output")
        yield _Finding(name, *described(actual[name]), lacking, feed, level)


def _agreements(findings: Sequence[_Finding]) -> tuple[Agreement, ...]:
    """Agreement of each output on the user's feeds, or on all if none is the user's."""
    given = [finding for finding in findings if finding.feed.given]
    return total(finding.agreement for finding in given or findings if finding.agreement)


def _worst_of_each(findings: Sequence[_Finding], tolerance: float) -> tuple[OutputParity, ...]:
    names = dict.fromkeys(finding.name for finding in findings)
    return tuple(_worst([f for f in findings if f.name == name], tolerance) for name in names)


def _worst(findings: Sequence[_Finding], tolerance: float) -> OutputParity:
    """The worst of all runs of one output."""
    f = max(findings, key=lambda finding: finding.error)
    nothing = all(finding.compared.vacuous for finding in findings)
    error, reason = (math.inf, _VACUOUS) if nothing else (f.error, f.compared.reason)
    return OutputParity(f.name, f.dtype, f.shape, error, tolerance, error <= tolerance, f.feed.label, f.level, reason)
