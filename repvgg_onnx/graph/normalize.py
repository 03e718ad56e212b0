"""What a model says of its tensors, and its functions inlined where something in them may fold."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import onnx
from onnx import inliner

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.bodies import STANDARD_DOMAINS
from repvgg_onnx.graph.limits import callees_first
from repvgg_onnx.graph.watch import uninterruptible

Shape: TypeAlias = tuple[int | None, ...]

FIRST_OVERRIDABLE = 4  # IR version; before it, every initializer is an input by form, and nobody can feed one
SMALL = 1024  # elements; larger initializers cannot be shapes, so type inference does without their data


@dataclass(frozen=True)
class TensorType:
    """What is known of a tensor without running the model.

    Attributes:
        elem_type: ONNX data type, such as ``TensorProto.FLOAT``; 0 where unknown.
        shape: one size per axis, None for a dynamic one; None where even the rank is unknown.
    """

    elem_type: int
    shape: Shape | None

    @property
    def static_shape(self) -> tuple[int, ...] | None:
        """The shape, if it is known on every axis."""
        sizes = tuple(size for size in self.shape or () if size is not None)
        return None if self.shape is None or len(sizes) < len(self.shape) else sizes


def inline_functions(model: onnx.ModelProto, op_types: frozenset[str]) -> onnx.ModelProto:
    """The model with every model-local function inlined that contains one of these operators, however deep.

    Args:
        model: not changed; returned as it is where no function qualifies.
        op_types: standard operators worth looking for.

    Raises:
        ModelError: the functions call each other in a circle or cannot be inlined.
    """
    callees_first(model)
    wanted = _functions_with(model, op_types)
    if not wanted:
        return model
    try:
        with uninterruptible():
            return inliner.inline_selected_functions(model, sorted(wanted))
    except Exception as error:  # the C++ inliner raises bare RuntimeErrors
        raise ModelError(f"its functions cannot be inlined: {first_line(error)}") from error


def standard_opset(opset_imports: Iterable[onnx.OperatorSetIdProto]) -> int:
    """Version of ONNX's own operators that a model or function with these imports uses."""
    return max((entry.version for entry in opset_imports if entry.domain in STANDARD_DOMAINS), default=1)


def tensor_types(graph: onnx.GraphProto) -> dict[str, TensorType]:
    """Types of the tensors of a graph that carries them, without those of its subgraphs."""
    values = (*graph.input, *graph.value_info, *graph.output)
    types = {value.name: tensor_type_of(value.type) for value in values if value.type.HasField("tensor_type")}
    for tensor in graph.initializer:
        types[tensor.name] = TensorType(tensor.data_type, tuple(tensor.dims))
    for sparse in graph.sparse_initializer:
        types[sparse.values.name] = TensorType(sparse.values.data_type, tuple(sparse.dims))
    return types


def _functions_with(model: onnx.ModelProto, op_types: frozenset[str]) -> set[tuple[str, str]]:
    """Functions that reach one of the operators, by a fixed point over the call graph."""
    opset = standard_opset(model.opset_import)
    calls = {
        (function.domain, function.name): {(node.domain, node.op_type) for node in function.node}
        for function in model.functions
        if standard_opset(function.opset_import) == opset  # nodes keep their meaning only in the same opset
    }
    targets = {(domain, op_type) for domain in STANDARD_DOMAINS for op_type in op_types}
    wanted: set[tuple[str, str]] = set()
    while True:
        found = {name for name, called in calls.items() if called & (targets | wanted)}
        if found == wanted:
            return wanted
        wanted = found


def axes_of(value: onnx.ValueInfoProto) -> tuple[int | str | None, ...] | None:
    """Axes as an input or output declares them: sizes, names, and None; negative sizes are dynamic.

    None alone where the rank is open.
    """
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or None
        for dim in tensor.shape.dim
    )


def tensor_type_of(proto: onnx.TypeProto) -> TensorType:
    """What a declared type says of a tensor."""
    tensor = proto.tensor_type
    if not tensor.HasField("shape"):
        return TensorType(tensor.elem_type, None)
    return TensorType(
        tensor.elem_type, tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    )


def first_line(error: Exception) -> str:
    """What an error of onnx says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
