"""A region to the arrays of one node: evaluated in float64, rounded once to the model's type."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from repvgg_onnx.algebra import AffineConv, Array
from repvgg_onnx.errors import LiftError
from repvgg_onnx.geometry import Geometry


@dataclass(frozen=True, eq=False)
class Folded:
    """The arrays of a region's map in the model's type.

    Attributes:
        geometry: where the taps sit.
        kernel: c_out  c_in/group  *k.
        bias: c_out.
    """

    geometry: Geometry
    kernel: NDArray[Any]
    bias: NDArray[Any]


def fold(conv: AffineConv, group: int, elem_type: int) -> Folded:
    """The map's arrays, evaluated in float64 and rounded once.

    Args:
        conv: a region's map.
        group: number of groups that the emitted operator is given; divides the map's.
        elem_type: ONNX floating-point type of the model's tensors.

    Raises:
        LiftError: the weights are not finite, or do not fit the type.
    """
    if conv.geometry.group != group:
        conv = conv.regroup(group)
    return Folded(conv.geometry, round_to(conv.kernel, elem_type), round_to(conv.bias, elem_type))


def round_to(values: Array, elem_type: int) -> NDArray[Any]:
    """The values in an ONNX floating-point type.

    Raises:
        LiftError: a value is not finite, or becomes infinite in that type.
    """
    if not np.all(np.isfinite(values)):
        raise LiftError("not-finite", "the folded weights have infinities or NaNs, because the model's weights do")
    dtype = helper.tensor_dtype_to_np_dtype(elem_type)
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    if not np.all(np.isfinite(rounded.astype(np.float32 if dtype.itemsize < 4 else dtype))):
        raise LiftError("overflow", f"the folded weights exceed the range of {dtype.name}")
    return rounded
