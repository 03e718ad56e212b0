"""A fresh process for every session, so that no model can gain or lose by what ran before it in the same one."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter

import numpy as np
import onnx
from onnx import numpy_helper

from repvgg_onnx import errors
from repvgg_onnx.checks.latency.child import Done, Job
from repvgg_onnx.checks.latency.racing import MAX_LEGS, MAX_ROUNDS_OF_LEG, is_over
from repvgg_onnx.checks.session import Array, Loadable
from repvgg_onnx.checks.statistics import MIN_PAIRS, Samples
from repvgg_onnx.errors import CheckError
from repvgg_onnx.graph.storage.staging import temporary_folder

MIN_LEGS = MIN_PAIRS
"""Fewest legs: what differs from process to process is seen once in each, and six is the fewest for an interval."""

_TRIAL_SAMPLES = 3
# -I keeps a file of the working folder from being imported in place of a module.
_PROGRAM = (
    "import sys; sys.path[:] = sys.argv[2:]; from repvgg_onnx.checks.latency.child import main; main(sys.argv[1])"
)


def race_isolated(jobs: Sequence[Job], *, seconds: float, seed: int = 0) -> tuple[list[Samples], list[list[Done]]]:
    """Latencies in nanoseconds of each leg, rounds x models, and what each process of each leg had to say.

    A leg starts one process per model, in random order, which opens the model, warms up and runs it. The samples of a
    pair were not taken one after the other: what slows the machine for a while may slow one model only. There are up
    to twenty legs and at least six, as long as starting processes takes no longer than ``seconds``. How many, and how
    many samples each has, is judged by a leg before the first one, which does not count.

    Args:
        jobs: what to do for each model; their numbers of samples do not count.
        seconds: bound of the timed part, beyond the fewest legs of one sample each.
        seed: seed of the orders.

    Raises:
        CheckError: a process ended before it was done.
    """
    rng = np.random.default_rng(seed)
    legs: list[Samples] = []
    answers: list[list[Done]] = []
    count, samples = _plan(jobs, seconds)
    while len(legs) < MIN_LEGS or not is_over(legs, count, seconds):
        done = {int(index): run_alone(replace(jobs[index], samples=samples)) for index in rng.permutation(len(jobs))}
        answers.append([done[index] for index in range(len(jobs))])
        legs.append(np.array([one.samples_ns for one in answers[-1]], np.int64).T)
    return legs, answers


def run_alone(job: Job) -> Done:
    """The job done in a process of its own.

    Raises:
        CheckError: the process ended before it was done, or the model cannot be run.
        ModelError: onnxruntime cannot load the model.
    """
    with temporary_folder() as folder:
        path = folder / "job.json"
        path.write_text(json.dumps(asdict(job)), encoding="utf-8")
        command = [sys.executable, "-I", "-c", _PROGRAM, str(path), *sys.path]
        ended = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False)
    if ended.returncode:
        raise CheckError(f"the process that ran a model ended with {_reason(ended.returncode, ended.stderr)}")
    answer = json.loads(ended.stdout)
    if "error" in answer:
        kind: type[errors.RepvggOnnxError] = getattr(errors, answer["error"])
        raise kind(answer["sentence"])
    return Done(**answer["done"])


@contextmanager
def on_disk(source: Loadable) -> Iterator[str]:
    """Path of a model, which is written to a temporary folder for the block if it is bytes."""
    if isinstance(source, str):
        yield str(Path(source).absolute())
        return
    with temporary_folder() as folder:
        path = folder / "model.onnx"
        path.write_bytes(source)
        yield str(path)


@contextmanager
def values_on_disk(values: Mapping[str, Array]) -> Iterator[dict[str, str]]:
    """Input name to path of its value as a TensorProto, in a temporary folder that lives as long as the block."""
    with temporary_folder() as folder:
        paths: dict[str, str] = {}
        for index, (name, value) in enumerate(values.items()):
            path = folder / f"input_{index}.pb"
            tensor: onnx.TensorProto = numpy_helper.from_array(value)
            path.write_bytes(tensor.SerializeToString())
            paths[name] = str(path)
        yield paths


def _plan(jobs: Sequence[Job], seconds: float) -> tuple[int, int]:
    """How many legs the time allows, and how many samples in each."""
    started = perf_counter()
    done = [run_alone(replace(job, samples=_TRIAL_SAMPLES)) for job in jobs]
    starting_s = perf_counter() - started
    round_s = sum(min(one.samples_ns) for one in done) / 1e9
    count = max(int(min(seconds / round_s, seconds / starting_s, MAX_LEGS)), MIN_LEGS)
    return count, max(int(min(seconds / (count * round_s), MAX_ROUNDS_OF_LEG)), 1)


def _reason(code: int, said: str) -> str:
    """What a process ended with, and the last line that it wrote."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    reason = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return f"{reason}: {lines[-1]}" if lines else reason
