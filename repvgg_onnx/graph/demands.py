"""Channels that no type declares and that the weights of a node ask for: the graph could not run with others."""

import math
from collections.abc import Mapping

from repvgg_onnx.graph.macs import PRODUCTS
from repvgg_onnx.graph.normalize import Shape
from repvgg_onnx.graph.view import GraphView, NodeView

_BROADCASTING = frozenset({"Add", "Div", "Mul", "Sub"})
_SHAPE_KEEPING = _BROADCASTING | {"Cast", "Dropout", "Identity", "Neg"}


def demanded_shapes(graph: GraphView) -> Mapping[str, Shape]:
    """For each tensor that a node with constant weights reads, what is known of its shape together with what that asks.

    Where two nodes ask for different numbers of channels, neither is believed.
    """
    shapes: dict[str, Shape] = {}
    denied: set[str] = set()
    for node in reversed(graph.nodes):
        for tensor, asked in (*_demands(node), *_passed_on(node, shapes)):
            joined = _joined(shapes.get(tensor, graph.annotated(tensor)), asked)
            if joined is None:
                denied.add(tensor)
            else:
                shapes[tensor] = joined
    return {tensor: shape for tensor, shape in shapes.items() if tensor not in denied}


def _demands(node: NodeView) -> list[tuple[str, Shape]]:
    """What the node asks of the shapes of its data, as far as those are not known."""
    if node.op_type == "MatMul" and len(node.inputs) == 2:
        sides = ((0, 1, -1, -2), (1, 0, -2, -1))  # a matrix meets the last axis, or from the left the one before it
        return [found for side in sides for found in _demands_of_matmul(node, *side)]
    known = node.graph.annotated(node.inputs[0]) if node.inputs else None
    if len(node.inputs) < 2 or (known is not None and None not in known[1:2]):
        return []
    dims = node.shape_if_constant(1) or ()
    size: int | None = None
    product = PRODUCTS.get(node.op_type)
    if product is not None and product.channels is not None and dims:
        size = product.channels(node.attributes, dims)
    elif node.op_type == "BatchNormalization" and len(dims) == 1 and known is not None:
        size = dims[0]
    has_window = product is not None and product.weight is not None  # whose kernel has as many axes as the data
    rank = len(dims) if has_window or known is None else len(known)
    return [] if size is None or rank < 2 else [(node.inputs[0], _at(1, size, rank))]


def _passed_on(node: NodeView, shapes: Mapping[str, Shape]) -> list[tuple[str, Shape]]:
    """What is asked of the node's result, where it has the shape of its only operand."""
    asked = shapes.get(node.outputs[0]) if node.outputs else None
    if asked is None or node.op_type not in _SHAPE_KEEPING or len(node.dynamic_inputs) != 1:
        return []
    data = node.dynamic_inputs[0]
    others = [node.shape_if_constant(index) or () for index in range(len(node.inputs)) if node.is_constant(index)]
    if node.op_type in _BROADCASTING and any(math.prod(dims) != 1 or len(dims) > len(asked) for dims in others):
        return []  # what looks like channels may be broadcast from one
    return [(node.inputs[data], asked)]


def _demands_of_matmul(node: NodeView, data: int, matrix: int, axis: int, own: int) -> list[tuple[str, Shape]]:
    known = node.graph.annotated(node.inputs[data])
    if known is None or len(known) < 2 or known[axis] is not None or node.is_constant(data):
        return []
    dims = node.shape_if_constant(matrix) or ()
    return [(node.inputs[data], _at(len(known) + axis, dims[own], len(known)))] if len(dims) > 1 else []


def _at(axis: int, size: int | None, rank: int) -> Shape:
    return tuple(size if index == axis else None for index in range(rank))


def _joined(known: Shape | None, asked: Shape) -> Shape | None:
    """Both together; None where they contradict each other."""
    if known is None:
        return asked
    if len(known) != len(asked) or any(
        None not in pair and len(set(pair)) > 1 for pair in zip(known, asked, strict=True)
    ):
        return None
    return tuple(have if have is not None else want for have, want in zip(known, asked, strict=True))
