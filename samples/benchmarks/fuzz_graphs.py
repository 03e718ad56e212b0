"""Random graphs through the compiler, as many as there is time for; every mismatch is printed with how to repeat it.

Usage: python samples/benchmarks/fuzz_graphs.py [--graphs 50000] [--seed 0] [--jobs 2]

Graph number i of a run has the seed ``--seed`` + i, so that ``--graphs 1 --seed N`` repeats one. A graph passes if the
fused model is valid, computes the same under onnxruntime without its own optimizations, folds no further, and if the
input is untouched; every fourth is fused twice and has to give the same bytes. The exit code is 0 if all passed and 1
if not. Runs from a checkout, because the generator belongs to the tests; needs ``pip install -e '.[test]'``.
"""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.compiler.generator import LONGEST, random_model
from tests.compiler.trial import assert_holds, kinds

CHUNK = 250  # graphs between two lines of progress
LIMIT_S = 10.0  # of processor time for one graph, which takes some hundredths


def check(seeds: range) -> tuple[Counter[str], list[str]]:
    """What was seen in the graphs of these seeds, and a report for each that failed."""
    seen: Counter[str] = Counter()
    failures = []
    for seed in seeds:
        problem = trouble(seed, LONGEST, seen)
        if problem:
            failures.append(report(seed, problem))
    return seen, failures


def trouble(seed: int, length: int, seen: Counter[str]) -> str:
    """Why a graph failed, in one line; empty if it did not."""
    model, feeds = random_model(seed, length)
    try:
        with limited():
            fusion = assert_holds(model, feeds, twice=seed % 4 == 0)
    except (Exception, Endless) as error:  # whatever it is, the run goes on
        return f"{type(error).__name__}: {error}".splitlines()[0]
    seen.update(kinds(fusion))
    return ""


class Endless(BaseException):
    """Nothing that the compiler may catch."""


@contextmanager
def limited() -> Iterator[None]:
    """Raises Endless in what takes longer than LIMIT_S, where the system has such alarms."""
    if not hasattr(signal, "SIGVTALRM"):
        yield
        return
    signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def give_up(*_: object) -> None:
    raise Endless(f"no end after {LIMIT_S:.0f} s")


def report(seed: int, problem: str) -> str:
    """The shortest beginning of the graph that fails, as text, and the command that repeats it."""
    lengths = range(1, LONGEST + 1)
    length = next((length for length in lengths if trouble(seed, length, Counter())), LONGEST)
    model, _ = random_model(seed, length)
    del model.graph.initializer[:]
    text = onnx.printer.to_text(model)
    return f"seed {seed}: {problem}\nrepeat with --seed {seed} --graphs 1; its first {length} steps:\n{text}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Random graphs through the compiler.")
    parser.add_argument("--graphs", default=50_000, type=int, help="how many")
    parser.add_argument("--seed", default=0, type=int, help="seed of the first")
    parser.add_argument("--jobs", default=2, type=int, help="processes")
    options = parser.parse_args(arguments)
    print(f"seeds {options.seed} to {options.seed + options.graphs - 1}", flush=True)
    stop = options.seed + options.graphs
    chunks = [range(first, min(first + CHUNK, stop)) for first in range(options.seed, stop, CHUNK)]
    seen, failed, started = Counter[str](), 0, time.monotonic()
    with ProcessPoolExecutor(options.jobs) as pool:
        for number, (found, failures) in enumerate(pool.map(check, chunks), 1):
            seen += found
            failed += len(failures)
            print(*failures, sep="\n", end="\n" if failures else "", flush=True)
            print(f"\r{sum(map(len, chunks[:number])):,} graphs, {failed} failed", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    lines = [f"{count:>10,} {kind}" for kind, count in seen.most_common()]
    print(*lines, f"{failed:>10,} failed", f"{time.monotonic() - started:.0f} s, {options.jobs} processes", sep="\n")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
