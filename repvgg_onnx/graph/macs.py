"""What an operator multiplies: one table, by which folds are chosen and models are counted.

Counted are products with a kernel or a matrix. What is none (element-wise operators, biases, normalization, pooling,
reductions, resizing) counts as nothing, as in the RepVGG paper; what it costs is what it moves.

An operator with a kernel is one row of ``PRODUCTS``; one of another domain stands under ``domain.op_type``.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Shape: TypeAlias = tuple[int, ...]
Counter: TypeAlias = Callable[[Mapping[str, Any], Sequence[Shape], Shape], int]


@dataclass(frozen=True)
class Product:
    """What one operator multiplies.

    Attributes:
        count: its multiply-adds, given its attributes by name, the shapes of its inputs, and that of its output.
        weight: index of the input that is its kernel, with spatial axes from the third on; None without such a kernel.
        channels: how many channels the first input must have, on its second axis, given the attributes and the shape of
            the second input; None where that does not say. Without it, nothing is concluded from the weights.
        by_winograd: whether a 3x3 kernel of stride 1 and dilation 1 can run by F(2x2, 3x3).
    """

    count: Counter
    weight: int | None = None
    channels: Callable[[Mapping[str, Any], Shape], int | None] | None = None
    by_winograd: bool = False


def multiply_adds(op_type: str, attributes: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> int:
    """Multiply-adds of a node; 0 for an operator without products.

    Args:
        op_type: the operator, with its domain unless that is ONNX's own.
        attributes: by name, as ``onnx.helper.get_attribute_value`` gives them.
        inputs: shape of each input; of one that is left out, any.
        output: shape of the first output that is there.

    Raises:
        IndexError, ValueError: the shapes do not fit the operator.
    """
    row = PRODUCTS.get(op_type)
    return row.count(attributes, inputs, output) if row else 0


def winograd_multiplications(op_type: str, attributes: Mapping[str, Any], inputs: Sequence[Shape], macs: int) -> int:
    """Multiplications of a node where 3x3 convolutions of stride 1 and dilation 1 run by F(2x2, 3x3).

    Args:
        op_type: the operator.
        attributes: by name.
        inputs: shape of each input.
        macs: its multiply-adds.
    """
    row = PRODUCTS.get(op_type)
    if row is None or row.weight is None or not row.by_winograd or inputs[row.weight][2:] != (3, 3):
        return macs
    steps = (*attributes.get("strides", ()), *attributes.get("dilations", ()))
    return macs * 4 // 9 if set(steps) <= {1} else macs


def _conv(kernel_input: int) -> Counter:
    """Every output element is a sum over a window: its kernel is c_out  c_in/group  *k."""
    return lambda _, inputs, output: math.prod(output) * math.prod(inputs[kernel_input][1:])


def _conv_transpose(_: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> int:
    """Every input element is spread over a window: its kernel is c_in  c_out/group  *k."""
    return math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _gemm(attributes: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * inputs[0][0 if attributes.get("transA") else 1]


def _matmul(_: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> int:
    return math.prod(output) * inputs[0][-1]


def _einsum(attributes: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> int:
    """One product for each value of all indices together, and for each factor after the first."""
    equation = attributes["equation"].decode().replace(" ", "")
    sizes: dict[str, int] = {}
    broadcast: list[Shape] = []
    for term, shape in zip(equation.partition("->")[0].split(","), inputs, strict=True):
        head, dots, tail = term.partition("...")
        free = len(shape) - len(head) - len(tail) if dots else 0
        broadcast.append(shape[len(head) : len(head) + free])
        sizes.update(zip(head + tail, shape[: len(head)] + shape[len(head) + free :], strict=True))
    return math.prod(sizes.values()) * math.prod(np.broadcast_shapes(*broadcast)) * (len(inputs) - 1)


def _recurrent(_: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> int:
    """Both matrices of every direction for each of the steps; the input is steps  n  c or n  steps  c."""
    return math.prod(inputs[0][:2]) * (math.prod(inputs[1]) + math.prod(inputs[2]))


def _attention(_: Mapping[str, Any], inputs: Sequence[Shape], output: Shape) -> int:
    """Each query with every key, and each score with every value; past keys stand in the fifth input."""
    past = inputs[4][-2] if len(inputs) > 4 and inputs[4] else 0
    return (math.prod(inputs[0]) + math.prod(output)) * (inputs[1][-2] + past)


def _conv_channels(attributes: Mapping[str, Any], kernel: Shape) -> int | None:
    return kernel[1] * int(attributes.get("group", 1)) if len(kernel) > 2 else None


def _conv_transpose_channels(_: Mapping[str, Any], kernel: Shape) -> int | None:
    return kernel[0] if len(kernel) > 2 else None


def _gemm_channels(attributes: Mapping[str, Any], matrix: Shape) -> int | None:
    if len(matrix) != 2 or attributes.get("transA"):
        return None
    return matrix[1 if attributes.get("transB") else 0]


PRODUCTS: dict[str, Product] = {
    "Attention": Product(_attention),
    "Conv": Product(_conv(1), 1, _conv_channels, by_winograd=True),
    "ConvInteger": Product(_conv(1), 1, by_winograd=True),
    "ConvTranspose": Product(_conv_transpose, 1, _conv_transpose_channels),
    "DeformConv": Product(_conv(1)),
    "Einsum": Product(_einsum),
    "GRU": Product(_recurrent),
    "Gemm": Product(_gemm, channels=_gemm_channels),
    "LSTM": Product(_recurrent),
    "MatMul": Product(_matmul),
    "MatMulInteger": Product(_matmul),
    "QLinearConv": Product(_conv(3), 3, by_winograd=True),
    "QLinearMatMul": Product(_matmul),
    "RNN": Product(_recurrent),
}
