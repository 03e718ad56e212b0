"""Operators that only change shapes: followed as long as every number stays in its channel."""

from collections.abc import Sequence
from dataclasses import replace

from repvgg_onnx.compiler.lifters.registry import Operands, lifter, the_value
from repvgg_onnx.compiler.tail import MIXED, Dim, Point, Step, channel_axis_after, extended, is_same_shape
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.normalize import Shape
from repvgg_onnx.graph.view import NodeView


@lifter("Reshape", values=[0], attributes=("allowzero", "consumed_inputs", "shape"), reshapes=True)
def lift_reshape(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Keeps the channels apart. Source: ONNX operator specification, Reshape versions 1 to 25."""
    value = the_value(operands)
    target = _target(node)
    before = _input_dims(node, value)
    after = _output_dims(node, target, before)
    step = _step(node, target if target is not None else node.inputs[1], names_channels=True)
    if after is not None and is_same_shape(before, after):
        return value
    returned = _returned(node, value, after)
    if returned is not None:
        return returned
    return _keeping_channels(node, value, frame, before, after, step)


@lifter("Flatten", values=[0], attributes=("axis",), reshapes=True)
def lift_flatten(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Keeps the channels apart. Source: ONNX operator specification, Flatten versions 1 to 25."""
    value = the_value(operands)
    axis = int(node.attributes.get("axis", 1))
    axis += value.rank if axis < 0 else 0
    if not 0 <= axis <= value.rank:
        raise LiftError("bad-attribute", f"Flatten has axis {axis} for {value.rank} axes")
    before = _input_dims(node, value)
    if value.rank == 2 and axis == 1:
        return value
    ahead, behind = before[:axis], before[axis:]
    place = value.axes.index(1)
    if place < axis:
        axes = (1, MIXED) if _is_one(ahead[:place]) and _is_one(ahead[place + 1 :]) else None
    else:
        axes = (MIXED, 1) if _is_one(behind[: place - axis]) and _is_one(behind[place - axis + 1 :]) else None
    if axes is None:
        raise LiftError("reshaped", "Flatten merges the channels with other axes, or with axes of unknown size")
    return _stepped(node, value, frame, axes, _step(node, None, names_channels=False))


@lifter("Squeeze", values=[0], attributes=("axes",), reshapes=True)
def lift_squeeze(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Removes axes of size 1. Source: ONNX operator specification, Squeeze versions 1 to 25."""
    value = the_value(operands)
    axes = _axes(node)
    if axes is None:
        sizes = node.graph.shape(node.inputs[0])
        if sizes is None or None in sizes:
            raise LiftError("sizes-unknown", "Squeeze removes the axes of size 1, and some sizes are dynamic")
        axes = [axis for axis, size in enumerate(sizes) if size == 1]
    gone = _positions(node, axes, value.rank)
    if value.axes.index(1) in gone:
        raise LiftError("reshaped", "Squeeze removes the axis of the channels")
    left = tuple(meaning if meaning == 1 else MIXED for axis, meaning in enumerate(value.axes) if axis not in gone)
    return _stepped(node, value, frame, left, _step(node, tuple(axes), names_channels=False))


@lifter("Unsqueeze", values=[0], attributes=("axes",), reshapes=True)
def lift_unsqueeze(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Adds axes of size 1. Source: ONNX operator specification, Unsqueeze versions 1 to 25."""
    value = the_value(operands)
    axes = _axes(node)
    if axes is None:
        raise LiftError("bad-attribute", "Unsqueeze does not say where its axes are")
    fresh = _positions(node, axes, value.rank + len(axes))
    old = iter(meaning if meaning == 1 else MIXED for meaning in value.axes)
    grown = tuple(MIXED if axis in fresh else next(old) for axis in range(value.rank + len(fresh)))
    return _stepped(node, value, frame, grown, _step(node, tuple(axes), names_channels=False))


@lifter("Transpose", values=[0], attributes=("perm",), reshapes=True)
def lift_transpose(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Changes nothing but the order of the axes. Source: ONNX operator specification, Transpose versions 1 to 25."""
    value = the_value(operands)
    order = tuple(node.attributes.get("perm", range(value.rank)[::-1]))
    if sorted(order) != list(range(value.rank)):
        raise LiftError("bad-attribute", f"Transpose has perm {list(order)} for {value.rank} axes")
    if value.tail is None:
        return value.permuted(order)
    axes = tuple(value.axes[axis] for axis in order)
    return _stepped(node, value, frame, axes, _step(node, None, names_channels=False))


def _keeping_channels(
    node: NodeView, value: Value, frame: Frame, before: Sequence[Dim], after: Sequence[Dim] | None, step: Step
) -> Value:
    """The value with the step behind it, if the channels are one axis before and after it."""
    axis = None if after is None else channel_axis_after(before, value.axes.index(1), after)
    if after is None or (axis is None and not _are_known(before, after)):
        raise LiftError("reshaped", f"{node.op_type} may merge or split the channels, since some sizes are dynamic")
    if axis is None:
        raise LiftError("reshaped", f"{node.op_type} merges or splits the channels")
    axes = tuple(1 if index == axis else MIXED for index in range(len(after)))
    return _stepped(node, value, frame, axes, step)


def _returned(node: NodeView, value: Value, after: Sequence[Dim] | None) -> Value | None:
    """The value without the last steps of its tail, where this node gives it back the shape from before them."""
    if value.tail is None:
        return None
    source = node.graph.makers.get(node.inputs[1]) if len(node.inputs) > 1 else None
    asked = source.inputs[0] if source is not None and source.op_type == "Shape" and not source.attributes else None
    for number, point in reversed(list(enumerate(value.tail.points))):
        if value.tail.steps[number].op_type == "Transpose":
            return None  # the elements are in another order from here on
        known = node.graph.shape(point.tensor)
        dims = _dims(known, "point") if known is not None and len(known) == len(point.axes) else None
        if asked == point.tensor or (after is not None and dims is not None and is_same_shape(dims, after)):
            return replace(value, axes=point.axes, tail=value.tail.upto(number))
    return None


def _stepped(node: NodeView, value: Value, frame: Frame, axes: tuple[int, ...], step: Step) -> Value:
    """The value with the step behind it; a change of shape of the root itself only makes another root."""
    if frame.root == node.inputs[0]:
        raise LiftError("reshaped", f"{node.op_type} does not follow a kernel, a gain or an offset")
    return replace(value, axes=axes, tail=extended(value.tail, step, Point(node.inputs[0], value.axes)))


def _step(node: NodeView, shape: tuple[int, ...] | str | None, *, names_channels: bool) -> Step:
    attributes = tuple(sorted(each.SerializeToString(deterministic=True) for each in node.proto.attribute))
    return Step(node.op_type, attributes, shape if node.has_input(1) else None, names_channels, node.index, node.proto)


def _target(node: NodeView) -> tuple[int, ...] | None:
    """The shape that a Reshape asks for; None where it is computed at run time."""
    if "shape" in node.attributes:
        return tuple(node.attributes["shape"])
    if not node.has_input(1):
        raise LiftError("bad-attribute", "Reshape does not say which shape to give")
    return tuple(node.integers(1)) if node.is_constant(1) else None


def _axes(node: NodeView) -> list[int] | None:
    """The axes of a Squeeze or Unsqueeze, which were an attribute up to opset 12."""
    if "axes" in node.attributes:
        return list(node.attributes["axes"])
    return node.integers(1) if node.has_input(1) else None


def _positions(node: NodeView, axes: Sequence[int], rank: int) -> set[int]:
    positions = {axis + rank if axis < 0 else axis for axis in axes}
    if len(positions) != len(axes) or not positions <= set(range(rank)):
        raise LiftError("bad-attribute", f"{node.op_type} has axes {list(axes)} for {rank} axes")
    return positions


def _input_dims(node: NodeView, value: Value) -> list[Dim]:
    """Sizes of what the node reads; its channels are known."""
    known = node.graph.shape(node.inputs[0])
    dims = _dims(known, "in") if known is not None and len(known) == value.rank else _dims((None,) * value.rank, "in")
    dims[value.axes.index(1)] = value.channels
    return dims


def _output_dims(node: NodeView, target: Sequence[int] | None, before: Sequence[Dim]) -> list[Dim] | None:
    """Sizes of what a Reshape makes, 0 in its target copying one from before; None where even their number is unknown.

    Args:
        node: the Reshape.
        target: what it asks for; None where that is computed.
        before: sizes of what it reads.
    """
    known = node.graph.shape(node.outputs[0])
    if known is None or (target is not None and len(target) != len(known)):
        known = None if target is None else (None,) * len(target)
    if known is None:
        return None
    dims = _dims(known, "out")
    if target is not None and not node.attributes.get("allowzero", 0):
        for axis, size in enumerate(target):
            if size > 0:
                dims[axis] = size
            elif size == 0 and axis < len(before):
                dims[axis] = before[axis]
    return dims


def _dims(known: Shape, stem: str) -> list[Dim]:
    return [(stem, axis) if size is None else size for axis, size in enumerate(known)]


def _are_known(*shapes: Sequence[Dim]) -> bool:
    return all(isinstance(size, int) for shape in shapes for size in shape)


def _is_one(dims: Sequence[Dim]) -> bool:
    return all(size == 1 for size in dims)
