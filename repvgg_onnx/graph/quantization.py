"""Which integers are only the form in which weights are stored, and which belong to integer arithmetic."""

import onnx

from repvgg_onnx.graph.bodies import Uses, subgraphs, uses_of

QUANTIZING = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})
PASSING = frozenset({"Cast", "Clip", "Concat", "Dropout", "Flatten", "Gather", "Identity", "LeakyRelu", "MaxPool"})
PASSING |= frozenset({"Pad", "Relu", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators that runtimes look through for the scales of what a kernel reads."""


def weights_only(graph: onnx.GraphProto) -> frozenset[str]:
    """Outputs of DequantizeLinear and QuantizeLinear nodes that are nothing but the form in which weights are stored.

    They read constants, and no node that they reach reads a quantized activation beside them. Where one does, runtimes
    make integer arithmetic of it, and the nodes have to stay as they are.
    """
    if not any(node.op_type == "DequantizeLinear" for node in graph.node):
        return frozenset()
    constant = _constants(graph)
    quantized = _quantized(graph, constant)
    uses = uses_of(graph)
    kept = {value.name for value in graph.output} | uses.captors.keys()
    stored: set[str] = set()
    for node in reversed(graph.node):
        if node.op_type in QUANTIZING and set(node.output) <= constant:
            if node.op_type == "DequantizeLinear":
                unmet = not _meets(node.output[0], graph, uses, quantized, kept)
            else:
                after = uses.readers.get(node.output[0], ())
                unmet = all(stored.issuperset(graph.node[reader].output) for reader in after)
            stored |= set(node.output) if unmet else set()
    return frozenset(stored)


def _constants(graph: onnx.GraphProto) -> set[str]:
    """Tensors that are computed from initializers alone."""
    given = {value.name for value in graph.input}
    constant = {tensor.name for tensor in graph.initializer if tensor.name not in given}
    for node in graph.node:
        if constant.issuperset(name for name in node.input if name) and not subgraphs(node):
            constant |= set(node.output)
    return constant


def _quantized(graph: onnx.GraphProto, constant: set[str]) -> set[str]:
    """Activations that have been rounded to integers."""
    quantized: set[str] = set()
    for node in graph.node:
        rounds = node.op_type in QUANTIZING and not set(node.output) <= constant
        if rounds or (node.op_type in PASSING and quantized.intersection(node.input)):
            quantized |= set(node.output)
    return quantized


def _meets(name: str, graph: onnx.GraphProto, uses: Uses, quantized: set[str], kept: set[str]) -> bool:
    """Whether the tensor reaches a node that reads a quantized activation as well, or is needed in its own right."""
    waiting, seen = [name], {name}
    while waiting:
        tensor = waiting.pop()
        if tensor in kept:
            return True
        for reader in (graph.node[index] for index in uses.readers.get(tensor, ())):
            if quantized.intersection(reader.input):
                return True
            if reader.op_type in PASSING:
                waiting += [output for output in reader.output if output not in seen]
                seen.update(reader.output)
    return False
