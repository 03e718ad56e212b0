"""What can be said of a tensor from the operators that lead to it: the range that it lies in, and whether it jumps."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import numpy_helper

from repvgg_onnx.checks.precision import FLOAT_TYPES
from repvgg_onnx.graph.bodies import fed_inputs, nodes_at, number_of, reads_of, stored_tensors

WIDEST = 255.0
"""Widest range of a Clip that errors are measured against. A wider one, such as a guard against overflow, says nothing
of the values that are met inside it."""

_BOUNDED = {"Sigmoid": 1.0, "HardSigmoid": 1.0, "Softmax": 1.0}
_MOVING = frozenset(
    [
        *("Cast", "Concat", "Flatten", "Gather", "Identity", "Reshape"),
        *("Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
    ]
)
_JUMPING = frozenset(
    [
        *("ArgMax", "ArgMin", "Hardmax", "NonMaxSuppression", "NonZero", "TopK", "Unique"),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
        *("Ceil", "Floor", "Round", "Sign", "DynamicQuantizeLinear", "QuantizeLinear"),
    ]
)
_DRAWING = frozenset(
    ["Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"]
)


@dataclass(frozen=True)
class Kind:
    """What the operators before a tensor say of it.

    Attributes:
        range: width of the interval that its values lie in; None where there is none, or none worth knowing.
        jumps: whether a small change of the model's input can change it by a step, as behind an ArgMax.
        drawn: whether the node that makes it draws it at random, anew in every run.
    """

    range: float | None = None
    jumps: bool = False
    drawn: bool = False


_PLAIN = Kind()


def kinds_of(graph: onnx.GraphProto) -> dict[str, Kind]:
    """The kind of every tensor that a node of the graph makes, as far as its nodes are in order.

    A tensor that depends on the input only through its shape, as sizes for a Resize do, does not jump.
    """
    constants = _constants(graph)
    live = {value.name for value in fed_inputs(graph)}
    kinds: dict[str, Kind] = {}
    softmax_logs: set[str] = set()
    for node in graph.node:
        read = [name for name in reads_of(node) if name in live]
        drawn = any(map(_draws, nodes_at(node)))
        if not (read or drawn) or node.op_type in ("Shape", "Size"):
            continue
        live.update(name for name in node.output if name)
        jumps = any(map(_jumps, nodes_at(node))) or any(kinds.get(name, _PLAIN).jumps for name in read)
        if node.op_type == "LogSoftmax":
            softmax_logs.update(node.output)
        width = 1.0 if node.op_type == "Exp" and node.input[0] in softmax_logs else _range(node, kinds, constants)
        kinds |= {name: Kind(width, jumps, drawn) for name in node.output if name}
    return kinds


def _range(node: onnx.NodeProto, kinds: Mapping[str, Kind], constants: Mapping[str, float]) -> float | None:
    """The range of a node's outputs."""
    if node.op_type in _BOUNDED:
        return _BOUNDED[node.op_type]
    if node.op_type == "Clip":
        given = {attribute.name: attribute.f for attribute in node.attribute}
        bounds = dict(zip(("min", "max"), (constants.get(name) for name in node.input[1:]), strict=False))
        low, high = (bounds.get(end, given.get(end)) for end in ("min", "max"))
        return high - low if low is not None and high is not None and 0 < high - low <= WIDEST else None
    if node.op_type not in _MOVING or _casts_to_integers(node):
        return None
    joined = node.input if node.op_type == "Concat" else node.input[:1]
    ranges = [kinds.get(name, _PLAIN).range for name in joined]
    known = [width for width in ranges if width is not None]
    return max(known) if known and len(known) == len(ranges) else None


def _jumps(node: onnx.NodeProto) -> bool:
    """Whether the node itself turns a small difference into a step."""
    return node.op_type in _JUMPING or _casts_to_integers(node)


def _draws(node: onnx.NodeProto) -> bool:
    """Whether the node itself draws random numbers; seeded ones differ from run to run as well."""
    return node.op_type in _DRAWING or (node.op_type == "Dropout" and any(node.input[2:]))  # the third: training_mode


def _casts_to_integers(node: onnx.NodeProto) -> bool:
    return node.op_type == "Cast" and number_of(node, "to") not in FLOAT_TYPES


def _constants(graph: onnx.GraphProto) -> dict[str, float]:
    """Single numbers that the graph stores, by name."""
    numbers = {
        node.output[0]: attribute.f
        for node in graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value_float"
    }
    for name, tensor in stored_tensors(graph).items():
        if tensor.data_type in FLOAT_TYPES and math.prod(tensor.dims) == 1 and not tensor.external_data:
            numbers[name] = float(numpy_helper.to_array(tensor).reshape(-1)[0])
    return numbers
