"""A region to the arrays of one node: evaluated in float64, rounded once to the model's type."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.compiler.forms import written_bytes
from repvgg_onnx.compiler.value import Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.budget import MB, Budget

BLOCK = 2**20
"""Elements of a kernel that are evaluated at once: few in float64, and enough for memory to come in large pages."""


@dataclass(frozen=True, eq=False)
class Folded:
    """The arrays of a region's map in the model's type.

    Attributes:
        geometry: where the taps sit.
        kernel: c_out  c_in/group  *k.
        bias: c_out.
        field: 1  c_out  *size, what is added besides; None for nothing.
        lead: c_in, what is added to the root before; None for nothing.
    """

    geometry: Geometry
    kernel: NDArray[Any]
    bias: NDArray[Any]
    field: NDArray[Any] | None = None
    lead: NDArray[Any] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self.kernel.nbytes + self.bias.nbytes + (0 if self.field is None else self.field.nbytes)


def fold(value: Value, group: int, elem_type: int, budget: Budget) -> Folded:
    """The value's arrays, evaluated in float64 and rounded once.

    Args:
        value: a region's sink.
        group: number of groups that the emitted operator is given; divides the map's.
        elem_type: ONNX floating-point type of the model's tensors.
        budget: what the arrays are taken from.

    Raises:
        LiftError: the weights are too many, not finite, or do not fit the type.
    """
    _spend(budget, value, group, elem_type)
    conv = value.conv if value.conv.geometry.group == group else value.conv.regroup(group)
    kernel = _rounded_kernel(conv, elem_type)
    lead = None if value.lead is None else round_to(value.lead, elem_type)
    if value.field is None:
        return Folded(conv.geometry, kernel, round_to(conv.bias, elem_type), lead=lead)
    offsets = round_to(value.offsets(value.field.size), elem_type)
    return Folded(conv.geometry, kernel, np.zeros(len(kernel), kernel.dtype), offsets[np.newaxis], lead)


def _spend(budget: Budget, value: Value, group: int, elem_type: int) -> None:
    """Takes what the arrays will need before any of it is computed."""
    size = written_bytes(value, group, helper.tensor_dtype_to_np_dtype(elem_type).itemsize)
    if not budget.spend(size):
        raise LiftError("too-large", f"the folded weights would take {size / MB:,.0f} MiB, more than the limit leaves")


def _rounded_kernel(conv: AffineConv, elem_type: int) -> NDArray[Any]:
    """The kernel, evaluated some output channels at a time where it can be, so that little of it stands in float64."""
    dims = conv.geometry.kernel_dims
    kernel = np.empty(dims, helper.tensor_dtype_to_np_dtype(elem_type))
    step = max(BLOCK // math.prod(dims[1:]), 1) if conv.by_rows else dims[0]
    for start in range(0, dims[0], step):
        rows = slice(start, start + step)
        _round_into(kernel[rows], conv.rows(rows))
    return kernel


def round_to(values: Array, elem_type: int) -> NDArray[Any]:
    """The values in an ONNX floating-point type.

    Raises:
        LiftError: a value is not finite, or becomes infinite in that type.
    """
    rounded = np.empty(values.shape, helper.tensor_dtype_to_np_dtype(elem_type))
    _round_into(rounded, values)
    return rounded


def _round_into(target: NDArray[Any], values: Array) -> None:
    """Writes the values into an array of another type; raises as ``round_to`` does."""
    with np.errstate(over="ignore"):
        target[...] = values
    comparable = np.float32 if target.itemsize < 4 else target.dtype
    if np.all(np.isfinite(target.astype(comparable, copy=False))):
        return
    if np.all(np.isfinite(values)):
        raise LiftError("overflow", f"the folded weights exceed the range of {target.dtype.name}")
    raise LiftError("not-finite", "the folded weights have infinities or NaNs, because the model's weights do")
