"""The table of lifters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from repvgg_onnx.fusion.value import Frame, Value
from repvgg_onnx.graph.view import NodeView

Operands = Sequence[Value | None]
Lift = Callable[[NodeView, Operands, Frame], Value | Sequence[Value]]


@dataclass(frozen=True)
class Lifter:
    """What an operator does to affine values.

    Attributes:
        lift: makes the value of the first output, or of each output, from the operands.
        weighs: whether the operator multiplies with a kernel; only regions with such a member are worth a node.
        attributes: the attributes that the lifter understands; a node with another one is refused.
    """

    lift: Lift
    weighs: bool
    attributes: frozenset[str]


LIFTERS: dict[str, Lifter] = {}


LiftT = TypeVar("LiftT", bound=Lift)


def lifter(*op_types: str, weighs: bool = False, attributes: Sequence[str] = ()) -> Callable[[LiftT], LiftT]:
    """Registers a lifter for these operators of ONNX's own domain."""

    def register(lift: LiftT) -> LiftT:
        for op_type in op_types:
            LIFTERS[op_type] = Lifter(lift, weighs, frozenset(attributes))
        return lift

    return register
