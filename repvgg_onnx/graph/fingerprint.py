"""What tells one graph from another, its weights aside."""

import hashlib
from collections.abc import Iterator

import onnx


def fingerprint(model: onnx.ModelProto) -> str:
    """SHA-256 of the model's structure, in hexadecimal.

    Nodes with their attributes, types of inputs and outputs, and types and shapes of initializers count; values of
    initializers, names of nodes, notes and metadata do not, so that a network that was trained longer has the same.
    """
    digest = hashlib.sha256()
    for part in _parts(model):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def _parts(model: onnx.ModelProto) -> Iterator[bytes]:
    for entry in (*model.opset_import, *model.functions):
        yield entry.SerializeToString(deterministic=True)
    graph = model.graph
    for value in (*graph.input, *graph.output):
        yield value.name.encode()
        yield value.type.SerializeToString(deterministic=True)
    for tensor in graph.initializer:
        yield f"{tensor.name} {tensor.data_type} {list(tensor.dims)}".encode()
    for node in graph.node:
        yield f"{node.domain} {node.op_type} {list(node.input)} {list(node.output)}".encode()
        yield from (attribute.SerializeToString(deterministic=True) for attribute in node.attribute)
