"""How the nodes of a model hang together: what a drawing of a region needs, read without touching a weight."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class Operation:
    """One node.

    Attributes:
        op_type: the ONNX operator.
        detail: what tells it apart from other nodes of the operator, such as ``3x3, stride 2``; may be empty.
        inputs: the activations that it reads: weights and other constants are left out.
        outputs: the tensors that it makes.
    """

    op_type: str
    detail: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def topology(model: onnx.ModelProto) -> dict[str, Operation]:
    """Every node of the graph and of the graphs inside its nodes, by its name, or first output where it has none."""
    graphs = list(_graphs(model.graph))
    shapes = {name: shape for graph in graphs for name, shape in _constants(graph)}
    return {
        _name(node): _operation(node, shapes) for graph in graphs for node in graph.node if node.op_type != "Constant"
    }


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph and those inside its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def _constants(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every stored tensor; a constant that is written as numbers has no shape here."""
    yield from ((tensor.name, tuple(tensor.dims)) for tensor in graph.initializer)
    for node in graph.node:
        if node.op_type == "Constant":
            values = (attribute.t for attribute in node.attribute if attribute.name == "value")
            yield node.output[0], tuple(next(values, onnx.TensorProto()).dims)


def _name(node: onnx.NodeProto) -> str:
    return node.name or next(iter(node.output), "")


def _operation(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> Operation:
    inputs = tuple(name for name in node.input if name and name not in shapes)
    return Operation(node.op_type, _detail(node, shapes), inputs, tuple(node.output))


def _detail(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The kernel of a convolution in words; nothing for other operators."""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return ""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    weight = shapes.get(node.input[1], ()) if len(node.input) > 1 else ()
    kernel = tuple(attributes["kernel_shape"].ints) if "kernel_shape" in attributes else weight[2:]
    group = attributes["group"].i if "group" in attributes else 1
    strides = tuple(attributes["strides"].ints) if "strides" in attributes else ()
    dilations = tuple(attributes["dilations"].ints) if "dilations" in attributes else ()
    return conv_detail(kernel, strides=strides, dilations=dilations, group=group)


def conv_detail(kernel: tuple[int, ...], *, strides: tuple[int, ...], dilations: tuple[int, ...], group: int) -> str:
    """A convolution in words; what is as usual is left out.

    Example:
        >>> conv_detail((3, 3), strides=(2, 2), dilations=(1, 1), group=4)
        '3x3, stride 2, group 4'
    """
    parts = ["x".join(map(str, kernel))] if kernel else []
    for word, sizes in (("stride", strides), ("dilation", dilations)):
        if set(sizes) - {1}:
            parts.append(f"{word} {_sizes(sizes)}")
    return ", ".join([*parts, f"group {group}"] if group > 1 else parts)


def _sizes(sizes: tuple[int, ...]) -> str:
    """One number where all are equal."""
    return str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))
