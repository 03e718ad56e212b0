"""What is known before the model runs: initializers, Constant nodes, and expressions of them, evaluated on demand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from repvgg_onnx.graph.normalize import SMALL, STANDARD_DOMAINS, TensorType

AnyArray = NDArray[Any]

LARGEST_EXPRESSION = 512 * 2**20  # bytes of one evaluated constant
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)

QUANTIZING = frozenset(
    {"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"}
)  # weights to be left as they are


@dataclass
class Constants:
    """Constant tensors of a graph by name.

    Attributes:
        graph: the graph that holds them.
        opset_imports: opsets of the model, which give its operators their meaning.
        types: inferred types, which make ``Shape(x)`` and ``CastLike(0, x)`` constants.
        outer: constants of the graph around a subgraph.
    """

    graph: onnx.GraphProto
    opset_imports: Sequence[onnx.OperatorSetIdProto]
    types: Mapping[str, TensorType]
    outer: "Constants | None" = None
    _initializers: dict[str, onnx.TensorProto] = field(init=False)
    _sparse: dict[str, onnx.SparseTensorProto] = field(init=False)
    _overridable: frozenset[str] = field(init=False)
    _expressions: dict[str, onnx.NodeProto] = field(init=False)
    _evaluated: dict[str, AnyArray | None] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self._sparse = {tensor.values.name: tensor for tensor in self.graph.sparse_initializer}
        self._overridable = frozenset(value.name for value in self.graph.input)
        self._expressions = {}
        for node in self.graph.node:
            if self._is_expression(node):
                self._expressions |= {name: node for name in node.output if name}

    def __contains__(self, name: str) -> bool:
        return self._is_stored(name) or name in self._expressions or (self.outer is not None and name in self.outer)

    def is_overridable(self, name: str) -> bool:
        """Whether the tensor is an initializer that a caller may replace because it is a graph input as well."""
        return name in self._initializers and name in self._overridable

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a constant, without reading an initializer's data; None where it is no constant."""
        if name in self._initializers and self._is_stored(name):
            return tuple(self._initializers[name].dims)
        value = self.value(name)
        return None if value is None else value.shape

    def value(self, name: str) -> AnyArray | None:
        """The constant in its own type; None where the tensor is no constant or cannot be evaluated."""
        if self._is_stored(name):
            return self._read(name)
        if name in self._expressions:
            self._evaluate(name)
            return self._evaluated.get(name)
        return self.outer.value(name) if self.outer is not None else None

    def _is_stored(self, name: str) -> bool:
        return (name in self._initializers or name in self._sparse) and name not in self._overridable

    def _read(self, name: str) -> AnyArray:
        if name in self._initializers:
            return numpy_helper.to_array(self._initializers[name])
        return _dense(self._sparse[name])

    def _is_expression(self, node: onnx.NodeProto) -> bool:
        """Whether the node always gives the same: standard, deterministic, no subgraphs, constant inputs."""
        if node.domain not in STANDARD_DOMAINS or node.op_type in RANDOM | QUANTIZING:
            return False
        if any(
            attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for attribute in node.attribute
        ):
            return False
        return all(name in self for name in self._value_inputs(node) if name)

    def _value_inputs(self, node: onnx.NodeProto) -> Sequence[str]:
        """Inputs whose values matter; of some only the type does."""
        if node.op_type == "CastLike" and len(node.input) == 2 and self._elem_type(node.input[1]):
            return (node.input[0],)
        if node.op_type in ("Shape", "Size") and self._static_shape(node.input[0]) is not None:
            return ()
        return tuple(node.input)

    def _evaluate(self, name: str) -> None:
        """Evaluates what the tensor needs, inputs first; a loop, since constant chains may be long."""
        stack = [name]
        while stack:
            top = stack[-1]
            node = self._expressions[top]
            missing = [
                each for each in self._value_inputs(node) if each in self._expressions and each not in self._evaluated
            ]
            if top in self._evaluated or not missing:
                stack.pop()
                if top not in self._evaluated:
                    self._evaluated |= self._run(node)
            else:
                stack.extend(missing)

    def _run(self, node: onnx.NodeProto) -> dict[str, AnyArray | None]:
        nothing: dict[str, AnyArray | None] = dict.fromkeys(node.output)
        node, inputs = self._closed(node)
        if any(value is None for value in inputs.values()):
            return nothing
        known = {name: value for name, value in inputs.items() if value is not None}
        return nothing | _run_node(node, known, self.opset_imports)

    def _closed(self, node: onnx.NodeProto) -> tuple[onnx.NodeProto, dict[str, AnyArray | None]]:
        """The node and its inputs, with questions about types already answered."""
        if node.op_type == "CastLike":
            cast = helper.make_node("Cast", [node.input[0]], node.output, to=self._elem_type(node.input[1]))
            return cast, {node.input[0]: self.value(node.input[0])}
        if node.op_type in ("Shape", "Size") and node.input[0] not in self:
            shape = self._static_shape(node.input[0]) or ()
            return node, {node.input[0]: np.broadcast_to(np.float32(0), shape)}
        return node, {name: self.value(name) for name in node.input if name}

    def _elem_type(self, name: str) -> int:
        if name in self.types:
            return self.types[name].elem_type
        value = self.value(name)
        return 0 if value is None else helper.np_dtype_to_tensor_dtype(value.dtype)

    def _static_shape(self, name: str) -> tuple[int, ...] | None:
        shape = self.types[name].shape if name in self.types else None
        if shape is None or any(size is None for size in shape):
            return self.shape(name) if name in self else None
        return tuple(size for size in shape if size is not None)


def _run_node(
    node: onnx.NodeProto, inputs: Mapping[str, AnyArray], opset_imports: Sequence[onnx.OperatorSetIdProto]
) -> dict[str, AnyArray | None]:
    """Outputs of one node on numpy arrays; empty where they are too large or the operator is not known to numpy."""
    graph = helper.make_graph(
        [node], "constant", [], [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    )
    for name, value in inputs.items():
        if value.size <= SMALL:
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        else:
            elem_type = helper.np_dtype_to_tensor_dtype(value.dtype)
            graph.input.append(helper.make_tensor_value_info(name, elem_type, value.shape))
    model = helper.make_model(graph, opset_imports=opset_imports)
    try:
        if _largest_output(model) > LARGEST_EXPRESSION:
            return {}
        feeds = {value.name: inputs[value.name] for value in graph.input}
        names = [name for name in node.output if name]
        return dict(zip(names, ReferenceEvaluator(model).run(names, feeds), strict=True))
    except Exception:  # any failure of the reference implementation means: not a constant we know
        return {}


def _largest_output(model: onnx.ModelProto) -> float:
    """Bytes of the largest output; infinite where its shape is not known beforehand."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    sizes = [0.0]
    for value in inferred.graph.output:
        tensor = value.type.tensor_type
        if not tensor.HasField("shape") or any(not dim.HasField("dim_value") for dim in tensor.shape.dim):
            return float("inf")
        sizes.append(8.0 * float(np.prod([dim.dim_value for dim in tensor.shape.dim], dtype=np.float64)))
    return max(sizes)


def _dense(sparse: onnx.SparseTensorProto) -> AnyArray:
    values = numpy_helper.to_array(sparse.values)
    indices = numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
    if indices.ndim == 1:
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense
