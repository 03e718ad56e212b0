"""Every part of a model that holds nodes or tensors, however deep; loops, because hostile models nest deeply."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import onnx
from google.protobuf.message import Message
from onnx import helper

from repvgg_onnx.graph.storage.tensors import stored_bytes

Body: TypeAlias = onnx.GraphProto | onnx.FunctionProto
BodyT = TypeVar("BodyT", bound=Body)
MessageT = TypeVar("MessageT", bound=Message)

STANDARD_DOMAINS = ("", "ai.onnx")
"""ONNX's own domain, in its short form and in its long one."""


def copy_of(message: MessageT) -> MessageT:
    """A copy of a model, or of a part of one, that may be changed."""
    copied: MessageT = type(message)()
    copied.CopyFrom(message)
    return copied


def bodies_of(model: onnx.ModelProto) -> Iterator[Body]:
    """The graph, the functions, the training graphs, and every subgraph in them."""
    yield from run_bodies(model)
    for info in model.training_info:
        for graph in (info.initialization, info.algorithm):
            yield from all_bodies(graph)


def run_bodies(model: onnx.ModelProto) -> Iterator[Body]:
    """What inference can run: the graph, the functions, and every subgraph in them."""
    for root in (model.graph, *model.functions):
        yield from all_bodies(root)


def all_bodies(root: BodyT) -> Iterator[BodyT | onnx.GraphProto]:
    """A body and every subgraph in it."""
    return (body for body, _ in nested_bodies(root))


def nested_bodies(root: BodyT) -> Iterator[tuple[BodyT | onnx.GraphProto, int]]:
    """A body and every subgraph in it, each with its depth below the body."""
    waiting: list[tuple[BodyT | onnx.GraphProto, int]] = [(root, 0)]
    while waiting:
        body, depth = waiting.pop()
        yield body, depth
        waiting += [(inner, depth + 1) for inner in inner_graphs(body)]


def all_nodes(root: Body) -> Iterator[onnx.NodeProto]:
    """The nodes of a body and of every subgraph in it."""
    return (node for body in all_bodies(root) for node in body.node)


def nodes_at(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """A node and every node in its subgraphs."""
    yield node
    for inner in subgraphs(node):
        yield from all_nodes(inner)


def inner_graphs(body: Body) -> list[onnx.GraphProto]:
    """The subgraphs of a body's own nodes, in their order."""
    return [inner for node in body.node for inner in subgraphs(node)]


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Graphs that the attributes of a node hold, whatever type the attributes say they have."""
    found: list[onnx.GraphProto] = []  # and no generator: this is asked of every node, many times
    for attribute in node.attribute:
        if attribute.HasField("g"):
            found.append(attribute.g)
        if attribute.graphs:
            found += attribute.graphs
    return found


def read_names(root: Body) -> Iterator[str]:
    """Names that the nodes of a body and of the graphs in it read, and those of all outputs of graphs."""
    for body in all_bodies(root):
        yield from (name for node in body.node for name in node.input if name)
        if isinstance(body, onnx.GraphProto):
            yield from (value.name for value in body.output)


def label_of(node: onnx.NodeProto) -> str:
    """A node's name, or its first output where it has none."""
    return node.name or next((name for name in node.output if name), "")


def operator_of(node: onnx.NodeProto) -> str:
    """A node's operator, with its domain unless that is ONNX's own."""
    return node.op_type if node.domain in STANDARD_DOMAINS else f"{node.domain}.{node.op_type}"


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attribute values by name.

    Raises:
        ValueError: one is of a type that onnx does not know, or refers to an attribute of a function.
    """
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def number_of(node: onnx.NodeProto, name: str) -> int:
    """A node's attribute that is a whole number; 0 where it is not there."""
    return next((attribute.i for attribute in node.attribute if attribute.name == name), 0)


def reads_of(node: onnx.NodeProto) -> Iterator[str]:
    """Names that a node and the graphs in it read, what those graphs make themselves too."""
    yield from (name for name in node.input if name)
    yield from captured_names(node)


def captured_names(node: onnx.NodeProto) -> Iterator[str]:
    """Names that the graphs in a node read, what those graphs make themselves too."""
    for inner in subgraphs(node):
        yield from read_names(inner)


def makers_of(body: Body) -> dict[str, int]:
    """For each tensor that a node of the body makes the index of the node; later ones come later."""
    return {name: index for index, node in enumerate(body.node) for name in node.output if name}


@dataclass(frozen=True)
class Uses:
    """Who makes and who reads the tensors of a body, by their names; nodes are their indices.

    Attributes:
        makers: the node that makes a tensor, the last one where several do.
        readers: the nodes that read it themselves, each once, in the order of the body.
        captors: the nodes in whose subgraphs something reads the name, be it that of a tensor in there.
    """

    makers: dict[str, int]
    readers: dict[str, list[int]]
    captors: dict[str, list[int]]

    def all_readers(self, name: str) -> list[int]:
        """The nodes that read a tensor themselves or in their subgraphs, each once, in the order of the body."""
        direct, inside = self.readers.get(name, []), self.captors.get(name)
        return sorted({*direct, *inside}) if inside else direct


def uses_of(body: Body) -> Uses:
    """Who makes and who reads the tensors of a body."""
    uses = Uses(makers_of(body), {}, {})
    for index, node in enumerate(body.node):
        for name in dict.fromkeys(node.input):
            if name:
                uses.readers.setdefault(name, []).append(index)
        for name in dict.fromkeys(captured_names(node)):
            uses.captors.setdefault(name, []).append(index)
    return uses


def stored_names(graph: onnx.GraphProto) -> set[str]:
    """Names of the initializers, the sparse ones too."""
    return {tensor.name for tensor in graph.initializer} | {each.values.name for each in graph.sparse_initializer}


def fed_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """Inputs that a caller has to feed: those without an initializer."""
    stored = stored_names(graph)
    return [value for value in graph.input if value.name not in stored]


def stored_tensors(body: Body) -> dict[str, onnx.TensorProto]:
    """Tensors that a body stores, by the names under which its nodes read them: initializers and Constant nodes."""
    stored = {tensor.name: tensor for tensor in body.initializer} if isinstance(body, onnx.GraphProto) else {}
    for node in body.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
            stored[node.output[0]] = node.attribute[0].t
    return stored


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor that the model stores, the parts of sparse ones too; the main graph's initializers come first."""
    for body in bodies_of(model):
        yield from tensors_in(body)


def tensors_in(body: Body) -> Iterator[onnx.TensorProto]:
    """Every tensor that the body itself stores, the parts of sparse ones too; initializers come first."""
    if isinstance(body, onnx.GraphProto):
        yield from body.initializer
    for sparse in sparse_tensors_in(body):
        yield sparse.values
        yield sparse.indices
    for node in body.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.tensors:
                yield from attribute.tensors


def tensor_bytes(model: onnx.ModelProto) -> int:
    """What the elements of every tensor that the model stores take.

    Raises:
        ModelError: a tensor has an impossible shape or an unknown type.
    """
    return sum(map(stored_bytes, tensors_of(model)))


def sparse_tensors_in(body: Body) -> Iterator[onnx.SparseTensorProto]:
    """Sparse initializers and the sparse tensors in the attributes of the body's own nodes."""
    if isinstance(body, onnx.GraphProto):
        yield from body.sparse_initializer
    for node in body.node:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor
            if attribute.sparse_tensors:
                yield from attribute.sparse_tensors
