"""What is known before the model runs: initializers, Constant nodes, and expressions of them, evaluated on demand."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.bodies import STANDARD_DOMAINS, subgraphs
from repvgg_onnx.graph.budget import Budget
from repvgg_onnx.graph.evaluate import AnyArray, dense, run_node
from repvgg_onnx.graph.normalize import TensorType
from repvgg_onnx.graph.quantization import QUANTIZING, weights_only
from repvgg_onnx.graph.storage.files import TensorFiles, array_of
from repvgg_onnx.graph.storage.tensors import stored_bytes

RANDOM = frozenset(
    {"Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


@dataclass
class Constants:
    """Constant tensors of a graph by name.

    Attributes:
        graph: the graph that holds them.
        opset_imports: opsets of the model, which give its operators their meaning.
        types: inferred types, which make ``Shape(x)`` and ``CastLike(0, x)`` constants.
        outer: constants of the graph around a subgraph.
        budget: bytes that may be computed.
        files: where the initializers are that the model only refers to; None where it holds them all.
        fixed: whether initializers are constants even if they are graph inputs, as before IR version 4.
    """

    graph: onnx.GraphProto
    opset_imports: Sequence[onnx.OperatorSetIdProto]
    types: Mapping[str, TensorType]
    outer: "Constants | None" = None
    budget: Budget = field(default_factory=Budget)
    files: TensorFiles | None = None
    fixed: bool = False
    _initializers: dict[str, onnx.TensorProto] = field(init=False)
    _sparse: dict[str, onnx.SparseTensorProto] = field(init=False)
    _stored: frozenset[str] = field(init=False)  # initializers that no caller may override
    _expressions: dict[str, int] = field(init=False)  # tensor to index of its node
    _evaluated: dict[str, AnyArray | None] = field(init=False, default_factory=dict)
    _weights_only: frozenset[str] = field(init=False)
    _own: frozenset[str] = field(init=False)  # names that hide those of the graph around

    def __post_init__(self) -> None:
        outputs = (name for node in self.graph.node for name in node.output)
        self._own = frozenset((*(value.name for value in self.graph.input), *outputs))
        self._initializers = {tensor.name: tensor for tensor in self.graph.initializer}
        self._sparse = {tensor.values.name: tensor for tensor in self.graph.sparse_initializer}
        overridable = set() if self.fixed else {value.name for value in self.graph.input}
        self._stored = frozenset((*self._initializers, *self._sparse)) - overridable
        self._expressions = {}
        self._weights_only = weights_only(self.graph)
        for index, node in enumerate(self.graph.node):
            if self._is_expression(node):
                self._expressions |= {name: index for name in node.output if name}

    def __contains__(self, name: str) -> bool:
        if name in self._stored or name in self._expressions:
            return True
        return self.outer is not None and name not in self._own and name in self.outer

    def is_overridable(self, name: str) -> bool:
        """Whether the tensor is an initializer that a caller may replace because it is a graph input as well."""
        return name not in self._stored and (name in self._initializers or name in self._sparse)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a constant, without reading an initializer's data; None where it is not a constant."""
        if name in self._stored and name in self._initializers:
            return tuple(self._initializers[name].dims)
        value = self.value(name)
        return None if value is None else value.shape

    def value(self, name: str) -> AnyArray | None:
        """The constant in its own type; None where the tensor is not a constant or cannot be evaluated.

        Raises:
            ModelError: an initializer does not hold what its shape says.
        """
        if name in self._stored:
            return self._read(name)
        if name in self._expressions:
            if name not in self._evaluated:  # what is known stays known when the graph has been edited
                self._evaluate(name)
            return self._evaluated.get(name)
        return self.outer.value(name) if self.outer is not None and name not in self._own else None

    def expression_nodes(self, names: Iterable[str]) -> set[int]:
        """Indices of the nodes that these constants are computed by, Constant nodes left out."""
        found: set[int] = set()
        stack = list(names)
        while stack:
            index = self._expressions.get(stack.pop())
            if index is not None and index not in found:
                found.add(index)
                stack.extend(self.graph.node[index].input)
        return {index for index in found if self.graph.node[index].op_type != "Constant"}

    def is_computed(self, name: str) -> bool:
        """Whether nodes make the constant, and not only store it or give it another name."""
        while (index := self._expressions.get(name)) is not None:
            node = self.graph.node[index]
            if node.op_type not in ("Constant", "Identity"):
                return True
            name = next(iter(node.input), "")
        return self.outer is not None and name not in self._own and self.outer.is_computed(name)

    def stored_bytes(self, names: Iterable[str]) -> int:
        """What the file stores of these constants: themselves, or what they are computed from."""
        waiting, seen, total = list(names), set[str](), 0
        while waiting:
            name = waiting.pop()
            index = self._expressions.get(name)
            if name in seen:
                continue
            seen.add(name)
            if index is not None:
                node = self.graph.node[index]
                waiting += node.input
                total += sum(stored_bytes(attribute.t) for attribute in node.attribute if attribute.HasField("t"))
            elif name in self._initializers:
                total += stored_bytes(self._initializers[name])
            elif name in self._sparse:
                total += stored_bytes(self._sparse[name].values) + stored_bytes(self._sparse[name].indices)
            elif self.outer is not None and name not in self._own:
                total += self.outer.stored_bytes([name])
        return total

    @property
    def all_expressions(self) -> set[int]:
        """Indices of the nodes that make constants."""
        return set(self._expressions.values())

    def _read(self, name: str) -> AnyArray | None:
        try:
            if name in self._initializers:
                return array_of(self._initializers[name], self.files)
            if name not in self._evaluated:
                self._evaluated[name] = dense(self._sparse[name], self.budget)
            return self._evaluated[name]
        except (ValueError, TypeError, IndexError) as error:
            raise ModelError(f"its initializer {name!r} does not hold what its shape and type say") from error

    def _is_expression(self, node: onnx.NodeProto) -> bool:
        """Whether the node always gives the same: standard, deterministic, no subgraphs, constant inputs."""
        if node.domain not in STANDARD_DOMAINS or node.op_type in RANDOM:
            return False
        if node.op_type in QUANTIZING and not self._weights_only.issuperset(node.output):
            return False
        if subgraphs(node):
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
            node = self.graph.node[self._expressions[stack[-1]]]
            needed = [each for each in self._value_inputs(node) if each in self._expressions]
            missing = [each for each in needed if each not in self._evaluated]
            if missing and stack[-1] not in self._evaluated:
                stack.extend(missing)
                continue
            if stack.pop() not in self._evaluated:
                self._evaluated |= dict.fromkeys(node.output) | dict(self._run(node))

    def _run(self, node: onnx.NodeProto) -> Mapping[str, AnyArray | None]:
        """Outputs of a node whose inputs are known; questions about types are answered without running anything."""
        if node.op_type == "Constant":
            return {node.output[0]: _constant(node, self.budget)}
        if node.op_type == "Identity":
            return {node.output[0]: self.value(node.input[0])}
        shape = self._static_shape(node.input[0]) if node.op_type in ("Shape", "Size") else None
        if shape is not None:
            return {node.output[0]: _about_shape(node, shape)}
        if node.op_type == "CastLike":
            node = helper.make_node("Cast", [node.input[0]], node.output, to=self._elem_type(node.input[1]))
        inputs = {name: self.value(name) for name in node.input if name}
        known = {name: value for name, value in inputs.items() if value is not None}
        if len(known) < len(inputs):
            return {}
        return run_node(node, known, self.opset_imports, self.budget)

    def _elem_type(self, name: str) -> int:
        if name in self.types:
            return self.types[name].elem_type
        value = self.value(name)
        return 0 if value is None else helper.np_dtype_to_tensor_dtype(value.dtype)

    def _static_shape(self, name: str) -> tuple[int, ...] | None:
        shape = self.types[name].static_shape if name in self.types else None
        return self.shape(name) if shape is None and name in self else shape


def _constant(node: onnx.NodeProto, budget: Budget) -> AnyArray | None:
    """Value of a Constant node, whichever attribute holds it. Source: ONNX operator specification, Constant."""
    if not node.attribute:
        return None
    attribute = node.attribute[0]
    if attribute.name == "value":
        return numpy_helper.to_array(attribute.t)
    if attribute.name == "sparse_value":
        return dense(attribute.sparse_tensor, budget)
    value = helper.get_attribute_value(attribute)
    if attribute.name.startswith("value_string"):
        return np.asarray(value, dtype=object)
    return np.asarray(value, dtype=np.float32 if attribute.name.startswith("value_float") else np.int64)


def _about_shape(node: onnx.NodeProto, shape: Sequence[int]) -> AnyArray:
    """What Shape or Size gives. Source: ONNX operator specification, Shape version 15 and Size."""
    if node.op_type == "Size":
        return np.asarray(np.prod(shape, dtype=np.int64))
    bounds = {attribute.name: attribute.i for attribute in node.attribute}
    return np.asarray(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], dtype=np.int64)
