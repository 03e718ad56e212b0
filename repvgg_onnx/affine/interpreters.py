"""Two ways to run the steps that expressions are read by: each asks for operands by yielding them.

Neither needs a deeper stack for a longer chain, and what several others share is read once.
"""

from collections import Counter
from collections.abc import Callable, Generator, Hashable
from typing import Any, Protocol, TypeAlias, TypeVar

from repvgg_onnx.affine.kernels import Array

Question: TypeAlias = tuple[Any, ...]
"""What is read, and how: the arguments of its steps."""
Steps: TypeAlias = Callable[..., Generator[Question, Any, Any]]


class Operated(Protocol):
    """What is made of operands."""

    @property
    def operands(self) -> "tuple[Any, ...]":
        """What it is made of, once for each time that it is read."""


OperatedT = TypeVar("OperatedT", bound=Operated)


def evaluated(steps: Steps, question: Question) -> Array:
    """An array that steps make, which is the caller's to change.

    What several others read is kept from the first reading to the last, each of the others is gone as soon as it has
    been used.
    """
    shared = _shared(question[0])
    kept: dict[Hashable, tuple[Array, int]] = {}
    waiting = [(question, steps(*question))]
    value: Array | None = None
    while True:
        current, running = waiting[-1]
        try:
            asked = running.send(value)
        except StopIteration as end:
            value = end.value
            waiting.pop()
            if not waiting:
                made: Array = end.value
                return made
            if id(current[0]) in shared:
                kept[_key(current)] = (end.value, shared[id(current[0])] - 1)
                value = end.value.copy()
            continue
        key = _key(asked)
        value, left = kept.pop(key, (None, 0))
        if value is None:
            waiting.append((asked, steps(*asked)))
        elif left > 1:
            kept[key] = (value, left - 1)
            value = value.copy()


def recalled(steps: Steps, question: Question) -> Any:
    """What steps return, which is kept in the ``answers`` of what is read."""
    waiting: list[tuple[Question, Generator[Question, Any, Any]]] = []
    asked = question
    while True:
        value = asked[0].answers.get((steps, asked[1:]))
        if value is None:
            waiting.append((asked, steps(*asked)))
        while waiting:
            (current, running) = waiting[-1]
            try:
                asked = running.send(value)
                break
            except StopIteration as end:
                value = current[0].answers[steps, current[1:]] = end.value
                waiting.pop()
        else:
            return value


def parts_of(root: OperatedT) -> list[OperatedT]:
    """Something and everything below it, each once."""
    waiting, seen = [root], {id(root): root}
    while waiting:
        fresh = {id(operand): operand for operand in waiting.pop().operands if id(operand) not in seen}
        seen |= fresh
        waiting += fresh.values()
    return list(seen.values())


def _shared(root: Operated) -> dict[int, int]:
    """How often each operand below something is read, if more than once, by identity."""
    if not root.operands:
        return {}
    counts = Counter(id(operand) for part in parts_of(root) for operand in part.operands)
    return {identity: count for identity, count in counts.items() if count > 1}


def _key(question: Question) -> Hashable:
    """The question as a key; slices have no hash before Python 3.12."""
    how = ((part.start, part.stop) if isinstance(part, slice) else part for part in question[1:])
    return (id(question[0]), *how)
