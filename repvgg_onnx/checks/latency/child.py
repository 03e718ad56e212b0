"""What a process of its own does for one model: open a session, run it, and say what that took."""

import gc
import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from repvgg_onnx.checks.latency.memory import Footprint, forget_peak, peak_resident_bytes
from repvgg_onnx.checks.latency.racing import WARM_UP_SHARE, Run
from repvgg_onnx.checks.session import Array, open_session
from repvgg_onnx.errors import RepvggOnnxError


@dataclass(frozen=True)
class Job:
    """What a process is told, as JSON.

    Attributes:
        model: path of the model.
        values: input name to path of a serialized TensorProto.
        level: graph optimization level.
        provider: execution provider.
        provider_options: what it is told.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        custom_ops: libraries of operators that onnxruntime itself lacks.
        samples: runs to time, after the first one and a warm-up that are not timed.
    """

    model: str
    values: Mapping[str, str]
    level: str
    provider: str
    provider_options: Mapping[str, str]
    threads: int
    custom_ops: tuple[str, ...]
    samples: int


@dataclass(frozen=True)
class Done:
    """What a process answers, as JSON.

    Attributes:
        creation_ns: what it took to open the session, in nanoseconds.
        base_bytes: most resident bytes before that; None where the system does not tell.
        peak_bytes: most resident bytes after the first run.
        samples_ns: latency of each timed run.
    """

    creation_ns: int
    base_bytes: int | None
    peak_bytes: int | None
    samples_ns: tuple[int, ...]

    @property
    def footprint(self) -> Footprint | None:
        """Memory, where it is known."""
        if self.base_bytes is None or self.peak_bytes is None:
            return None
        return Footprint(self.base_bytes, self.peak_bytes)


def work(job: Job) -> Done:
    """The job done in this process.

    Raises:
        CheckError: the model cannot be run.
        ModelError: onnxruntime cannot load it.
    """
    values = {name: _read(path) for name, path in job.values.items()}
    forget_peak()
    base_bytes = peak_resident_bytes()
    gc.disable()
    started = perf_counter_ns()
    session = open_session(
        job.model,
        level=job.level,
        provider=(job.provider, job.provider_options),
        threads=job.threads,
        custom_ops=job.custom_ops,
    )
    creation_ns = perf_counter_ns() - started
    session.run(values)
    peak_bytes = peak_resident_bytes()
    run = session.prepare(values)
    for _ in range(math.ceil(WARM_UP_SHARE * job.samples)):
        run()
    return Done(creation_ns, base_bytes, peak_bytes, tuple(_timed(run) for _ in range(job.samples)))


def main(path: str) -> None:
    """The job in the JSON file at ``path`` done, and the answer or the error written to stdout as JSON.

    What native code prints goes to stderr, so that nothing else is on stdout.
    """
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answer:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        told = json.loads(Path(path).read_text(encoding="utf-8"))
        content: dict[str, Any]
        try:
            content = {"done": asdict(work(Job(**told)))}
        except RepvggOnnxError as error:
            content = {"error": type(error).__name__, "sentence": str(error)}
        json.dump(content, answer)


def _timed(run: Run) -> int:
    started = perf_counter_ns()
    run()
    return perf_counter_ns() - started


def _read(path: str) -> Array:
    tensor = onnx.TensorProto.FromString(Path(path).read_bytes())
    return np.asarray(numpy_helper.to_array(tensor))
