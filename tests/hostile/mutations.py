"""The mutations of a run: number i of seed s is always the same bytes."""

import random
from functools import cache
from pathlib import Path

from tests.hostile.mutate import mutate

CORPUS = Path(__file__).parent / "corpus"


@cache
def corpus() -> tuple[bytes, ...]:
    """The files that are mutated."""
    return tuple(path.read_bytes() for path in sorted(CORPUS.glob("*.onnx")))


def mutation(seed: int, number: int) -> bytes:
    """A file made from one of the corpus."""
    rng = random.Random(f"{seed}/{number}")
    return mutate(corpus()[number % len(corpus())], rng, corpus())
