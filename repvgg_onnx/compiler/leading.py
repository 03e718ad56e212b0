"""Arithmetic in front of a kernel, which a kernel can take in, and whether that saves anything."""

import math
from collections.abc import Sequence

from repvgg_onnx.compiler.lifters import is_kernel_operator
from repvgg_onnx.graph.view import GraphView, NodeView

_ARITHMETIC = frozenset({"Mul", "Div", "Add", "Sub"})
_PASSED = _ARITHMETIC | {"Identity", "Transpose", "Dropout", "Cast", "Neg"}
_PRODUCTS = frozenset({"Mul", "Div"})
LONGEST_POLYNOMIAL = 16  # nodes of the polynomial in a Gelu; exporters write 5 to 8


def leading_arithmetic(root: str, members: Sequence[NodeView]) -> list[NodeView]:
    """Multiplications by constants and additions of constants on the way from the root to the first kernels.

    Args:
        root: tensor that the region is affine in.
        members: its nodes, in graph order.
    """
    makers = {name: node for node in members for name in node.outputs}
    waiting = [node.inputs[index] for node in members if is_kernel(node) for index in node.dynamic_inputs]
    before: set[int] = set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is not None and node.op_type in _PASSED and node.index not in before:
            before.add(node.index)
            waiting += [node.inputs[index] for index in node.dynamic_inputs]
    reached, found = {root}, []
    for node in (node for node in members if node.index in before):
        if reached.issuperset(node.inputs[index] for index in node.dynamic_inputs):
            reached.update(node.outputs)
            found.append(node)
    return [node for node in found if node.op_type in _ARITHMETIC]


def free_arithmetic(graph: GraphView, root: str, members: Sequence[NodeView]) -> list[NodeView]:
    """Leading arithmetic that costs nothing where it is, because runtimes make it one with what computes the root.

    They have one operator for some things that are written as many nodes and end in arithmetic with constants: a Gelu
    is x (1 + erf(x / sqrt 2)) / 2, a product of two computed tensors and a factor; a LayerNormalization is
    (x - mean) / deviation * gain + offset, a quotient and both. To take those constants into the next kernel saves
    nothing and breaks the rest up: measured, a network of RepViT blocks became 1.2 times slower under onnxruntime,
    whose Gelu fusion did not find its factor any more. Other products, such as x clip(x + 3, 0, 6) / 6, are not one
    operator in any runtime, and their factors are worth taking.
    """
    origin, maker = root, graph.makers.get(root)
    while maker is not None and maker.op_type in _ARITHMETIC and len(maker.dynamic_inputs) == 1:
        origin = maker.inputs[maker.dynamic_inputs[0]]
        maker = graph.makers.get(origin)
    if maker is not None and _is_layer_normalization(graph, maker):
        return leading_arithmetic(root, members)
    if maker is not None and _is_gelu(graph, maker):
        return [node for node in leading_arithmetic(root, members) if origin in node.inputs and _is_factor(node)]
    return []


def _is_layer_normalization(graph: GraphView, node: NodeView) -> bool:
    """Whether the node divides by the square root of a mean."""
    if node.op_type != "Div" or len(node.dynamic_inputs) < 2:
        return False
    root, _ = _through_constants(graph, node.inputs[1])
    if root is None or root.op_type not in ("Sqrt", "Pow"):
        return False
    mean, _ = _through_constants(graph, root.inputs[0])
    return mean is not None and mean.op_type == "ReduceMean"


def _is_gelu(graph: GraphView, node: NodeView) -> bool:
    """Whether the node multiplies a tensor by the error function of it, or by Tanh of a polynomial of it."""
    if node.op_type != "Mul" or len(node.dynamic_inputs) < 2:
        return False
    ends = [_through_constants(graph, name) for name in node.inputs]
    for (bent, _), (_, source) in (ends, ends[::-1]):
        if bent is not None and bent.op_type in ("Erf", "Tanh") and _is_polynomial(graph, bent.inputs[0], source):
            return True
    return False


def _through_constants(graph: GraphView, name: str) -> tuple[NodeView | None, str]:
    """What makes a tensor, apart from arithmetic with constants, and the tensor before that arithmetic."""
    maker = graph.makers.get(name)
    while maker is not None and maker.op_type in _ARITHMETIC and len(maker.dynamic_inputs) == 1:
        name = maker.inputs[maker.dynamic_inputs[0]]
        maker = graph.makers.get(name)
    return maker, name


def _is_polynomial(graph: GraphView, name: str, source: str) -> bool:
    """Whether the tensor is made of the source by products and sums only."""
    waiting, steps = [name], 0
    while waiting and steps < LONGEST_POLYNOMIAL:
        steps += 1
        tensor = waiting.pop()
        maker = graph.makers.get(tensor)
        if tensor == source:
            continue
        if maker is None or maker.op_type not in _ARITHMETIC | {"Pow"}:
            return False
        waiting += [maker.inputs[index] for index in maker.dynamic_inputs]
    return not waiting


def _is_factor(node: NodeView) -> bool:
    """Whether the node multiplies everything by one number."""
    constants = [index for index in range(len(node.inputs)) if node.is_constant(index)]
    return node.op_type in _PRODUCTS and all(math.prod(node.constant_shape(index)) == 1 for index in constants)


def is_kernel(node: NodeView) -> bool:
    """Whether the node mixes channels or positions; one gain per channel does not."""
    if node.op_type == "AveragePool":
        return True
    if not is_kernel_operator(node.op_type) or node.kernel_size == 0:
        return False
    c_out, *others = node.constant_shape(1)
    return math.prod(others) > 1 or int(node.attributes.get("group", 1)) != c_out
