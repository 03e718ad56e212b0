"""How the time of fuse() grows with the length of a graph: seconds at several lengths, and the fitted exponent.

Usage: python samples/benchmarks/scaling.py [--kinds KIND ...] [--steps 4] [--rounds 3]

Graphs are chains, sums and ladders of linear nodes, and RepVGG blocks one after the other, each as a model in memory at
several lengths, of which each is twice the one before. Seconds are CPU time of ``fuse()`` alone, the least of several
rounds; the exponent is the slope of a straight line through the logarithms, 1 where twice the length takes twice the
time. Runs from a checkout, because the graphs belong to the tests; needs ``pip install -e '.[test]'``.

It exits with 1 if an exponent is 1.3 or more, or a length that has a limit takes longer than that.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx import fuse
from tests.compiler.long_graphs import KINDS

STEEPEST = 1.3  # exponent


@dataclass(frozen=True)
class Limit:
    """The longest graph of a kind, and how long it may take.

    Attributes:
        length: in the unit of the kind.
        seconds: of CPU time.
    """

    length: int
    seconds: float


LIMITS = {
    "Muls before a Conv": Limit(400, 2.0),
    "Muls behind a Conv": Limit(400, 2.0),
    "branches of a sum": Limit(1000, 2.0),
    "diamonds": Limit(160, 2.0),
    "RepVGG blocks": Limit(3200, 10.0),
}


def seconds_of(kind: str, length: int, rounds: int) -> float:
    """CPU time of fusing a graph, the least of several rounds."""
    model = KINDS[kind](length)
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        fuse(model)
        taken.append(time.process_time() - start)
    return min(taken)


def exponent(lengths: Sequence[int], seconds: Sequence[float]) -> float:
    """Slope of the line through the logarithms that lies nearest to them."""
    slope, _ = np.polyfit([math.log(each) for each in lengths], [math.log(each) for each in seconds], 1)
    return float(slope)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=tuple(KINDS), choices=tuple(KINDS), metavar="KIND")
    parser.add_argument("--steps", type=int, default=4, help="lengths of each kind")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each length")
    options = parser.parse_args(arguments)
    fuse(KINDS["diamonds"](2))  # what is imported and set up only once
    table = Table(box=box.SIMPLE, pad_edge=False)
    for number, column in enumerate(("graph", "lengths", "seconds", "exponent", "limit")):
        table.add_column(column, justify="left" if number < 3 else "right")
    passed = True
    for kind in options.kinds:
        limit = LIMITS[kind]
        lengths = [limit.length >> step for step in reversed(range(options.steps))]
        seconds = [seconds_of(kind, length, options.rounds) for length in lengths]
        slope = exponent(lengths, seconds) if len(lengths) > 1 else math.nan
        passed &= seconds[-1] < limit.seconds and not slope >= STEEPEST
        cells = (", ".join(map(str, lengths)), ", ".join(f"{each:.2f}" for each in seconds))
        table.add_row(kind, *cells, f"{slope:.2f}", f"{limit.seconds:.0f} s")
    Console(width=100, highlight=False, markup=False).print(table)
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
