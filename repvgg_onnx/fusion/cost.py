"""Worth it or not: multiply-adds plus the bytes that are moved, before and after."""

import math

from onnx import TensorProto

from repvgg_onnx.fusion.results import Cost
from repvgg_onnx.graph.macs import multiply_adds
from repvgg_onnx.graph.view import GraphView, NodeView

BYTES: dict[int, int] = {TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.FLOAT: 4, TensorProto.DOUBLE: 8}
NOMINAL = 56  # size of an axis that nothing is known of


def cost_of_node(node: NodeView) -> Cost:
    """Cost of one node: what it multiplies, and every tensor that it reads or writes."""
    graph = node.graph
    tensors = [*(name for name in node.inputs if name), *node.outputs]
    moved = sum(elements(graph, tensor) * width(graph, tensor) for tensor in tensors)
    return Cost(_macs(node), moved)


def elements(graph: GraphView, tensor: str) -> int:
    """Number of elements of a tensor, dynamic axes at the size that costs are counted with."""
    return math.prod(_shape(graph, tensor))


def width(graph: GraphView, tensor: str) -> int:
    """Bytes of one element of a tensor; 4 where the type is unknown."""
    return BYTES.get(graph.elem_type(tensor), 4)


def _macs(node: NodeView) -> int:
    """What the node multiplies; 0 also where the sizes assumed for what is not known do not suit the operator."""
    shapes = [_shape(node.graph, name) if name else () for name in node.inputs]
    try:
        return multiply_adds(node.op_type, node.attributes, shapes, _shape(node.graph, node.outputs[0]))
    except (IndexError, ValueError):
        return 0


def _shape(graph: GraphView, tensor: str) -> tuple[int, ...]:
    size = graph.size(tensor)
    return tuple(size) if size is not None else (NOMINAL, NOMINAL, NOMINAL)
