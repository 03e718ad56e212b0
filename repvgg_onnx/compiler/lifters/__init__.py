"""What each operator does to an affine value: one function an operator, found by its op_type.

A lifter takes the node, one operand for each input (an affine value, or None where the input is a constant or left
out) and the frame, and returns the value of the node's first output. It raises LiftError or GeometryError, each with a
stable code and a sentence, where the output is not affine. To add an operator, write one function in the module that
fits and decorate it with its op_type.
"""

from repvgg_onnx.compiler.lifters import (
    borders,
    channels,
    convolution,
    dense,
    elementwise,
    layout,
    normalization,
    pooling,
    quantized,
    shapes,
)
from repvgg_onnx.compiler.lifters.registry import LIFTERS, Lifter, Operands

WORTH_INLINING = frozenset({"AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that make a model-local function worth looking into."""

__all__ = [
    "LIFTERS",
    "WORTH_INLINING",
    "Lifter",
    "Operands",
    "borders",
    "channels",
    "convolution",
    "dense",
    "elementwise",
    "layout",
    "normalization",
    "pooling",
    "quantized",
    "shapes",
]
