"""How the nodes of a model hang together: what a drawing of a region needs, read without touching a weight."""

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from repvgg_onnx.graph.bodies import Body, all_bodies, attributes_of, label_of, stored_tensors


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
    graphs = list(all_bodies(model.graph))
    shapes = {name: shape for graph in graphs for name, shape in _constants(graph).items()}
    nodes = (node for graph in graphs for node in graph.node if node.op_type != "Constant")
    operations: dict[str, Operation] = {}
    for node in nodes:
        inputs = tuple(name for name in node.input if name and name not in shapes)
        operations[label_of(node)] = Operation(node.op_type, _detail(node, shapes), inputs, tuple(node.output))
    return operations


def _constants(body: Body) -> dict[str, tuple[int, ...]]:
    """Shape of every stored tensor by name; a constant that is written as numbers has no shape here."""
    written: dict[str, tuple[int, ...]] = {node.output[0]: () for node in body.node if node.op_type == "Constant"}
    return written | {name: tuple(tensor.dims) for name, tensor in stored_tensors(body).items()}


def _detail(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """The kernel of a convolution in words; nothing for other operators."""
    if node.op_type not in ("Conv", "ConvTranspose"):
        return ""
    attributes = attributes_of(node)
    weight = shapes.get(node.input[1], ()) if len(node.input) > 1 else ()
    kernel, strides, dilations = (
        tuple(attributes.get(name, usual))
        for name, usual in (("kernel_shape", weight[2:]), ("strides", ()), ("dilations", ()))
    )
    return conv_detail(kernel, strides=strides, dilations=dilations, group=attributes.get("group", 1))


def conv_detail(kernel: tuple[int, ...], *, strides: tuple[int, ...], dilations: tuple[int, ...], group: int) -> str:
    """A convolution in words; what is as usual is left out.

    Example:
        >>> conv_detail((3, 3), strides=(2, 2), dilations=(1, 1), group=4)
        '3x3, stride 2, group 4'
    """
    parts = ["x".join(map(str, kernel))] if kernel else []
    for word, sizes in (("stride", strides), ("dilation", dilations)):
        if set(sizes) - {1}:
            told = (
                str(sizes[0]) if len(set(sizes)) == 1 else "x".join(map(str, sizes))
            )  # one number where all are equal
            parts.append(f"{word} {told}")
    return ", ".join([*parts, f"group {group}"] if group > 1 else parts)
