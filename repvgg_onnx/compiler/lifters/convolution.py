"""Convolutions."""

import math

import numpy as np

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.compiler.lifters.registry import Operands, fact_of_node, lifter, origin_of, the_value
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView

CONV_ATTRIBUTES = ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")


@lifter("Conv", values=[0], weighs=True, attributes=CONV_ATTRIBUTES, channels_second=True)
def lift_conv(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Composes with the kernel. Source: ONNX operator specification, Conv."""
    value = the_value(operands)
    value.require_channels_first("Conv")
    return value.through(conv_of(node), frame.sizes)


@fact_of_node
def conv_of(node: NodeView) -> AffineConv:
    """The map of a Conv node; its weights are read when its kernel is.

    Raises:
        LiftError: the weights are not constant, or the attributes do not fit them.
        GeometryError: the groups do not divide the channels, or pads are negative.
    """
    dims = node.constant_shape(1)
    if len(dims) < 3:
        raise LiftError("bad-attribute", f"Conv has a kernel of {len(dims)} axes")
    place = node.conv_geometry(dims[2:], unknown_pads=True)
    geometry = Geometry(
        *(dims[0], dims[1] * place.group, place.group, dims[2:], place.strides, place.pads, place.dilations),
        auto_pad=place.auto_pad,
    )
    bias = node.constant(2) if node.has_input(2) else np.zeros(geometry.c_out)
    if bias.shape != (geometry.c_out,):
        raise LiftError("bad-attribute", f"Conv has a bias of shape {list(bias.shape)}")
    return AffineConv.read_by_rows(
        geometry,
        lambda rows: node.constant_rows(1, rows),
        lambda: bias,
        origin=origin_of(node),
        word=f"{kernel_words(geometry)} Conv",
    )


@lifter(
    "ConvTranspose",
    values=[0],
    weighs=True,
    attributes=(*CONV_ATTRIBUTES, "output_padding", "output_shape"),
    channels_second=True,
)
def lift_conv_transpose(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Composes with a transposed kernel. Source: ONNX operator specification, ConvTranspose."""
    value = the_value(operands)
    value.require_channels_first("ConvTranspose")
    return value.through(_conv_transpose_of(node), frame.sizes)


def _conv_transpose_of(node: NodeView) -> AffineConv:
    dims = node.constant_shape(1)
    if len(dims) < 3:
        raise LiftError("bad-attribute", f"ConvTranspose has a kernel of {len(dims)} axes")
    place = node.conv_geometry(dims[2:], unknown_pads=True)
    mode = node.attributes.get("auto_pad", b"NOTSET").decode().replace("NOTSET", "")
    shape = tuple(node.attributes.get("output_shape", ()))
    # the pads that follow from auto_pad or output_shape are not Conv's, and are left to the runtime
    pads = (0,) * (2 * len(dims[2:])) if mode or shape else place.pads
    padding = tuple(node.attributes.get("output_padding", (0,) * len(dims[2:])))
    c_in, c_out = dims[0], dims[1] * place.group
    geometry = Geometry(
        *(c_out, c_in, place.group, dims[2:], place.strides, pads, place.dilations, True, padding),
        auto_pad=mode,
        output_shape=shape,
    )
    bias = node.constant(2) if node.has_input(2) else np.zeros(c_out)
    return AffineConv.deferred(
        geometry,
        lambda: swap_channels(node.constant(1), place.group),
        lambda: bias,
        origin=origin_of(node),
        word=f"{kernel_words(geometry)} ConvTranspose",
    )


def swap_channels(kernel: Array, group: int) -> Array:
    """A transposed convolution's weights, c_in  c_out/group  *k, as a kernel, c_out  c_in/group  *k, or back."""
    blocks = kernel.reshape(group, -1, *kernel.shape[1:]).swapaxes(1, 2)
    swapped: Array = blocks.reshape(-1, *blocks.shape[2:])
    return swapped


def kernel_words(geometry: Geometry) -> str:
    """Kernel shape in words, such as ``3x3``, ``5x5 depthwise`` or ``3x3 group 4``."""
    shape = "x".join(map(str, geometry.kernel_shape)) or "dense"
    if geometry.group == 1:
        return shape
    if geometry.group == math.gcd(geometry.c_in, geometry.c_out) == geometry.c_in:
        return f"{shape} depthwise"
    return f"{shape} group {geometry.group}"
