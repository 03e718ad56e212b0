"""Element-wise operators: gains, offsets and sums."""

from collections.abc import Sequence

import numpy as np

from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.compiler.lifters.registry import Operands, lifter, the_value
from repvgg_onnx.compiler.value import Frame, Value, sum_values
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView

LEGACY = ("axis", "broadcast", "consumed_inputs")  # opset 6 and before; an axis there changes the meaning


@lifter("Add", "Sum", attributes=LEGACY, reshapes=True)
def lift_add(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Sums values of one root and adds constants. Source: ONNX operator specification, Add and Sum."""
    return _linear(node, operands, frame, [1.0] * len(node.inputs))


@lifter("Sub", attributes=LEGACY, reshapes=True)
def lift_sub(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Subtracts, with the constant on either side."""
    return _linear(node, operands, frame, [1.0, -1.0])


@lifter("Mean", reshapes=True)
def lift_mean(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Averages values of one root."""
    return _linear(node, operands, frame, [1.0 / len(node.inputs)] * len(node.inputs))


@lifter("Mul", attributes=LEGACY, reshapes=True)
def lift_mul(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Scales by a constant on either side."""
    value, constant = _value_and_constant(node, operands)
    return value.scale(value.per_channel(constant))


@lifter("Div", attributes=LEGACY, reshapes=True)
def lift_div(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Divides by a constant."""
    if operands[0] is None:
        raise LiftError("not-affine", "Div divides a constant by the value")
    value, constant = _value_and_constant(node, operands)
    divisor = value.per_channel(constant)
    if np.any(divisor == 0):
        raise LiftError("division-by-zero", "Div divides by a constant with zeros in it")
    return value.scale(1.0 / divisor)


@lifter("Neg", values=[0], reshapes=True)
def lift_neg(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Scales by −1."""
    value = the_value(operands)
    return value.scale(-1.0)


@lifter("Identity", values=[0], reshapes=True, renames=True)
def lift_identity(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Changes nothing."""
    return the_value(operands)


@lifter("Dropout", values=[0], attributes=("is_test", "ratio", "seed"), reshapes=True)
def lift_dropout(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Changes nothing in inference. Source: ONNX operator specification, Dropout versions 7 to 22."""
    if node.has_input(2) and (not node.is_constant(2) or bool(node.raw_constant(2).any())):
        raise LiftError("training-mode", "Dropout runs in training mode; export again from model.eval()")
    if node.graph.opset < 7:
        raise LiftError(
            "training-mode", "Dropout of opset 6 and before may drop; convert the model to opset 7 or later"
        )
    if any(node.graph.readers.get(mask) or node.graph.is_output(mask) for mask in node.outputs[1:]):
        raise LiftError("not-affine", "the mask of Dropout is used")
    return the_value(operands)


@lifter("Cast", values=[0], attributes=("round_mode", "saturate", "to"), reshapes=True)
def lift_cast(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Changes nothing where the types agree."""
    if node.graph.elem_type(node.inputs[0]) != node.attributes.get("to"):
        raise LiftError("cast", "Cast changes the type, which rounds")
    return the_value(operands)


def _linear(node: NodeView, operands: Operands, frame: Frame, signs: Sequence[float]) -> Value:
    """The signed sum of all inputs: values first, and then what constants add."""
    _require_modern(node)
    values = [
        value if sign == 1.0 else value.scale(sign)
        for value, sign in zip(operands, signs, strict=True)
        if value is not None
    ]
    total = sum_values(values, frame.sizes)
    offsets: list[Array] = [
        total.per_channel(node.constant(index)) * signs[index] for index, value in enumerate(operands) if value is None
    ]
    return total.shift(np.sum(offsets, axis=0)) if offsets else total


def _value_and_constant(node: NodeView, operands: Operands) -> tuple[Value, Array]:
    _require_modern(node)
    first, second = operands
    if first is not None and second is not None:
        raise LiftError("not-affine", f"{node.op_type} multiplies two values that depend on the input")
    if first is not None:
        return first, node.constant(1)
    if second is not None:
        return second, node.constant(0)
    raise LiftError("not-affine", f"{node.op_type} has no operand that depends on the input")


def _require_modern(node: NodeView) -> None:
    if node.graph.opset < 7 and node.attributes.get("broadcast"):
        raise LiftError("old-broadcast", f"{node.op_type} broadcasts in the manner of opset 6; convert the model")
