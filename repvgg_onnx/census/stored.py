"""What an ONNX model is made of: its nodes and its parameters, counted without touching a weight."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from repvgg_onnx.graph.bodies import STANDARD_DOMAINS, Body, operator_of, run_bodies

FLOATING = frozenset(
    value for name, value in TensorProto.DataType.items() if name.startswith(("FLOAT", "BFLOAT", "DOUBLE"))
)
"""Data types whose elements are parameters."""


@dataclass(frozen=True)
class Census:
    """What a model stores.

    Attributes:
        nodes_by_op: number of nodes of each operator, sorted by operator; operators outside the standard
            domain are written ``domain.op_type``.
        parameters: number of elements in the floating-point tensors that the model stores.
        tensor_bytes: size of all tensors that the model stores, strings left out.
    """

    nodes_by_op: dict[str, int]
    parameters: int
    tensor_bytes: int

    @property
    def nodes(self) -> int:
        """Number of all nodes."""
        return sum(self.nodes_by_op.values())


def census(model: onnx.ModelProto) -> Census:
    """Count what ``model`` stores.

    Nodes are those of the graph, of the subgraphs inside its nodes (If, Loop, Scan) and of the model's own functions,
    each counted once however often it runs. Stored tensors are initializers and the values of Constant nodes, of sparse
    ones the values only. Parameters are the elements of those of a floating-point type: weights, BatchNormalization
    statistics and scalars count; shapes, indices and quantized integers do not. Only dims are read, so the weights may
    as well be absent.

    Example:
        >>> text = '<ir_version: 8, opset_import: ["" : 17]> g (float[1, 2] x) => (float[1, 2] y) { y = Relu(x) }'
        >>> census(onnx.parser.parse_model(text))
        Census(nodes_by_op={'Relu': 1}, parameters=0, tensor_bytes=0)
    """
    bodies = list(run_bodies(model))
    tensors = [tensor for body in bodies for tensor in _tensors(body)]
    return Census(
        nodes_by_op=dict(sorted(Counter(operator_of(node) for body in bodies for node in body.node).items())),
        parameters=sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type in FLOATING),
        tensor_bytes=sum(math.prod(tensor.dims) * _item_bytes(tensor.data_type) for tensor in tensors),
    )


def _tensors(body: Body) -> Iterator[onnx.TensorProto]:
    """Tensors that one body stores itself; subgraphs are other bodies."""
    if isinstance(body, onnx.GraphProto):
        yield from body.initializer
        yield from (sparse.values for sparse in body.sparse_initializer)
    for node in body.node:
        if node.op_type == "Constant" and node.domain in STANDARD_DOMAINS:
            yield from map(_constant_value, node.attribute)


def _constant_value(attribute: onnx.AttributeProto) -> onnx.TensorProto:
    """The value of a Constant node, without data where it is not stored as a tensor."""
    if attribute.HasField("t"):
        return attribute.t
    if attribute.HasField("sparse_tensor"):
        return attribute.sparse_tensor.values
    number = attribute.HasField("f") or bool(attribute.floats)
    dims = [len(attribute.floats)] if attribute.floats else []
    return TensorProto(data_type=TensorProto.FLOAT if number else TensorProto.UNDEFINED, dims=dims)


def _item_bytes(data_type: int) -> int:
    """Size of one unpacked element; 0 for strings and for types that the installed onnx does not know."""
    try:
        return 0 if data_type == TensorProto.STRING else int(tensor_dtype_to_np_dtype(data_type).itemsize)
    except KeyError:
        return 0
