"""``fuse`` with several models: one table, one exit code, each whole or not at all."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import onnx
import pytest

import repvgg_onnx.cli.many as many
from repvgg_onnx.cli.boundary import BadInputError
from repvgg_onnx.cli.reports import failed_outcome
from repvgg_onnx.graph.watch import LIMIT_S, uninterruptible
from repvgg_onnx.workflows.turns import Turns, alone, take, working
from tests.cli.models import BLOCK, filled, two_and_one
from tests.cli.reading import op_types
from tests.folders import names
from tests.processes import interruptible, wait_for

COMMAND = [sys.executable, "-m", "repvgg_onnx", "fuse"]


@pytest.fixture
def models(tmp_path):
    """Two models to fold and one without anything to fold, in a folder of their own."""
    folder = tmp_path / "models"
    two_and_one(folder)
    return sorted(folder.iterdir())


@pytest.fixture
def bad(tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"not a model")
    return path


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_model_is_written_to_the_folder_under_its_name(run, models, tmp_path, jobs):
    out = tmp_path / "new" / "out"

    ran = run("fuse", *models, "-o", out, "--no-bench", "--jobs", jobs)

    assert (ran.code, ran.err) == (0, "")
    assert names(out) == ["a.onnx", "b.onnx", "c.onnx"]
    assert [op_types(out / name) for name in names(out)] == [["Conv", "Relu"]] * 3
    assert (out / "c.onnx").read_bytes() == models[2].read_bytes()
    assert ran.out.endswith("3 models: 2 fused, 1 copied\n")


def test_without_a_folder_each_stands_beside_its_model(run, models):
    assert run("fuse", *models, "--no-bench").code == 0
    assert names(models[0].parent) == sorted(
        name for model in models for name in (model.name, f"{model.stem}.fused.onnx")
    )


def test_in_place_overwrites_each(run, models):
    assert run("fuse", *models, "--no-bench", "--in-place").code == 0
    assert [op_types(model) for model in models] == [["Conv", "Relu"]] * 3


def test_one_model_to_a_folder_by_its_name(run, models, tmp_path):
    ran = run("fuse", models[0], "-o", f"{tmp_path}/out/", "--no-bench")

    assert ran.code == 0
    assert names(tmp_path / "out") == ["a.onnx"]
    assert "1 model: 1 fused" in ran.out


def test_one_model_has_the_report_of_one(run, models):
    assert "BatchNormalization" in run("fuse", models[0], "--no-bench").out


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_table_has_figures_and_fits(run, models, tmp_path, monkeypatch, jobs):
    monkeypatch.chdir(models[0].parent)

    ran = run("fuse", "a.onnx", "b.onnx", "c.onnx", "-o", tmp_path / "out", "--bench-seconds", "0.1", "--jobs", jobs)
    lines = ran.out.splitlines()

    assert ran.code == 0
    assert lines[0].split() == ["model", "regions", "nodes", "error", "speedup", "verdict"]
    assert lines[1].startswith("a.onnx ")
    assert " 6 -> 2 " in lines[1]
    assert "e-0" in lines[1]
    assert "x  fused" in lines[1]
    assert lines[3].split() == ["c.onnx", "0", "2", "-", "-", "copied"]
    assert max(map(len, lines)) <= 80


def test_long_paths_are_folded_into_80_columns(run, models, tmp_path):
    ran = run("fuse", *models, "-o", tmp_path / ("out" * 20), "--no-bench")

    assert max(map(len, ran.out.splitlines())) <= 80
    assert all(str(model) in "".join(line.split("  ")[0] for line in ran.out.splitlines()) for model in models)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_wrong_with_one_keeps_no_other_from_being_written(run, models, bad, tmp_path, jobs):
    out = tmp_path / "out"

    ran = run("fuse", bad, *models, tmp_path / "no.onnx", "-o", out, "--no-bench", "--jobs", jobs)

    assert ran.code == 3
    assert names(out) == ["a.onnx", "b.onnx", "c.onnx"]
    assert ran.err.splitlines() == [
        f"error: {bad}: is not an ONNX model, or is truncated",
        f"error: {tmp_path / 'no.onnx'}: no such file",
    ]


def test_a_gate_that_is_missed_leaves_that_model_out(run, models, tmp_path):
    out = tmp_path / "out"

    ran = run("fuse", *models, "-o", out, "--bench-seconds", "0.1", "--min-speedup", 1000)

    assert ran.code == 1
    assert names(out) == []
    assert "3 too slow" in ran.out
    assert ran.err.count("nothing was written") == 3


def test_fail_fast_begins_no_other(run, models, bad, tmp_path):
    out = tmp_path / "out"

    ran = run("fuse", models[0], bad, models[1], "-o", out, "--no-bench", "--fail-fast")

    assert ran.code == 3
    assert names(out) == ["a.onnx"]
    assert "1 not begun" in ran.out


def test_check_of_many_writes_nothing(run, models):
    ran = run("fuse", *models, "--check")

    assert ran.code == 1
    assert names(models[0].parent) == ["a.onnx", "b.onnx", "c.onnx"]
    assert ran.err.count("1 region can be folded") == 2


def test_two_models_of_one_name_are_an_error_before_any_work(run, models, tmp_path):
    other = tmp_path / "a.onnx"
    other.write_bytes(models[0].read_bytes())

    ran = run("fuse", models[0], other, "-o", tmp_path / "out")

    assert ran.code == 2
    assert f"{models[0]} and {other} would both be written to {tmp_path / 'out' / 'a.onnx'}" in ran.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("where", [["-o", "."], []])
def test_no_model_that_is_read_is_overwritten(run, models, monkeypatch, where):
    monkeypatch.chdir(models[0].parent)
    (models[0].parent / "a.fused.onnx").write_bytes(models[0].read_bytes())
    before = {path: path.read_bytes() for path in models[0].parent.iterdir()}

    ran = run("fuse", "*.onnx", *where)

    assert ran.code == 2
    assert "would overwrite" in ran.err
    assert {path: path.read_bytes() for path in models[0].parent.iterdir()} == before


def test_a_side_file_of_another_model_is_not_overwritten(run, models, tmp_path):
    source = tmp_path / "s.onnx"
    (tmp_path / "out").mkdir()
    onnx.save(filled(BLOCK), source, save_as_external_data=True, location="out/a.onnx", size_threshold=0)

    ran = run("fuse", source, models[0], "-o", tmp_path / "out")

    assert ran.code == 2
    assert "would overwrite" in ran.err


def test_a_file_where_the_folder_should_be_is_one_line(run, models, tmp_path):
    (tmp_path / "out").write_bytes(b"")

    ran = run("fuse", *models, "-o", tmp_path / "out")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: -o {tmp_path / 'out'} is a file; for several models it has to name a folder")
    assert ran.err.count("\n") == 1


def test_decisions_are_about_one_model(run, models, tmp_path):
    ran = run("fuse", *models, "--decisions", tmp_path / "d.json")

    assert ran.code == 2
    assert "--decisions is about one model" in ran.err


def test_doubtful_folds_are_measured_in_processes_too(run, models, tmp_path):
    out = tmp_path / "out"

    ran = run(
        "fuse", *models, "-o", out, "--no-bench", "--autotune", "--autotune-seconds", "0.2", "--jobs", 2, "--json"
    )

    assert ran.code == 0
    assert [model["report"]["decisions"] is None for model in json.loads(ran.out)["models"]] == [False] * 3


@pytest.mark.parametrize("jobs", [1, 2])
def test_json_has_for_each_what_it_has_alone(run, models, bad, tmp_path, jobs):
    ran = run("fuse", *models, bad, "-o", tmp_path / "out", "--no-bench", "--json", "--jobs", jobs)
    document = json.loads(ran.out)
    single = json.loads(run("fuse", models[0], "-o", tmp_path / "single.onnx", "--no-bench", "--json").out)

    assert [model["path"] for model in document["models"]] == [*map(str, models), str(bad)]
    assert [model["exit_code"] for model in document["models"]] == [0, 0, 0, 3]
    report = document["models"][0]["report"]
    assert report["after"].pop("path") == str(tmp_path / "out" / "a.onnx")
    single["after"].pop("path")
    assert report.pop("seconds").keys() == single.pop("seconds").keys()
    assert report == {key: value for key, value in single.items() if key not in ("schema_version", "tool_version")}
    assert document["models"][3]["report"] is None


def test_inputs_of_a_section_reach_its_model_alone(run, models, tmp_path, monkeypatch):
    np.savez(tmp_path / "data.npz", image=np.full((2, 4, 5, 7), np.nan, np.float32))
    (tmp_path / "repvgg-onnx.toml").write_text('[models."models/a*"]\ninputs = "data.npz"\n')
    monkeypatch.chdir(tmp_path)

    ran = run("fuse", *models, "-o", "out", "--no-bench", "--json")
    feeds = [model["report"]["parity"]["feeds"] for model in json.loads(ran.out)["models"][:2]]

    assert len(feeds[0]) > len(feeds[1])


def test_a_process_that_dies_is_one_line_for_each_model(run, models, tmp_path, monkeypatch):
    monkeypatch.setattr(many, "work", die)

    ran = run("fuse", *models, "-o", tmp_path / "out", "--jobs", 2)

    assert ran.code == BadInputError.exit_code
    assert ran.err.splitlines() == [
        f"error: {model}: the worker process died, possibly out of memory or because onnx did not come to an end"
        for model in models
    ]
    assert names(tmp_path / "out") == []


def die(request, output, *, debug):
    os._exit(9)


def test_what_cannot_be_interrupted_is_limited_in_every_process(run, models, tmp_path, monkeypatch):
    monkeypatch.setattr(many, "work", say_limit)

    ran = run("fuse", *models, "-o", tmp_path / "out", "--jobs", 2)

    assert ran.err.splitlines() == [f"error: {model}: about {LIMIT_S:.0f} s left" for model in models]


def say_limit(request, output, *, debug):
    with uninterruptible():
        left, _ = signal.getitimer(signal.ITIMER_PROF)
    return failed_outcome(request.options.model, BadInputError(f"about {left:.0f} s left"))


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_leaves_what_is_whole_and_no_litter(models, tmp_path, jobs):
    out = tmp_path / "out"
    started = interruptible(
        [*COMMAND, *map(str, models), "-o", str(out), "--bench-seconds", "60", "--jobs", str(jobs)],
        start_new_session=True,
    )
    wait_for(lambda: out.exists() and any(path.name.startswith(".") for path in out.iterdir()))
    os.killpg(started.pid, signal.SIGINT)
    printed, err = started.communicate(timeout=60)

    assert started.returncode == 130
    assert (printed, err.strip()) == (b"", b"")
    assert all(op_types(path) == ["Conv", "Relu"] for path in out.iterdir())


def test_processes_end_with_their_parent(models, tmp_path):
    out = tmp_path / "out"
    started = subprocess.Popen(
        [*COMMAND, *map(str, models), "-o", str(out), "--bench-seconds", "60", "--jobs", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(lambda: out.exists() and any(path.name.startswith(".") for path in out.iterdir()))
    started.kill()
    started.communicate(timeout=60)  # the pipes are closed by the last process that holds them

    wait_for(lambda: not any(path.name.startswith(".") for path in out.iterdir()))


@pytest.fixture
def turns():
    """Threads of this process take turns as processes do."""
    made = Turns(3, threading.Semaphore(3), threading.Lock())
    take(made)
    yield made
    take(None)


def test_whoever_measures_is_alone(turns):
    working_now, seen = [0], []
    lock = threading.Lock()

    def change(by):
        with lock:
            working_now[0] += by

    def one(number):
        with working():
            change(1)
            time.sleep(0.001 * number)
            change(-1)
            with alone():
                seen.append(working_now[0])
                time.sleep(0.002)
                seen.append(working_now[0])
            change(1)
            time.sleep(0.001)
            change(-1)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)

    assert seen == [0] * 12
    assert all(turns.slots.acquire(blocking=False) for _ in range(3))
    assert not turns.slots.acquire(blocking=False)


def test_a_measurement_that_fails_gives_its_turn_back(turns):
    with pytest.raises(ValueError), working(), alone():
        raise ValueError

    assert all(turns.slots.acquire(blocking=False) for _ in range(3))
    assert not turns.slots.acquire(blocking=False)


def test_a_process_that_cannot_be_interrupted_is_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(many, "PATIENCE_S", 0.2)
    child = multiprocessing.get_context("spawn").Process(target=deaf, args=(tmp_path / "sign",))
    child.start()
    wait_for((tmp_path / "sign").exists)
    many._end_all([child])
    child.join(60)

    assert child.exitcode == -signal.SIGKILL


def deaf(sign):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sign.touch()
    time.sleep(600)
