"""Operators that join and part channels: Concat, Split and Slice."""

from collections.abc import Sequence
from itertools import accumulate

from repvgg_onnx.compiler.lifters.registry import Operands, lifter, the_value
from repvgg_onnx.compiler.value import Frame, Value, stack_values
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView


@lifter("Concat", attributes=("axis",))
def lift_concat(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Stacks the channels of values of one root."""
    values = [value for value in operands if value is not None]
    if len(values) < len(operands):
        raise LiftError("not-affine", "Concat joins a constant to values that depend on the input")
    if values[0].axis_meaning(node.attributes["axis"]) != 1:
        raise LiftError("not-affine", "Concat joins along another axis than the channels")
    return stack_values(values, frame.sizes)


@lifter("Split", values=[0], attributes=("axis", "num_outputs", "split"))
def lift_split(node: NodeView, operands: Operands, frame: Frame) -> Sequence[Value]:
    """Parts the channels. Source: ONNX operator specification, Split versions 2 to 18."""
    value = the_value(operands)
    if value.axis_meaning(node.attributes.get("axis", 0)) != 1:
        raise LiftError("not-affine", "Split parts another axis than the channels")
    stops = list(accumulate(_split_sizes(node, value.channels)))
    if len(stops) != len(node.proto.output) or stops[-1] != value.channels:
        raise LiftError("bad-attribute", f"Split has sizes that do not add up to {value.channels} channels")
    return [_select(value, slice(start, stop)) for start, stop in zip([0, *stops], stops, strict=False)]


@lifter("Slice", values=[0], attributes=("axes", "ends", "starts"))
def lift_slice(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Selects channels. Source: ONNX operator specification, Slice versions 1 to 13."""
    value = the_value(operands)
    starts, ends, axes, steps = slice_bounds(node)
    if len(starts) != 1 or value.axis_meaning(axes[0]) != 1:
        raise LiftError("not-affine", "Slice cuts along another axis than the channels")
    return _select(value, _python_slice(starts[0], ends[0], steps[0], value.channels))


def _split_sizes(node: NodeView, channels: int) -> list[int]:
    if node.has_input(1):
        return node.integers(1)
    if "split" in node.attributes:
        return list(node.attributes["split"])
    count = len(node.proto.output)
    size = -(-channels // count)
    return [size] * (count - 1) + [channels - size * (count - 1)]


def slice_bounds(node: NodeView) -> tuple[list[int], list[int], list[int], list[int]]:
    """Starts, ends, axes and steps, which were attributes up to opset 9."""
    if "starts" in node.attributes:
        starts, ends = list(node.attributes["starts"]), list(node.attributes["ends"])
        axes, steps = list(node.attributes.get("axes", range(len(starts)))), [1] * len(starts)
        return starts, ends, axes, steps
    starts, ends = node.integers(1), node.integers(2)
    axes = node.integers(3) if node.has_input(3) else list(range(len(starts)))
    steps = node.integers(4) if node.has_input(4) else [1] * len(starts)
    return starts, ends, axes, steps


def _python_slice(start: int, end: int, step: int, channels: int) -> slice:
    """ONNX's bounds as Python's: an end that a backward slice cannot name stands for the very beginning."""
    if step < 0 and end < -channels:
        return slice(start, None, step)
    return slice(start, end, step)


def _select(value: Value, channels: slice) -> Value:
    if range(*channels.indices(value.channels)) == range(value.channels):
        return value
    return value.select(channels)
