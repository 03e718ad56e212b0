"""How far two computations of one model may differ: the roundings of its least precise type."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

import onnx
from onnx import TensorProto

from repvgg_onnx.errors import CheckError
from repvgg_onnx.graph.bodies import Body, all_bodies

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
    well compute in float16. Weights that are stored in a type and cast to another one round nothing.

    Args:
        model: its tensors may have their data elsewhere.
    """
    name = least_precise(model)
    if name is None:
        return 0.0, "0: the model holds no floating-point tensors"
    limit = TOLERANCES[name]
    count = float(f"{limit / UNIT_ROUNDOFF[name]:.2g}")  # that add up to the limit, to two digits
    return limit, f"{limit:g}: {name} is the least precise type in the model; about {count:,.0f} roundings"


def least_precise(model: onnx.ModelProto) -> str | None:
    """The least precise floating-point type that the model holds anywhere, in numpy's words; None without any."""
    names = {_NAMES[type_] for type_ in _types(model) if type_ in _NAMES}
    return max(names, key=UNIT_ROUNDOFF.__getitem__, default=None)


def _types(model: onnx.ModelProto) -> Iterator[int]:
    """Types that something in the model may be rounded to."""
    for root in (model.graph, *model.functions):
        merely_cast = _merely_cast(root)
        for body in all_bodies(root):
            yield from _body_types(body, merely_cast)


def _merely_cast(root: Body) -> set[str]:
    """Names that only Casts read: what is stored under them is taken as it is, so that its own type rounds nothing."""
    bodies = list(all_bodies(root))
    read_by = [(name, node.op_type) for body in bodies for node in body.node for name in node.input]
    outputs = {value if isinstance(value, str) else value.name for body in bodies for value in body.output}
    elsewhere = {name for name, op_type in read_by if op_type != "Cast"} | outputs
    return {name for name, op_type in read_by if op_type == "Cast"} - elsewhere


def _body_types(body: Body, merely_cast: AbstractSet[str]) -> Iterator[int]:
    """Types of what a body stores, takes, gives and converts to, without those of its subgraphs."""
    if isinstance(body, onnx.GraphProto):
        stored = (*body.initializer, *(sparse.values for sparse in body.sparse_initializer))
        yield from (tensor.data_type for tensor in stored if tensor.name not in merely_cast)
        yield from (value.type.tensor_type.elem_type for value in (*body.input, *body.output))
    for node in body.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype"):
                yield attribute.i
            elif attribute.type == onnx.AttributeProto.TENSOR and not merely_cast >= set(node.output):
                yield attribute.t.data_type
