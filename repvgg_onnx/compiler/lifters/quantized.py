"""Quantized operators: never affine, since they round."""

from typing import NoReturn

from repvgg_onnx.compiler.lifters.registry import Operands, lifter
from repvgg_onnx.compiler.value import Frame
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView

QUANTIZED = (
    "ConvInteger",
    "DequantizeLinear",
    "DynamicQuantizeLinear",
    "MatMulInteger",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
)


@lifter(*QUANTIZED, values=[0], attributes=None, says=True)
def refuse_quantized(node: NodeView, operands: Operands, frame: Frame) -> NoReturn:
    """Refuses: what is rounded to integers is not affine."""
    raise LiftError("quantized", f"{node.op_type} rounds to integers, and a fold through it would change the roundings")
