"""How many bytes exist at one time, when steps run one after the other."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        reads: tensors that have to exist when it begins.
        writes: tensors that it makes.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]


def live_bytes(
    steps: Sequence[Step], *, inputs: Iterable[str], outputs: Iterable[str], bytes_of: Mapping[str, int]
) -> tuple[int, ...]:
    """Bytes of the tensors that exist at the start, and then during each step.

    A tensor exists from the step that writes it, an input from the start, to the last step that reads it; an output
    to the end. Tensors that are neither inputs nor written by a step are left out.

    Args:
        steps: in the order in which they run.
        inputs: tensors that exist at the start.
        outputs: tensors that exist at the end.
        bytes_of: sizes; tensors that are not there count as nothing.

    Example:
        >>> chain = [Step(("x",), ("a",)), Step(("a",), ("y",))]
        >>> live_bytes(chain, inputs=["x"], outputs=["y"], bytes_of={"x": 100, "a": 10, "y": 1})
        (100, 110, 11)
    """
    born = dict.fromkeys(inputs, 0)
    last = dict(born)
    for index, step in enumerate(steps, 1):
        born.update((name, index) for name in step.writes)
        last.update((name, index) for name in (*step.reads, *step.writes))
    last.update((name, len(steps)) for name in outputs)
    change: defaultdict[int, int] = defaultdict(int)
    for name, index in born.items():
        change[index] += bytes_of.get(name, 0)
        change[last[name] + 1] -= bytes_of.get(name, 0)
    return tuple(accumulate(change[index] for index in range(len(steps) + 1)))
