"""How far two computations of one model may differ: the roundings of its least precise type."""

from collections.abc import Iterable, Iterator

import onnx
from onnx import TensorProto

from repvgg_onnx.errors import CheckError

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
FLOATS = tuple(UNIT_ROUNDOFF)
"""numpy's names of the floating-point types that are compared by their error."""
TOLERANCES = {"float64": 1e-10, "float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}

_NAMES: dict[int, str] = {
    TensorProto.DOUBLE: "float64",
    TensorProto.FLOAT: "float32",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
}
FLOAT_TYPES = frozenset(_NAMES)
"""The same types as ONNX numbers them."""


def require_tolerance(asked: float | None) -> None:
    """A tolerance that the user asks for is one.

    Raises:
        CheckError: it is negative or no number.
    """
    if asked is not None and not asked >= 0:
        raise CheckError(f"tolerance {asked} is not a number of at least 0")


def choose_tolerance(model: onnx.ModelProto, asked: float | None) -> tuple[float, str]:
    """The tolerance asked for, or what ``tolerance_of`` the model is; and the reason in words."""
    return tolerance_of(model) if asked is None else (asked, f"{asked:g}: as asked")


def tolerance_of(model: onnx.ModelProto) -> tuple[float, str]:
    """Largest normalized error that roundings explain, and the reason in words.

    A sum in another order rounds differently, and every layer adds its roundings. What one rounding weighs follows
    from the least precise floating-point type that the model holds anywhere, because a model with float32 outputs may
    well compute in float16.

    Args:
        model: its tensors may have their data elsewhere.
    """
    name = least_precise(model)
    if name is None:
        return 0.0, "0: the model holds no floating-point tensors"
    limit = TOLERANCES[name]
    return limit, f"{limit:g}: {name} is the least precise type in the model; {_roundings(limit, name)}"


def least_precise(model: onnx.ModelProto) -> str | None:
    """The least precise floating-point type that the model holds anywhere, in numpy's words; None without any."""
    names = {_NAMES[type_] for type_ in _types(model) if type_ in _NAMES}
    return max(names, key=UNIT_ROUNDOFF.__getitem__, default=None)


def _roundings(limit: float, name: str) -> str:
    """How many roundings of the type add up to the limit, to two digits."""
    return f"about {float(f'{limit / UNIT_ROUNDOFF[name]:.2g}'):,.0f} roundings"


def _types(model: onnx.ModelProto) -> Iterator[int]:
    yield from _graph_types(model.graph)
    for function in model.functions:
        yield from _node_types(function.node)


def _graph_types(graph: onnx.GraphProto) -> Iterator[int]:
    yield from (tensor.data_type for tensor in graph.initializer)
    yield from (value.type.tensor_type.elem_type for value in (*graph.input, *graph.output))
    yield from _node_types(graph.node)


def _node_types(nodes: Iterable[onnx.NodeProto]) -> Iterator[int]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        if attribute.name in ("to", "dtype"):
            yield attribute.i
        elif attribute.type == onnx.AttributeProto.TENSOR:
            yield attribute.t.data_type
        elif attribute.type == onnx.AttributeProto.GRAPH:
            yield from _graph_types(attribute.g)
