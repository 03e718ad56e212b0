"""Where do two models begin to differ? Every tensor that both have a name for is compared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from repvgg_onnx.checks.comparison import Comparison, compare_values
from repvgg_onnx.checks.exposure import expose, in_batches, parsed, private_copy
from repvgg_onnx.checks.inputs import Feed, build_feeds
from repvgg_onnx.checks.options import CheckKeywords, CheckOptions
from repvgg_onnx.checks.precision import FLOATS, choose_tolerance, require_tolerance
from repvgg_onnx.checks.session import (
    PLAIN,
    Loadable,
    ModelLike,
    Session,
    common_inputs,
    loadable,
)
from repvgg_onnx.checks.sizes import on_runnable_shapes
from repvgg_onnx.errors import CheckError
from repvgg_onnx.graph.bodies import label_of
from repvgg_onnx.graph.cut import Cutter

if TYPE_CHECKING:
    from typing_extensions import Unpack

LEVEL = PLAIN
"""Optimization level: others would not leave every tensor in the graph."""


@dataclass(frozen=True)
class TensorParity:
    """How one tensor of the second model compares with the first model's tensor of the same name.

    Attributes:
        name: tensor name.
        node: name of the first model's node that computes it.
        op_type: operator of that node.
        members: names of all nodes of the first model between the nearest shared tensors and this one.
        error: worst normalized error over the feeds.
        error_of_inputs: worst error of the nearest shared tensors that it is computed from; 0 if there are none.
        origin: whether the error arises here: it is above the tolerance, and those of the inputs are not.
        feed: label of the feed with the worst error.
        reason: why the error is infinite, in words; empty otherwise.
    """

    name: str
    node: str
    op_type: str
    members: tuple[str, ...]
    error: float
    error_of_inputs: float
    origin: bool
    feed: str
    reason: str = ""


@dataclass(frozen=True)
class Bisection:
    """Where two models begin to differ.

    Attributes:
        tensors: every floating-point tensor that both compute under one name, in the first model's order.
        tolerance: error from which on a tensor differs.
        tolerance_reason: the tolerance and where it comes from.
        feeds: labels of what the models were fed.
        level: onnxruntime optimization level at which both were run.
        obstacle: why nothing could be compared, in words; empty otherwise.
    """

    tensors: tuple[TensorParity, ...]
    tolerance: float
    tolerance_reason: str
    feeds: tuple[str, ...]
    level: str = LEVEL
    obstacle: str = ""

    @property
    def origins(self) -> tuple[TensorParity, ...]:
        """Tensors at which an error arises, in the first model's order; the first one is where to look first."""
        return tuple(tensor for tensor in self.tensors if tensor.origin)

    @property
    def worst(self) -> tuple[TensorParity, ...]:
        """All tensors, those with the largest errors first."""
        return tuple(sorted(self.tensors, key=lambda tensor: -tensor.error))


@dataclass(frozen=True)
class _Finding:
    """The worst comparison of one tensor so far."""

    compared: Comparison
    feed: str


def bisect(before: ModelLike, after: ModelLike, **options: "Unpack[CheckKeywords]") -> Bisection:
    """Comparison of every floating-point tensor that nodes of both models compute under one name.

    The tensors are made outputs of private copies of the models, so many at a time that their values fit into memory,
    and compared on the same feeds at ORT_DISABLE_ALL. Tensors inside the bodies of If, Loop and Scan nodes and of
    functions are not looked at.

    Args:
        before: path, bytes or ModelProto of the model that is right.
        after: the model to judge.
        **options: the fields of CheckOptions but ``labels``; above the ``tolerance`` a tensor differs.

    Raises:
        CheckError: the models take different inputs, an option does not fit them, or ``before`` cannot be run.
        ModelError: one of the models cannot be loaded.
    """
    return bisected(before, after, CheckOptions(**options))


def bisected(before: ModelLike, after: ModelLike, run: CheckOptions) -> Bisection:
    """``bisect`` with its options as one value."""
    require_tolerance(run.tolerance)
    return on_runnable_shapes(partial(_bisected, before, after), before, run)


def _bisected(before: ModelLike, after: ModelLike, run: CheckOptions) -> Bisection:
    opener = partial(run.open, level=LEVEL)
    with loadable(before) as first, loadable(after) as second:
        specs = common_inputs(opener(first), opener(second))
    limit, reason = choose_tolerance(parsed(before), run.tolerance)
    feeds = build_feeds(specs, shapes=run.shapes, inputs=run.inputs, ranges=run.ranges, seeds=run.seeds)
    labels = tuple(feed.label for feed in feeds)
    ours, theirs = private_copy(before), private_copy(after)
    whole, common = Cutter(ours), Cutter(theirs).made
    shared = [name for name in whole.made if name in common]
    if not shared:
        return Bisection((), limit, reason, labels, obstacle="the models compute no tensors of the same names")
    findings: dict[str, _Finding] = {}
    try:
        for names in in_batches(ours, shared, feeds):
            pair = _exposed(ours, names, opener), _exposed(theirs, names, opener)
            findings |= _compare_batch(*pair, feeds)
    except _SecondFailsError as failure:
        return Bisection((), limit, reason, labels, obstacle=f"the second model fails to run: {failure}")
    return Bisection(tuple(_judged(whole, findings, limit)), limit, reason, labels)


class _SecondFailsError(CheckError):
    """The second model cannot be run on what the first one can."""


def _exposed(model: onnx.ModelProto, names: Sequence[str], opener: Callable[[Loadable], Session]) -> Session:
    expose(model, names)
    with loadable(model) as source:
        return opener(source)


def _compare_batch(before: Session, after: Session, feeds: Sequence[Feed]) -> dict[str, _Finding]:
    """The worst finding on each of the outputs that are floating-point tensors, over the feeds."""
    worst: dict[str, _Finding] = {}
    for feed in feeds:
        expected, actual = before.run(feed.values), _run_second(after, feed)
        for name, value in expected.items():
            if isinstance(value, np.ndarray) and value.dtype.name in FLOATS:
                found = compare_values(value, actual[name])
                if name not in worst or found.error > worst[name].compared.error:
                    worst[name] = _Finding(found, feed.label)
    return worst


def _run_second(session: Session, feed: Feed) -> dict[str, Any]:
    try:
        return session.run(feed.values)
    except CheckError as failure:
        raise _SecondFailsError(str(failure)) from failure


def _judged(whole: Cutter, findings: Mapping[str, _Finding], limit: float) -> Iterator[TensorParity]:
    """Every tensor, with what it is computed from."""
    for name, finding in findings.items():
        indices, ends = whole.back_from([name], findings)
        members = whole.nodes(indices)
        inherited = max((findings[source].compared.error for source in ends & findings.keys()), default=0.0)
        error, node = finding.compared.error, next(member for member in members if name in member.output)
        yield TensorParity(
            name=name,
            node=label_of(node),
            op_type=node.op_type,
            members=tuple(map(label_of, members)),
            error=error,
            error_of_inputs=inherited,
            origin=error > limit >= inherited,
            feed=finding.feed,
            reason=finding.compared.reason,
        )
