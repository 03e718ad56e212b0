import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from repvgg_onnx.checks.latency import child, isolation, memory
from repvgg_onnx.checks.latency.child import Done, Job, work
from repvgg_onnx.checks.latency.isolation import on_disk, race_isolated, run_alone, values_on_disk
from repvgg_onnx.checks.latency.measuring import _median_footprint
from repvgg_onnx.checks.latency.memory import Footprint
from repvgg_onnx.errors import CheckError, ModelError
from tests.checks.models import BFLOAT16, relu_block

CPU = "CPUExecutionProvider"


@pytest.fixture
def job(tmp_path):
    onnx.save(relu_block(), tmp_path / "block.onnx")
    with values_on_disk({"x": np.ones((2, 4, 5, 7), np.float32)}) as values:
        yield Job(str(tmp_path / "block.onnx"), values, "ORT_ENABLE_ALL", CPU, {}, 1, (), samples=4)


def test_a_process_opens_runs_and_times(job):
    done = run_alone(job)
    assert len(done.samples_ns) == 4
    assert min(*done.samples_ns, done.creation_ns) > 0
    assert done.footprint is None or done.footprint.added_bytes >= 0


def test_what_a_process_does_is_what_its_program_says(job, monkeypatch):
    monkeypatch.setattr(child.gc, "disable", lambda: None)
    peaks = iter((1000, 1700))
    monkeypatch.setattr(child, "peak_resident_bytes", lambda: next(peaks))
    done = work(job)
    assert (done.footprint.base_bytes, done.footprint.peak_bytes, done.footprint.added_bytes) == (1000, 1700, 700)
    assert len(done.samples_ns) == 4


def test_a_system_that_does_not_tell_has_no_footprint():
    assert Done(1, None, None, ()).footprint is None


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"model": "absent.onnx"}, ModelError, "cannot load"),
        ({"provider": "NoSuchProvider"}, CheckError, "'NoSuchProvider' is not available"),
        ({"provider_options": {"a": "1"}}, CheckError, "takes no options, so a cannot be set"),
        ({"values": {}}, CheckError, "cannot run"),
    ],
)
def test_what_a_process_cannot_do_is_the_same_error_as_here(job, changes, error, words):
    with pytest.raises(error, match=words):
        run_alone(replace(job, **changes))


@pytest.mark.parametrize(
    ("code", "said", "sentence"),
    [
        (-9, "", "ended with signal SIGKILL$"),
        (1, "Traceback\n  here\nMemoryError: 3 GiB\n\n", "ended with exit code 1: MemoryError: 3 GiB$"),
    ],
)
def test_a_process_that_dies_is_one_line(job, monkeypatch, code, said, sentence):
    dead = SimpleNamespace(returncode=code, stderr=said, stdout="")
    monkeypatch.setattr(isolation.subprocess, "run", lambda *_, **__: dead)
    with pytest.raises(CheckError, match=sentence):
        run_alone(job)


def test_no_file_of_the_working_folder_is_imported(job, tmp_path, monkeypatch):
    for name in ("json", "numpy", "repvgg_onnx", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in map(os.path.abspath, sys.path) if entry != str(tmp_path)])
    assert len(run_alone(job).samples_ns) == 4


def test_what_native_code_prints_does_not_get_into_the_answer(job, tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(asdict(job)))
    program = (
        "import os, sys; from repvgg_onnx.checks.latency import child; real = child.work\n"
        "child.work = lambda job: (os.write(1, b'chatter'), real(job))[1]\n"
        "child.main(sys.argv[1])"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    assert len(json.loads(ended.stdout)["done"]["samples_ns"]) == 4
    assert ended.stderr == "chatter"


def test_every_type_of_value_comes_through(tmp_path):
    values = {
        "half": np.array([[1.5, -2.0]]).astype(BFLOAT16),
        "index": np.array(3, np.int64),
        "words": np.array(["é", "b"], object),
    }
    with values_on_disk(values) as paths:
        read = {name: child._read(path) for name, path in paths.items()}
    assert not any(map(os.path.exists, paths.values()))
    assert read["half"].dtype == BFLOAT16
    assert all(
        read[name].shape == value.shape and (read[name] == value).all()
        for name, value in values.items()
        if name != "words"
    )
    assert read["words"].tolist() == ["é", "b"]


def test_a_model_that_is_bytes_is_a_file_for_a_while(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with on_disk(b"content") as path:
        assert Path(path).read_bytes() == b"content"
    assert not os.path.exists(path)
    with on_disk("here.onnx") as path:
        assert path == str(tmp_path / "here.onnx")


def test_of_several_processes_the_memory_of_the_middle_one_counts():
    answers = [Done(1, 100, peak, ()) for peak in (900, 300, 400)] + [Done(1, None, None, ())]
    assert _median_footprint(answers) == Footprint(100, 400)
    assert _median_footprint(answers[3:]) is None


def fake(taken_ns, log):
    def run(job):
        log.append((job.model, job.samples))
        return Done(10, 1, 2, (taken_ns[job.model],) * job.samples)

    return run


@pytest.mark.parametrize(
    ("seconds", "legs", "samples"),
    [
        (9.0, 6, 1),  # the fewest, although it takes longer
        (30.0, 6, 1),  # fewer than the time has room for, since the interval is narrow
        (9000.0, 6, 150),
        (10**6, 6, 250),  # never more samples in a leg
    ],
)
def test_legs_start_every_model_in_random_order_until_enough_is_known(monkeypatch, seconds, legs, samples):
    log = []
    monkeypatch.setattr(isolation, "run_alone", fake({"a": 2 * 10**9, "b": 10**9}, log))
    monkeypatch.setattr(isolation, "perf_counter", lambda: 3.0 * len(log) / 2 / 10)
    jobs = [Job(name, {}, "", CPU, {}, 1, (), 0) for name in "ab"]
    found, answers = race_isolated(jobs, seconds=seconds, seed=1)
    assert [leg.tolist() for leg in found] == [[[2 * 10**9, 10**9]] * samples] * legs
    assert [[len(done.samples_ns) for done in leg] for leg in answers] == [[samples] * 2] * legs
    assert log[:2] == [("a", 3), ("b", 3)]
    pairs = [tuple(name for name, _ in log[start : start + 2]) for start in range(2, len(log), 2)]
    assert set(pairs) == {("a", "b"), ("b", "a")}


def test_the_peak_is_of_the_program_itself_where_the_system_tells(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tx\nVmHWM:\t    2164 kB\nVmRSS:\t 2000 kB\n")
    assert memory.peak_resident_bytes(status) == 2164 * 1024


@pytest.mark.parametrize(("system", "factor"), [("linux", 1024), ("darwin", 1)])
def test_elsewhere_the_peak_is_that_of_getrusage(tmp_path, monkeypatch, system, factor):
    monkeypatch.setattr(memory.sys, "platform", system)
    usage = SimpleNamespace(getrusage=lambda _: SimpleNamespace(ru_maxrss=77), RUSAGE_SELF=0)
    monkeypatch.setitem(sys.modules, "resource", usage)
    assert memory.peak_resident_bytes(tmp_path / "none") == 77 * factor


def test_a_system_without_either_does_not_tell(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory.peak_resident_bytes(tmp_path / "none") is None


def test_a_peak_that_cannot_be_forgotten_is_kept(tmp_path):
    before = memory.peak_resident_bytes()
    memory.forget_peak(tmp_path / "no" / "file")
    assert memory.peak_resident_bytes() >= before
