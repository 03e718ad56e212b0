"""Worth it or not: multiply-adds plus the bytes that are moved, before and after."""

import math
from collections.abc import Iterable, Sequence

from onnx import TensorProto

from repvgg_onnx.fusion.results import Cost
from repvgg_onnx.geometry import Geometry
from repvgg_onnx.graph.view import GraphView, NodeView

BYTES: dict[int, int] = {TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.FLOAT: 4, TensorProto.DOUBLE: 8}
NOMINAL = 56  # size of an axis that nothing is known of


def cost_of_nodes(nodes: Iterable[NodeView]) -> Cost:
    """Cost of running the nodes once, one after the other."""
    return sum((cost_of_node(node) for node in nodes), Cost(0, 0))


def cost_of_node(node: NodeView) -> Cost:
    """Cost of one node: what it multiplies, and every tensor that it reads or writes."""
    graph = node.graph
    tensors = [*(name for name in node.inputs if name), *node.outputs]
    moved = sum(_elements(graph, tensor) * _width(graph, tensor) for tensor in tensors)
    return Cost(_macs(node), moved)


def cost_of_conv(geometry: Geometry, graph: GraphView, root: str, sink: str) -> Cost:
    """Cost of one convolution, or Gemm, between two tensors of the graph.

    Args:
        geometry: of the convolution.
        graph: where the tensors are.
        root: tensor that is read.
        sink: tensor that is written.
    """
    weights = math.prod(geometry.kernel_dims)
    outputs = _elements(graph, sink)
    macs = outputs * weights // geometry.c_out
    elements = _elements(graph, root) + outputs + weights + geometry.c_out
    return Cost(macs, elements * _width(graph, sink))


def _macs(node: NodeView) -> int:
    """Multiply-adds of the operators that have a kernel; the others are counted by the bytes that they move."""
    graph = node.graph
    outputs = _elements(graph, node.outputs[0])
    if node.op_type == "Conv":
        return outputs * math.prod(_shape(graph, node.inputs[1])[1:])
    return 0


def _elements(graph: GraphView, tensor: str) -> int:
    return math.prod(_shape(graph, tensor))


def _shape(graph: GraphView, tensor: str) -> Sequence[int]:
    size = graph.size(tensor)
    return size if size is not None else (NOMINAL, NOMINAL, NOMINAL)


def _width(graph: GraphView, tensor: str) -> int:
    return BYTES.get(graph.elem_type(tensor), 4)
