"""Worth it or not: multiply-adds plus the bytes that are moved, before and after."""

import math

from onnx import TensorProto

from repvgg_onnx.compiler.results import Cost
from repvgg_onnx.graph.macs import multiply_adds
from repvgg_onnx.graph.view import GraphView, NodeView

BYTES: dict[int, int] = {TensorProto.FLOAT16: 2, TensorProto.BFLOAT16: 2, TensorProto.FLOAT: 4, TensorProto.DOUBLE: 8}
NOMINAL = 56  # size of an axis that nothing is known of
# Elements that are moved for each one of a Transpose, which reads and writes one, but not in order: measured, it takes
# 1.2 to 2 times as long as an element-wise operator on the same tensor (onnxruntime, 0.2 to 6 MB, 1 and 2 threads).
# With twice the bytes a linear layer behind a Transpose is worth a Conv and a Transpose of its result where that is
# less than twice as large as what it reads. Measured, it is 1.03 to 1.06 times as fast there, 0.96 to 1.09 beyond.
TRANSPOSED = 4


def cost_of_node(node: NodeView) -> Cost:
    """Cost of one node: what it multiplies, and every tensor that it reads or writes."""
    graph = node.graph
    tensors = [*(name for name in node.inputs if name), *node.outputs]
    moved = sum(elements(graph, tensor) * width(graph, tensor) for tensor in tensors)
    if node.op_type == "Transpose":
        moved = moved * TRANSPOSED // 2
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
