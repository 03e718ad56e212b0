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
from repvgg_onnx.compiler.lifters.registry import LIFTERS, Lifter, Operands, is_kernel_operator, is_renaming

WORTH_INLINING = frozenset(name for name, entry in LIFTERS.items() if entry.weighs or entry.channels_second)
"""Operators that make a model-local function worth looking into: kernels, and what is written for channels alone."""

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
    "is_kernel_operator",
    "is_renaming",
    "layout",
    "normalization",
    "pooling",
    "quantized",
    "shapes",
]
