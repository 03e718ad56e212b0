"""Pad, which surrounds values."""

from collections.abc import Sequence

import numpy as np

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.compiler.lifters.registry import Operands, lifter, the_value
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView


@lifter("Pad", values=[0], attributes=("mode", "pads", "value"))
def lift_pad(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Pads with zeros on the spatial axes. Source: ONNX operator specification, Pad versions 2 to 25."""
    value = the_value(operands)
    mode = node.attributes.get("mode", b"constant").decode(errors="replace")
    if mode != "constant":
        raise LiftError("pad-mode", f"Pad with mode {mode!r} is not a convolution with zeros around it")
    if _padding_value(node) != 0:
        raise LiftError("pad-value", "Pad fills with another value than zero")
    begins, ends = _pads_by_meaning(node, value)
    rank = value.conv.geometry.rank
    if any(begins[:2] + ends[:2]):
        raise LiftError("pad-axis", "Pad enlarges the batch or the channels")
    ones = (1,) * rank
    place = Geometry(value.channels, value.channels, value.channels, ones, ones, (*begins[2:], *ends[2:]), ones)
    pad = AffineConv.deferred(place, lambda: np.ones(place.kernel_dims))
    return value.through(pad, frame.sizes)


def _padding_value(node: NodeView) -> float:
    if node.has_input(2):
        return float(node.constant(2).reshape(-1)[0])
    return float(node.attributes.get("value", 0.0))


def _pads_by_meaning(node: NodeView, value: Value) -> tuple[list[int], list[int]]:
    """Begins and ends in the order batch, channels, spatial axes.

    Raises:
        LiftError: the numbers do not fit the axes.
    """
    pads: Sequence[int] = node.attributes.get("pads", ())
    if node.has_input(1):
        pads = node.integers(1)
    axes = node.integers(3) if node.has_input(3) else list(range(value.rank))
    if len(pads) != 2 * len(axes):
        raise LiftError("bad-attribute", f"Pad has {len(pads)} pads for {len(axes)} axes")
    begins, ends = [0] * value.rank, [0] * value.rank
    for axis, begin, end in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        meaning = value.axis_meaning(axis)
        begins[meaning], ends[meaning] = begin, end
    return begins, ends
