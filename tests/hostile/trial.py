"""One mutated file through fuse(), and everything that has to hold."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from repvgg_onnx import Fusion, RepvggOnnxError, fuse, load_model
from repvgg_onnx.checks.parity import normalized_error
from repvgg_onnx.graph import load
from repvgg_onnx.graph.budget import Budget
from repvgg_onnx.graph.evaluate import dense
from repvgg_onnx.graph.storage import wire
from tests.compiler.trial import Feeds, widened

SECONDS = 10.0
WORST = 1e-4
LEFT = 4200  # bytes; more than the elements that type inference wants to see
LARGEST_FEED = 10**6  # elements of an input that is still fed

REFUSED = "refused by the reader"
UNTOUCHED = "read, and nothing folded"
EQUAL = "folded and equal"
NOT_RUNNABLE = "folded, and neither form can be run"
REPAIRED = "folded, and only that form can be run"
NO_INPUTS = "folded, the inputs are too large or odd to be drawn"
OVERFLOWS = "folded, the original overflows"
OUTCOMES = (REFUSED, UNTOUCHED, EQUAL, NOT_RUNNABLE, REPAIRED, NO_INPUTS, OVERFLOWS)

DTYPES = {"tensor(float)": np.dtype(np.float32), "tensor(double)": np.dtype(np.float64)}
DTYPES |= {f"tensor({name})": np.dtype(name) for name in ("float16", "int64", "int32", "bool", "uint8", "int8")}


class Broken(AssertionError):  # noqa: N818 - a finding, not an error of the trial
    """What must never happen: another exception, a hang, or a wrong model."""


def outcome_of(path: Path, phase: Callable[[str], None] = lambda name: None) -> str:
    """What fuse() makes of a file.

    Args:
        path: the file, beside its side files.
        phase: told what is being done, for a watchdog.

    Raises:
        Broken: fuse() raised anything but its own errors, took too long, or changed what the model computes.
    """
    phase("fuse")
    with left_in_files(LEFT):
        fusion = _fused(path)
    if fusion is None:
        return REFUSED
    if not fusion.regions:
        return UNTOUCHED
    phase("compare")
    return _compared(path, fusion.model)


@contextmanager
def left_in_files(size: int) -> Iterator[None]:
    """Tensors of so many bytes stay in their files until they are needed, as only large ones do otherwise."""
    with patch.object(wire, "SMALLEST_TAKEN", size), patch.object(load, "LARGEST_AT_ONCE", size):
        yield


def _fused(path: Path) -> Fusion | None:
    started = time.monotonic()
    try:
        fusion = fuse(path)
    except RepvggOnnxError as error:
        fusion = None
        if len(str(error).splitlines()) != 1:
            raise Broken(f"an error of several lines: {error!r}") from error
    if time.monotonic() - started > SECONDS:
        raise Broken(f"took {time.monotonic() - started:.0f} s")
    return fusion


def _compared(path: Path, fused: onnx.ModelProto) -> str:
    content = fused.SerializeToString()
    try:
        before = _session(str(path))
    except Exception:  # onnxruntime's exceptions have no common base; a mutated file may be no model at all
        return REPAIRED if _is_runnable(content) else NOT_RUNNABLE
    given = _feeds(before)
    if given is None:
        return NO_INPUTS
    try:
        expected = before.run(None, given)
    except Exception:
        return REPAIRED if _is_runnable(content) else NOT_RUNNABLE
    actual = _session(content).run(None, given)
    if any(_overflows(array) for array in expected):
        return OVERFLOWS
    for number, (one, other) in enumerate(zip(expected, actual, strict=True)):
        if isinstance(one, np.ndarray) and not _are_close(one, other):
            _assert_as_exact(path, given, number, one, other)
    return EQUAL


def _is_runnable(content: bytes) -> bool:
    """Whether onnxruntime runs the model on what it asks for."""
    try:
        session = _session(content)
        given = _feeds(session)
        return given is not None and bool(session.run(None, given))
    except Exception:  # as above
        return False


def _overflows(array: np.ndarray) -> bool:
    """Whether an output is beyond the range of its type, or so near that other roundings may be."""
    if array.dtype.kind != "f":
        return False
    near = float(np.finfo(array.dtype).max) ** 0.9
    return not np.isfinite(array).all() or bool(np.abs(array).max(initial=0) > near)


def _are_close(expected: np.ndarray, actual: np.ndarray) -> bool:
    if expected.dtype != actual.dtype or expected.shape != actual.shape:
        raise Broken(f"an output is {actual.dtype}{actual.shape} and was {expected.dtype}{expected.shape}")
    if expected.dtype.kind != "f":
        return np.array_equal(expected, actual)
    return normalized_error(expected, actual) <= (WORST if expected.dtype != np.float16 else 2e-2)


def _assert_as_exact(path: Path, given: Feeds, number: int, expected: np.ndarray, actual: np.ndarray) -> None:
    """The fused model is as close to what the file computes in float64 as the file itself is.

    Mutated weights cancel and overflow; what is left then is rounding, and other roundings are not wrong.
    """
    try:
        wide = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in given.items()}
        with np.errstate(all="ignore"):
            true = ReferenceEvaluator(widened(_plain(load_model(path)))).run(None, wide)[number]
    except Exception as error:
        raise Broken(f"output {number} differs, and there is no judge: {error}") from error
    finite = np.isfinite(expected) & np.isfinite(true)
    allowed = max(2 * np.abs(expected - true)[finite].max(initial=0.0), WORST * np.abs(true[finite]).max(initial=0.0))
    found = np.abs(actual - true)[finite].max(initial=0.0)
    if not found <= allowed:
        raise Broken(f"output {number} is off by {found:.1e}, and {allowed:.1e} is allowed")


def _plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every constant as a dense tensor."""
    budget = Budget()
    for sparse in model.graph.sparse_initializer:
        model.graph.initializer.append(numpy_helper.from_array(dense(sparse, budget), sparse.values.name))
    del model.graph.sparse_initializer[:]
    for attribute in (attribute for node in model.graph.node for attribute in node.attribute):
        if attribute.name in ("value_float", "value_floats"):
            value = np.asarray(onnx.helper.get_attribute_value(attribute), np.float32)
            attribute.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(value)))
        elif attribute.name == "sparse_value":
            value = dense(attribute.sparse_tensor, budget)
            attribute.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(value)))
    return model


def _session(source: str | bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _feeds(session: ort.InferenceSession) -> dict[str, np.ndarray] | None:
    """Values for every input; None where one would be too large, or is no tensor of numbers."""
    rng = np.random.default_rng(0)
    inputs = session.get_inputs()
    if any(each.type not in DTYPES or math.prod(_sizes(each)) > LARGEST_FEED for each in inputs):
        return None
    return {each.name: _draw(each, rng) for each in inputs}


def _sizes(declared: ort.NodeArg) -> list[int]:
    return [size if isinstance(size, int) and size >= 0 else 3 for size in declared.shape]


def _draw(declared: ort.NodeArg, rng: np.random.Generator) -> np.ndarray:
    shape, dtype = _sizes(declared), DTYPES[declared.type]
    values = rng.normal(scale=2.0, size=shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
    return np.asarray(values).astype(dtype)
