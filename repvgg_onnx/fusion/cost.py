"""Worth it or not: multiply-adds plus the bytes that are moved, before and after."""

import math
from collections.abc import Sequence

from onnx import TensorProto

from repvgg_onnx.fusion.results import Cost
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
    """Multiply-adds of the operators that have a kernel; the others are counted by the bytes that they move."""
    graph = node.graph
    if node.op_type == "Conv":
        return elements(graph, node.outputs[0]) * math.prod(_shape(graph, node.inputs[1])[1:])
    if node.op_type == "ConvTranspose":
        return elements(graph, node.inputs[0]) * math.prod(_shape(graph, node.inputs[1])[1:])
    if node.op_type == "MatMul":
        return elements(graph, node.outputs[0]) * _shape(graph, node.inputs[0])[-1]
    if node.op_type == "Gemm":
        return (
            elements(graph, node.outputs[0]) * _shape(graph, node.inputs[0])[0 if node.attributes.get("transA") else 1]
        )
    if node.op_type == "AveragePool":
        window: tuple[int, ...] = node.attributes.get("kernel_shape", ())
        return elements(graph, node.outputs[0]) * math.prod(window)
    return 0


def _shape(graph: GraphView, tensor: str) -> Sequence[int]:
    size = graph.size(tensor)
    return size if size is not None else (NOMINAL, NOMINAL, NOMINAL)
