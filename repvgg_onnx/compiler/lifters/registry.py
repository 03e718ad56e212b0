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
        weighs: whether the operator multiplies with a kernel; only regions with such a member are worth a node. What it
            multiplies is its row in ``graph.macs.PRODUCTS``.
        attributes: the attributes that the lifter understands, None for any; a node with another one is refused.
        reshapes: whether the operator may read what a change of shape has made of a value.
        channels_second: whether the operator takes the second axis for the channels, whatever comes before it.
        renames: whether its output is another name for a tensor: no work, whatever it is applied to.
        says: whether it is worth saying why it is not lifted wherever it stands, as of every kernel.
    """

    lift: Lift
    values: frozenset[int] | None
    weighs: bool
    attributes: frozenset[str] | None
    reshapes: bool
    channels_second: bool
    renames: bool
    says: bool


LIFTERS: dict[str, Lifter] = {}
"""Lifters by operator; one of another domain than ONNX's own stands under ``domain.op_type``."""


LiftT = TypeVar("LiftT", bound=Lift)
FactT = TypeVar("FactT")


def lifter(
    *op_types: str,
    values: Sequence[int] | None = None,
    weighs: bool = False,
    attributes: Sequence[str] | None = (),
    reshapes: bool = False,
    channels_second: bool = False,
    renames: bool = False,
    says: bool = False,
) -> Callable[[LiftT], LiftT]:
    """Registers a lifter for these operators; the arguments are Lifter's."""
    accepted = None if values is None else frozenset(values)
    known = None if attributes is None else frozenset(attributes)

    def register(lift: LiftT) -> LiftT:
        for op_type in op_types:
            LIFTERS[op_type] = Lifter(lift, accepted, weighs, known, reshapes, channels_second, renames, weighs or says)
        return lift

    return register


def is_kernel_operator(op_type: str) -> bool:
    """Whether a lifter says that an operator multiplies with a kernel."""
    return op_type in LIFTERS and LIFTERS[op_type].weighs


def is_renaming(op_type: str) -> bool:
    """Whether a lifter says that an operator only gives a tensor another name."""
    return op_type in LIFTERS and LIFTERS[op_type].renames


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
