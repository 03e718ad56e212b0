"""Average pooling: a depthwise convolution with a box kernel."""

import math

import numpy as np

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.compiler.lifters.registry import Operands, lifter, the_value
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView

LARGEST_WINDOW = 2**16  # positions; a window costs a file nothing, and as a kernel it takes memory
POOL_ATTRIBUTES = ("auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides")


@lifter("AveragePool", values=[0], attributes=POOL_ATTRIBUTES, channels_second=True)
def lift_average_pool(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Composes with the box kernel. Source: ONNX operator specification, AveragePool versions 7 to 22."""
    value = the_value(operands)
    value.require_channels_first("AveragePool")
    kernel_shape = tuple(node.attributes.get("kernel_shape", ()))
    place = node.conv_geometry(kernel_shape)
    if node.attributes.get("ceil_mode", 0):
        raise LiftError("pool-window", "AveragePool with ceil_mode averages over fewer positions at the end")
    if any(place.pads) and not node.attributes.get("count_include_pad", 0):
        raise LiftError("pool-window", "AveragePool with pads averages over fewer positions at the border")
    if math.prod(kernel_shape) > LARGEST_WINDOW:
        raise LiftError("too-large", f"AveragePool has a window of {math.prod(kernel_shape):,} positions")
    channels = value.channels
    geometry = Geometry(channels, channels, channels, kernel_shape, place.strides, place.pads, place.dilations)
    share, word = 1.0 / math.prod(kernel_shape), f"{'x'.join(map(str, kernel_shape))} AveragePool"
    box = AffineConv.deferred(geometry, lambda: np.full(geometry.kernel_dims, share), word=word)
    return value.through(box, frame.sizes)
