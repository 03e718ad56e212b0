"""The table of lifters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import TypeVar

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView

Operands = Sequence[Value | None]
Lift = Callable[[NodeView, Operands, Frame], Value | Sequence[Value]]


@dataclass(frozen=True)
class Lifter:
    """What an operator does to affine values.

    Attributes:
        lift: makes the value of the first output, or of each output, from the operands.
        values: inputs that may depend on the model's input; None for all of them. The others have to be constants.
        weighs: whether the operator multiplies with a kernel; only regions with such a member are worth a node.
        attributes: the attributes that the lifter understands, None for any; a node with another one is refused.
        reshapes: whether the operator may read what a change of shape has made of a value.
    """

    lift: Lift
    values: frozenset[int] | None
    weighs: bool
    attributes: frozenset[str] | None
    reshapes: bool


LIFTERS: dict[str, Lifter] = {}


LiftT = TypeVar("LiftT", bound=Lift)
FactT = TypeVar("FactT")


def lifter(
    *op_types: str,
    values: Sequence[int] | None = None,
    weighs: bool = False,
    attributes: Sequence[str] | None = (),
    reshapes: bool = False,
) -> Callable[[LiftT], LiftT]:
    """Registers a lifter for these operators of ONNX's own domain; the arguments are Lifter's."""
    accepted = None if values is None else frozenset(values)
    known = None if attributes is None else frozenset(attributes)

    def register(lift: LiftT) -> LiftT:
        for op_type in op_types:
            LIFTERS[op_type] = Lifter(lift, accepted, weighs, known, reshapes)
        return lift

    return register


def fact_of_node(read: Callable[[NodeView], FactT]) -> Callable[[NodeView], FactT]:
    """What is read of a node's constants and attributes alone is read once, in however many frames it is lifted."""

    @wraps(read)
    def known(node: NodeView) -> FactT:
        if read not in node.facts:
            node.facts[read] = read(node)
        fact: FactT = node.facts[read]
        return fact

    return known


def note_origin(node: NodeView, conv: AffineConv) -> None:
    """The weights of a node that a fold emitted were rounded from those of this map."""
    node.facts[origin_of] = conv


def origin_of(node: NodeView) -> AffineConv | None:
    """What the weights of an emitted node were rounded from, if it was emitted since the model was read."""
    origin: AffineConv | None = node.facts.get(origin_of)
    return origin


def the_value(operands: Operands) -> Value:
    """The first operand, which is the only one that may depend on the model's input.

    Raises:
        LiftError: it is a constant.
    """
    value = operands[0]
    if value is None:
        raise LiftError("not-affine", "the first operand does not depend on the input")
    return value
