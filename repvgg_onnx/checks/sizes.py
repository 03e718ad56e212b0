"""Sizes of dynamic axes that onnxruntime really runs a model on: the usual ones, or the first of a short list."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from onnx import TensorProto

from repvgg_onnx.checks.drawing import draw
from repvgg_onnx.checks.exposure import parsed
from repvgg_onnx.checks.options import RunOptions
from repvgg_onnx.checks.ranges import Range
from repvgg_onnx.checks.session import PLAIN, ModelLike, Session, loadable
from repvgg_onnx.errors import LoadError, RunError
from repvgg_onnx.graph.shapes import Axis, alternatives, bind_shapes, name_of_axis

Shapes = Mapping[str, Sequence[int]]
Options = TypeVar("Options", bound=RunOptions)
Result = TypeVar("Result")

SECONDS = 10.0
"""Longest time that other sizes are tried for; one run may exceed it."""
MOST_ELEMENTS = 2**24
"""Of all inputs together; nothing larger is tried."""


def is_open(declared: Mapping[str, Sequence[Axis]], given: Shapes) -> bool:
    """Whether an axis of an input has a size that nobody gave."""
    named = {name_of_axis(axis) for name in given.keys() & declared for axis in declared[name] if isinstance(axis, str)}
    left = (axis for name, axes in declared.items() if name not in given for axis in axes)
    return any(
        not (isinstance(axis, int) and axis >= 0) and (axis is None or axis not in named - {None}) for axis in left
    )


def runnable_shapes(model: ModelLike, run: RunOptions) -> dict[str, tuple[int, ...]] | None:
    """The shape of every input on which the model runs, to be handed on as ``shapes``; None where the usual ones do.

    One session at ORT_DISABLE_ALL, and one run where the usual sizes are right. The others are those of
    ``shapes.alternatives``.

    Args:
        model: a path, bytes or ModelProto.
        run: how it is run; shapes that the user gave are kept, and inputs are drawn.

    Raises:
        RunError: it runs on none of them.
        LoadError: onnxruntime cannot load it.
        CheckError: the shapes given do not fit, an input cannot be drawn, or the provider is not available.
    """
    with loadable(model) as source:
        session = run.open(source, PLAIN)
    declared = {name: spec.shape for name, spec in session.inputs.items()}
    given, ranges = run.shapes or {}, run.ranges or {}
    if not is_open(declared, given) or ranges.keys() - declared.keys():  # the latter is for others to refuse
        return None
    end = time.monotonic() + SECONDS
    first: RunError | None = None
    tried = 0
    for number, bound in enumerate(alternatives(declared, given)):
        if first is not None and time.monotonic() > end:
            break
        if sum(map(math.prod, bound.values())) > MOST_ELEMENTS:
            continue
        tried += 1
        failure = _failure(session, bound, ranges)
        if failure is None:
            return {name: shape for name, shape in bound.items() if declared[name]} if number else None
        first = first or failure
    if first is None:  # everything would be too large
        return None
    usual = bind_shapes(declared, given)
    indices = [name for name, spec in session.inputs.items() if spec.type in ("tensor(int32)", "tensor(int64)")]
    hint = f", or with --range {indices[0]}=0,1 what its indices may be" if indices else ""
    raise RunError(
        f"{first}; {tried} sizes of its inputs were tried: give those that it takes, as in {option(usual)}{hint}"
    )


def option(shapes: Shapes) -> str:
    """The option of the command line that gives these shapes.

    Example:
        >>> option({"x": (1, 3, 48, 320)})
        '--shape x=1,3,48,320'
    """
    return " ".join(f"--shape {name}={','.join(map(str, shape))}" for name, shape in shapes.items() if shape)


def on_runnable_shapes(check: Callable[[Options], Result], model: ModelLike, run: Options) -> Result:
    """The check on sizes that run: where the usual ones do not, and the caller gave none, it is made again on others.

    Args:
        check: what is done, given how models are run.
        model: the model whose inputs may have other sizes.
        run: how the caller wants models to be run.

    Raises:
        RunError: the model runs on none of the sizes that were tried.
    """
    try:
        return check(run)
    except RunError as failure:
        ranges = run.ranges or {}
        if run.shapes or run.inputs is not None:
            raise RunError(f"{failure}{_hint(model, ranges)}") from failure
        try:
            found = runnable_shapes(model, run)
        except LoadError:  # of a model that only what was written into it made one that runs
            found = None
        if found is None:
            raise RunError(f"{failure}{_hint(model, ranges)}") from failure
        return check(replace(run, shapes=found))


def _hint(model: ModelLike, ranges: Mapping[str, Range]) -> str:
    """What to try where indices may be out of bounds: inputs of integers without a range; empty without one."""
    graph = parsed(model).graph
    stored = {tensor.name for tensor in graph.initializer}
    whole = (TensorProto.INT32, TensorProto.INT64)
    inputs = (value for value in graph.input if value.name not in stored | ranges.keys())
    name = next((value.name for value in inputs if value.type.tensor_type.elem_type in whole), None)
    return "" if name is None else f"; if {name!r} holds indices, say with --range {name}=0,1 what they may be"


def _failure(session: Session, bound: Mapping[str, tuple[int, ...]], ranges: Mapping[str, Range]) -> RunError | None:
    """Why the model cannot be run on inputs of these shapes; None where it can."""
    rng = np.random.default_rng(0)
    feed = {name: draw(spec, bound[name], rng, bounds=ranges.get(name)) for name, spec in session.inputs.items()}
    try:
        session.run(feed)
    except RunError as failure:
        return failure
    return None
