"""Dense maps: Gemm, and MatMul on the last axis of any number of axes."""

import numpy as np

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.compiler.lifters.registry import Operands, lifter, origin_of
from repvgg_onnx.compiler.value import Frame, Value, sum_values
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView


@lifter(
    "Gemm", values=[0, 2], weighs=True, attributes=("alpha", "beta", "broadcast", "transA", "transB"), reshapes=True
)
def lift_gemm(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Composes with ``alpha · B`` and adds ``beta · C``. Source: ONNX operator specification, Gemm versions 7 to 13."""
    value, _, *rest = operands
    if value is None:
        raise LiftError("not-affine", "Gemm multiplies a constant by what it adds to")
    if node.attributes.get("transA", 0) or value.axis_meaning(1) != 1:
        raise LiftError("layout", "Gemm multiplies along an axis that is not the channels of the value")
    alpha, beta = (float(np.float32(node.attributes.get(name, 1.0))) for name in ("alpha", "beta"))
    columns = node.attributes.get("transB", 0)
    dims = node.constant_shape(1)
    if len(dims) != 2:
        raise LiftError("bad-attribute", f"Gemm has a matrix of {len(dims)} axes")
    c_out, c_in = dims if columns else dims[::-1]
    geometry = Geometry.pointwise(c_out, c_in, 1, value.conv.geometry.rank)

    def kernel() -> Array:
        return (alpha * (node.constant(1) if columns else node.constant(1).T)).reshape(geometry.kernel_dims)

    conv = AffineConv.deferred(geometry, kernel, origin=origin_of(node), word="Gemm")
    product = value.through(conv, frame.sizes)
    if not node.has_input(2):
        return product
    if rest[0] is not None:
        return sum_values([product, rest[0].scale(beta)], frame.sizes)
    return product.shift(beta * product.per_channel(node.constant(2)))


@lifter("MatMul", weighs=True, reshapes=True)
def lift_matmul(node: NodeView, operands: Operands, frame: Frame) -> Value:
    """Composes with a constant matrix, which meets the last axis from the right or the one before from the left."""
    left, right = operands
    if left is not None and right is None:
        return _times_matrix(node, left, frame, 1, channel_axis=-1)
    if right is not None and left is None:
        return _times_matrix(node, right, frame, 0, channel_axis=-2)
    raise LiftError("not-affine", "MatMul multiplies two values that depend on the input")


def _times_matrix(node: NodeView, value: Value, frame: Frame, index: int, *, channel_axis: int) -> Value:
    """The value through the constant matrix at an input of MatMul."""
    dims = node.constant_shape(index)
    if len(dims) < 2 or len(dims) > value.rank or any(size != 1 for size in dims[:-2]):
        raise LiftError("not-affine", f"MatMul has a constant of shape {list(dims)}, which is not one matrix")
    if value.axis_meaning(channel_axis) != 1:
        raise LiftError("layout", "MatMul does not multiply along the channels of the value")
    c_out, c_in = dims[-2:] if index == 0 else dims[:-3:-1]
    geometry = Geometry.pointwise(c_out, c_in, 1, value.conv.geometry.rank)

    def kernel() -> Array:
        matrix = node.constant(index).reshape(dims[-2:])
        return (matrix if index == 0 else matrix.T).reshape(geometry.kernel_dims)

    conv = AffineConv.deferred(geometry, kernel, origin=origin_of(node), word="MatMul")
    return value.through(conv, frame.sizes)
