"""The nodes that a map is written as, given how the axes of its root and its sink are ordered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.compiler.cost import TRANSPOSED
from repvgg_onnx.compiler.results import Cost
from repvgg_onnx.compiler.tail import Step
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.graph.macs import multiply_adds


@dataclass(frozen=True)
class Form:
    """One operator, with a change of axes before and after it where it needs one.

    Attributes:
        op_type: Conv, ConvTranspose, Gemm, or MatMul with an Add where there is a bias.
        group: number of groups that the operator is given; the dense ones know one.
        before: perm of a Transpose of the root; None where the axes stand right.
        after: perm of a Transpose that makes the sink; None where the axes stand right.
        adds: whether an Add of a term that differs by position follows.
        steps: changes of shape that follow, each one node.
        lead: shape of the constant of an Add before everything, which broadcasts against the root; None for no Add.
    """

    op_type: str
    group: int
    before: tuple[int, ...] | None
    after: tuple[int, ...] | None
    adds: bool = False
    steps: tuple[Step, ...] = ()
    lead: tuple[int, ...] | None = None

    def count(self, value: Value) -> int:
        """Number of nodes that the form of a value has."""
        adds = self.adds or (self.op_type == "MatMul" and value.conv.has_bias)
        turns = (self.before is not None) + (self.after is not None)
        return 1 + (self.lead is not None) + turns + adds + len(self.steps)


def form_of(frame: Frame, value: Value) -> Form:
    """The cheapest form: MatMul where the channels come last and the map is pointwise, else Conv or Gemm."""
    geometry = value.conv.geometry
    rank, axes = len(value.map_axes), value.map_axes
    steps = () if value.tail is None else value.tail.steps
    lead = None
    if value.lead is not None:
        lead = (geometry.c_in, *(1,) * (len(frame.axes) - 1 - frame.axes.index(1)))
    if geometry.is_pointwise and rank > 2 and frame.axes[-1] == 1 and value.field is None:
        return Form("MatMul", 1, None, _perm(frame.axes, axes), steps=steps, lead=lead)
    first = tuple(range(rank))
    before, after = _perm(frame.axes, first), _perm(first, axes)
    if rank == 2:
        return Form("Gemm", 1, before, after, steps=steps, lead=lead)
    op_type = "ConvTranspose" if geometry.transposed else "Conv"
    return Form(op_type, geometry.group, before, after, value.field is not None, steps, lead)


def cost_of_form(form: Form, value: Value, inputs: int, outputs: int, width: int) -> Cost:
    """Cost of the form's nodes.

    Args:
        form: what is run.
        value: the map.
        inputs: elements of the root.
        outputs: elements of the sink.
        width: bytes of an element.
    """
    geometry = value.conv.geometry
    weight = weight_dims(geometry, form.group)
    kernel = math.prod(weight)
    root, sink = (inputs // geometry.c_in, geometry.c_in), (outputs // geometry.c_out, geometry.c_out)
    macs = multiply_adds(form.op_type, {}, [root, weight], sink)
    moved = inputs + outputs + kernel + geometry.c_out
    moved += TRANSPOSED * (inputs * (form.before is not None) + outputs * (form.after is not None))
    if form.op_type == "MatMul":
        moved += 2 * outputs if value.conv.has_bias else -geometry.c_out
    if form.lead is not None:
        moved += 2 * inputs + geometry.c_in
    for step in form.steps:
        moved += outputs * (TRANSPOSED if step.op_type == "Transpose" else 2)
        moved += len(step.shape) if isinstance(step.shape, tuple) else 0
    if value.field is not None:
        moved += 2 * outputs + geometry.c_out * math.prod(value.field.size)
    return Cost(macs, moved * width)


def written_bytes(value: Value, group: int, width: int) -> int:
    """Bytes of the arrays that a value is written with.

    Args:
        value: the map.
        group: number of groups that the operator is given; divides the map's.
        width: bytes of an element.
    """
    geometry = value.conv.geometry
    count = math.prod(weight_dims(geometry, group)) + geometry.c_out
    return width * (count if value.field is None else count + geometry.c_out * math.prod(value.field.size))


def weight_dims(geometry: Geometry, group: int) -> tuple[int, ...]:
    """Shape of the kernel as an operator with so many groups takes it, zeros between its own groups among it."""
    first, second = geometry.c_out, geometry.c_in
    if geometry.transposed:
        first, second = second, first
    return (first, second // group, *geometry.kernel_shape)


def _perm(have: Sequence[int], want: Sequence[int]) -> tuple[int, ...] | None:
    """The perm of a Transpose from axes with these meanings to axes with those; None where they agree."""
    if tuple(have) == tuple(want):
        return None
    return tuple(have.index(meaning) for meaning in want)
