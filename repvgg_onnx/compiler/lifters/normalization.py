"""BatchNormalization in its inference form: a gain and an offset per channel, never a kernel."""

import numpy as np

from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.compiler.lifters.registry import Operands, fact_of_node, lifter, the_value
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView

BN_ATTRIBUTES = ("consumed_inputs", "epsilon", "is_test", "momentum", "spatial", "training_mode")


@lifter("BatchNormalization", values=[0], attributes=BN_ATTRIBUTES, reshapes=True, channels_second=True)
def lift_batch_normalization(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Scales and shifts. Source: ONNX operator specification, BatchNormalization versions 7 to 15."""
    value = the_value(operands)
    _require_inference(node, value)
    if value.axis_meaning(1) != 1:
        raise LiftError("layout", "BatchNormalization reads axis 1 as channels, and the value has them elsewhere")
    gain, offset, magnitude = gain_and_offset(node)
    if gain.shape != (value.channels,):
        raise LiftError("bad-attribute", f"BatchNormalization has statistics of shape {list(gain.shape)}")
    return value.scale(gain).shift(offset, magnitude).named("BN")


@fact_of_node
def gain_and_offset(node: NodeView) -> tuple[Array, Array, Array]:
    """``gamma / sqrt(var + epsilon)``, ``beta − mean · gain``, and the sum of its terms' sizes, c each.

    Raises:
        LiftError: a statistic is not constant, or the variance plus epsilon is not positive.
    """
    gamma, beta, mean, var = (node.constant(index) for index in range(1, 5))
    epsilon = float(np.float32(node.attributes.get("epsilon", 1e-5)))
    if gamma.ndim != 1 or not gamma.shape == beta.shape == mean.shape == var.shape:
        raise LiftError("bad-attribute", "BatchNormalization has statistics of different shapes")
    spread = var + epsilon
    if not (spread > 0).all():
        raise LiftError("bad-variance", "BatchNormalization has a variance that, with epsilon, is not positive")
    gain = gamma / np.sqrt(spread)
    centre = mean * gain
    return gain, beta - centre, np.abs(beta) + np.abs(centre)


def _require_inference(node: NodeView, value: Value) -> None:
    if node.graph.opset < 7:
        raise LiftError(
            "old-batch-norm",
            f"BatchNormalization of opset {node.graph.opset} means something else; convert the model to opset 7",
        )
    if node.attributes.get("training_mode", 0) or len(node.outputs) > 1:
        raise LiftError(
            "training-mode",
            "BatchNormalization runs in training mode; export again from model.eval(), "
            "with training=TrainingMode.EVAL or PRESERVE",
        )
    if not node.attributes.get("spatial", 1) and value.rank > 2:  # without positions, both meanings are one
        raise LiftError("not-per-channel", "BatchNormalization with spatial=0 has one statistic per position")
