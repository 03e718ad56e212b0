"""Writing constants over a border: how exporters of index assignments pad with a bias."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from repvgg_onnx.affine.field import Stored, field_of, reached, require_small, uniform
from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.compiler.lifters.registry import Operands, lifter, the_value
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView

ROUNDINGS = 8  # float32 roundings by which a border that was computed on its own may miss the bias inside


@lifter("ScatterND", values=[0], attributes=("reduction",))
def lift_scatter(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Overwrites positions that see padding only. Source: ONNX operator specification, ScatterND versions 11 to 18."""
    value = the_value(operands)
    if node.attributes.get("reduction", b"none") != b"none":
        raise LiftError("not-affine", "ScatterND adds to or compares with what is there")
    size = _static_size(value, frame)
    written, terms = _by_position(node, value, size)
    seen = reached(value.conv.geometry, [length or 0 for length in frame.sizes])
    if np.any(written & seen):
        raise LiftError("not-affine", "ScatterND overwrites positions that depend on the input")
    return _with_offsets(value, np.where(written, terms, value.offsets(size)), seen)


def _static_size(value: Value, frame: Frame) -> tuple[int, ...]:
    if value.conv.geometry.transposed:
        raise LiftError("not-affine", "ScatterND follows a transposed convolution")
    size = value.conv.geometry.output_size(frame.sizes)
    if any(length is None for length in size):
        raise LiftError("sizes-unknown", "ScatterND writes to positions of a tensor whose size is dynamic")
    return tuple(length for length in size if length is not None)


def _by_position(node: NodeView, value: Value, size: tuple[int, ...]) -> tuple[NDArray[np.bool_], Array]:
    """Which positions are written, *size, and what with, c  *size.

    Raises:
        LiftError: not every channel and example is written alike.
    """
    indices, updates = node.raw_constant(1), node.constant(2)
    known = node.graph.shape(node.inputs[0]) or (None,)
    shape = tuple(length for length in known if length is not None)
    if len(shape) < len(known):
        raise LiftError("sizes-unknown", "ScatterND writes to positions of a tensor whose size is dynamic")
    require_small(1, shape)
    mask, terms = np.zeros(shape, np.bool_), np.zeros(shape)
    try:
        where = tuple(np.moveaxis(indices, -1, 0))
        mask[where], terms[where] = True, updates
    except (IndexError, ValueError) as error:
        raise LiftError("bad-attribute", "ScatterND has indices that do not fit") from error
    order = [value.axes.index(meaning) for meaning in range(value.rank)]
    mask, terms = mask.transpose(order), terms.transpose(order)
    if mask.shape[1:] != (value.channels, *size) or np.any(mask != mask[:1, :1]) or np.any(terms != terms[:1]):
        raise LiftError("not-affine", "ScatterND does not write to every channel and example alike")
    return mask[0, 0], terms[0]


def _with_offsets(value: Value, offsets: Array, seen: NDArray[np.bool_]) -> Value:
    """The value with everything that is added replaced: by a bias where it is the same everywhere, else by a field.

    Args:
        value: what was there before.
        offsets: c  *size.
        seen: *size, where the value depends on the input; there the bias of a uniform term is taken.
    """
    size = offsets.shape[1:]
    inside = np.argmax(seen)  # the first position, where none depends on the input
    bias = offsets.reshape(len(offsets), -1)[:, inside]
    linear = value.conv.without_bias()
    tolerance = ROUNDINGS * np.finfo(np.float32).eps * np.abs(offsets).max(initial=0.0)
    if np.abs(offsets - uniform(bias, size)).max(initial=0.0) <= tolerance:
        return replace(value, conv=linear.shift(bias), field=None)
    return replace(value, conv=linear, field=field_of(size, Stored(offsets)))
