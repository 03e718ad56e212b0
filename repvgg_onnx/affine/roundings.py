"""How many rounding errors a result of an expression can gather, evaluated operation by operation."""

from math import prod

from repvgg_onnx.affine.expressions import Expression, Leaf, Scaled, Selected, Shifted, Sum
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.affine.interpreters import parts_of

EACH = 4  # of a gain, an offset or a sum: its own, and those of computing the constant
BESIDE = 3  # of a kernel: adding the bias, and the cast of both


def roundings_of(expression: Expression) -> int:
    """Roundings of all operations, each of them once, and of what stored numbers were rounded from.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1: a bound on a longer way bounds each of
        several, and so the number for all of them together does.
    """
    return sum(_own(part) for part in parts_of(expression))


def roundings_of_kernel(geometry: Geometry) -> int:
    """Roundings of one kernel: products and sums, and what is beside them."""
    return prod(geometry.kernel_shape) * geometry.c_in // geometry.group + BESIDE


def _own(expression: Expression) -> int:
    match expression:
        case Leaf():
            place = expression.geometry
            # The wider side, so that the count holds for weights in either order and however they are grouped.
            sums = prod(place.kernel_shape) * max(place.c_out, place.c_in)
            return 0 if place.is_diagonal else sums + BESIDE
        case Scaled() | Shifted() | Selected():
            return EACH
        case Sum():
            return max(EACH, len(expression.terms)) if len(expression.terms) > 1 else 0
    return 0
