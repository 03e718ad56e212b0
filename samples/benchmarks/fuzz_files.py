"""Mutated model files through fuse(): none may end in anything but a model, a refusal of one line, or the old model.

Usage: python samples/benchmarks/fuzz_files.py [--mutations 100000] [--seed 0] [--jobs 2] [--keep FOLDER]

Mutation number i of a run is made from the seed ``--seed`` and i, so that ``--first I --mutations 1`` repeats one. A
mutation passes if fuse() returns or raises an error of its own within 10 s, takes no more memory than four times the
file and 500 MB, does not end the process, and if whatever it folds computes what the file computes, where onnxruntime
can run the file. Each worker is a process of its own and is replaced when it dies or hangs. ``--keep`` keeps the files
that fail. The exit code is 0 if all passed and 1 if not. Runs from a checkout, because the mutators belong to the
tests; needs ``pip install -e '.[test]'``.
"""

import argparse
import multiprocessing
import multiprocessing.connection
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.hostile.corpus.make import SIDE_FILE
from tests.hostile.mutations import CORPUS, mutation
from tests.hostile.trial import SECONDS, Broken, outcome_of

CHUNK = 500  # mutations that one worker does
ADDRESS_SPACE = 16 * 2**30  # bytes; what asks for more gets an error instead of the machine
MEMORY = 500 * 2**20  # bytes that fuse() may take besides four times the file
FUSE_FAULT, OTHER_FAULT = "ended the process in fuse()", "ended the process elsewhere"


@dataclass
class Worker:
    """A process at work on some mutations, and what it was last heard of."""

    process: multiprocessing.process.BaseProcess
    pipe: multiprocessing.connection.Connection
    todo: range
    current: int
    phase: str
    since: float


def work(pipe: multiprocessing.connection.Connection, seed: int, todo: range) -> None:
    """In the worker: every mutation in turn, each announced, each result reported."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(CORPUS / SIDE_FILE, folder)
        path = Path(folder) / "model.onnx"
        outcome_of(CORPUS / "repvgg.onnx")  # everything is imported now, and does not count
        for number in todo:
            path.write_bytes(mutation(seed, number))
            pipe.send((number, "result", _result(path, lambda phase, number=number: pipe.send((number, phase, "")))))
    pipe.send((-1, "done", ""))


def _result(path: Path, phase: Any) -> str:
    """The outcome, or what went wrong in one line that begins with FAILED."""
    allowed = 4 * path.stat().st_size + MEMORY
    peaks = [_peak()]  # before, when fuse() starts, and when it is done, if something was folded

    def watched(name: str) -> None:
        peaks.append(_peak())
        phase(name)

    try:
        outcome = outcome_of(path, watched)
    except Broken as error:
        return f"FAILED {error}"
    except BaseException as error:  # whatever it is, the run goes on
        place = traceback.extract_tb(error.__traceback__)[-1]
        return f"FAILED {type(error).__name__}: {str(error)[:200]!r} in {Path(place.filename).name}:{place.lineno}"
    grown = (*peaks[2:], _peak())[0] - peaks[0]
    return f"FAILED {grown / 2**20:.0f} MB" if grown > allowed else outcome


def _peak() -> int:
    """Largest resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def start(context: Any, seed: int, todo: range) -> Worker:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(theirs, seed, todo), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours, todo, todo.start, "start", time.monotonic())


def run(seed: int, todo: range, jobs: int) -> Iterator[tuple[int, str]]:
    """Number and result of every mutation, in the order in which they are done."""
    context = multiprocessing.get_context("spawn")
    chunks = [range(first, min(first + CHUNK, todo.stop)) for first in range(todo.start, todo.stop, CHUNK)][::-1]
    workers: list[Worker] = []
    while chunks or workers:
        while chunks and len(workers) < jobs:
            workers.append(start(context, seed, chunks.pop()))
        multiprocessing.connection.wait([worker.pipe for worker in workers], timeout=1)
        for worker in list(workers):
            results, state = _listen(worker)
            yield from results
            if state == "busy":
                continue
            workers.remove(worker)
            if state != "done":
                yield worker.current, f"FAILED {state}"
                rest = range(worker.current + 1, worker.todo.stop)
                chunks += [rest] if rest else []


def _listen(worker: Worker) -> tuple[list[tuple[int, str]], str]:
    """New results of a worker, and whether it is busy, done, or has ended in a way that is said."""
    results = []
    try:
        while worker.pipe.poll():
            number, kind, text = worker.pipe.recv()
            if kind == "done":
                worker.process.join()
                return results, "done"
            worker.since = time.monotonic()
            if kind == "result":
                results.append((number, text))
                worker.current, worker.phase = number + 1, "between"
            else:
                worker.current, worker.phase = number, kind
    except EOFError:
        worker.process.join()
        where = FUSE_FAULT if worker.phase == "fuse" else OTHER_FAULT
        return results, f"{where}, exit code {worker.process.exitcode}"
    if time.monotonic() - worker.since > 3 * SECONDS:
        worker.process.kill()
        worker.process.join()
        return results, f"hung in {worker.phase}"
    return results, "busy"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Mutated model files through fuse().")
    parser.add_argument("--mutations", default=100_000, type=int, help="how many")
    parser.add_argument("--first", default=0, type=int, help="number of the first")
    parser.add_argument("--seed", default=0, type=int, help="seed of the run")
    parser.add_argument("--jobs", default=2, type=int, help="processes")
    parser.add_argument("--keep", type=Path, help="folder for the files that fail")
    options = parser.parse_args(arguments)
    print(f"seed {options.seed}, mutations {options.first} to {options.first + options.mutations - 1}", flush=True)
    seen, failed, started = Counter[str](), 0, time.monotonic()
    todo = range(options.first, options.first + options.mutations)
    for done, (number, result) in enumerate(run(options.seed, todo, options.jobs), 1):
        if result.startswith("FAILED"):
            failed += OTHER_FAULT not in result
            print(f"{number}: {result}", flush=True)
            _keep(options.keep, options.seed, number)
        seen[result if not result.startswith("FAILED") else "failed"] += 1
        if done % CHUNK == 0:
            print(f"\r{done:,} mutations, {failed} failed", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    lines = [f"{count:>10,} {kind}" for kind, count in seen.most_common()]
    print(*lines, f"{time.monotonic() - started:.0f} s, {options.jobs} processes", sep="\n")
    return int(failed > 0)


def _keep(folder: Path | None, seed: int, number: int) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{seed}-{number}.onnx").write_bytes(mutation(seed, number))


if __name__ == "__main__":
    sys.exit(main())
