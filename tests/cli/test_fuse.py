"""What ``fuse`` writes and where, and what it looks at before."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import repvgg_onnx.cli.verify as cli_verify
from repvgg_onnx.checks.options import CheckOptions
from repvgg_onnx.cli import candidates
from tests.cli.models import BLOCK, PLAIN, filled
from tests.cli.reading import op_types, words
from tests.folders import names


@pytest.fixture
def checks(monkeypatch):
    """Records the arguments of the two checks, which still run."""
    calls = SimpleNamespace(verify=[], benchmark=[])
    proved, measure = candidates.proved, cli_verify.measure

    def proving(request, written):
        def writing(fusion):
            after = written(fusion)
            calls.verify.append((request.source.path, after.read_bytes(), request))
            return after

        return proved(request, writing)

    def measuring(models, how, running):
        before, after = models
        calls.benchmark.append((before, after.read_bytes(), running))
        return measure(models, how, running)

    monkeypatch.setattr(candidates, "proved", proving)
    monkeypatch.setattr(cli_verify, "measure", measuring)
    return calls


def test_the_fused_model_stands_beside_the_input(run, block, tmp_path):
    before = block.read_bytes()

    ran = run("fuse", block, "--bench-seconds", "0.1")

    assert (ran.code, ran.err) == (0, "")
    assert names(tmp_path) == ["block.fused.onnx", "block.onnx"]
    assert op_types(tmp_path / "block.fused.onnx") == ["Conv", "Relu"]
    assert block.read_bytes() == before
    assert "5 nodes become 1" in words(ran.out)
    assert "same outputs" in words(ran.out)
    assert "95% CI" in words(ran.out)
    assert "".join(ran.out.split()).endswith(f"wrote{tmp_path / 'block.fused.onnx'}")


def test_output_names_the_file(run, block, tmp_path):
    (tmp_path / "sub").mkdir()

    assert run("fuse", block, "-o", tmp_path / "sub" / "out.onnx", "--no-bench").code == 0
    assert op_types(tmp_path / "sub" / "out.onnx") == ["Conv", "Relu"]
    assert names(tmp_path) == ["block.onnx", "sub"]


def test_in_place_overwrites_the_input(run, block, tmp_path):
    assert run("fuse", block, "--in-place", "--no-bench").code == 0
    assert op_types(block) == ["Conv", "Relu"]
    assert names(tmp_path) == ["block.onnx"]


def test_in_place_follows_a_link(run, block, tmp_path):
    link = tmp_path / "link.onnx"
    link.symlink_to(block)

    assert run("fuse", link, "--in-place", "--no-bench").code == 0
    assert link.is_symlink()
    assert op_types(block) == ["Conv", "Relu"]


def test_the_bytes_that_are_checked_are_the_bytes_that_are_written(run, block, tmp_path, checks):
    assert run("fuse", block, "--bench-seconds", "0.1").code == 0

    written = (tmp_path / "block.fused.onnx").read_bytes()
    assert [after for _, after, _ in (*checks.verify, *checks.benchmark)] == [written, written]


def test_options_reach_the_checks(run, block, tmp_path, checks):
    np.savez(tmp_path / "data.npz", image=np.ones((2, 4, 5, 7), np.float32))
    options = ["--inputs", tmp_path / "data.npz", "--threads", 2, "--shape", "image=2,4,5,7"]
    more = ["--provider", "CPUExecutionProvider", "--tolerance", "0.001", "--bench-seconds", "0.1"]
    more += ["--range", "image=-2,3"]

    assert run("fuse", block, *options, *more).code == 0

    shapes = {"image": (2, 4, 5, 7)}
    running = CheckOptions(shapes, (tmp_path / "data.npz",), {"image": (-2, 3)}, threads=2)
    ((_, _, request),) = checks.verify
    assert (request.compiling.shapes, request.running) == (shapes, replace(running, tolerance=0.001))
    assert [given for _, _, given in checks.benchmark] == [running]


def test_by_default_latency_is_measured_on_one_thread_and_outputs_on_all(run, block, checks):
    assert run("fuse", block, "--bench-seconds", "0.1").code == 0

    assert checks.verify[0][2].running.threads == 0
    assert checks.benchmark[0][2].threads == 1


def test_no_verify_and_no_bench_leave_the_checks_out(run, block, checks):
    ran = run("fuse", block, "--no-verify", "--no-bench")

    assert ran.code == 0
    assert (checks.verify, checks.benchmark) == ([], [])
    assert "1 region folded, not verified, wrote" in words(ran.out)
    assert op_types(block.with_name("block.fused.onnx")) == ["Conv", "Relu"]


def test_check_fails_on_what_can_be_folded_and_writes_nothing(run, block, tmp_path, checks):
    ran = run("fuse", block, "--check")

    assert ran.code == 1
    assert ran.err == f"error: {block}: 1 region can be folded\n"
    assert "5 nodes become 1" in words(ran.out)
    assert names(tmp_path) == ["block.onnx"]
    assert (checks.verify, checks.benchmark) == ([], [])


def test_check_passes_on_a_fused_model(run, block, tmp_path):
    run("fuse", block, "--no-bench")

    ran = run("fuse", tmp_path / "block.fused.onnx", "--check")

    assert (ran.code, ran.err) == (0, "")
    assert "nothing to fold" in words(ran.out)
    assert names(tmp_path) == ["block.fused.onnx", "block.onnx"]


def test_check_with_json(run, block):
    ran = run("fuse", block, "--check", "--json")

    assert ran.code == 1
    assert json.loads(ran.out)["verdict"] == "foldable"


def test_when_nothing_folds_the_output_is_the_input(run, plain, tmp_path, checks):
    ran = run("fuse", plain)

    assert (ran.code, ran.err) == (0, "")
    assert "nothing to fold" in words(ran.out)
    assert (tmp_path / "plain.fused.onnx").read_bytes() == plain.read_bytes()
    assert (checks.verify, checks.benchmark) == ([], [])


def test_when_nothing_folds_in_place_the_file_is_not_touched(run, plain):
    before = plain.stat()

    assert run("fuse", plain, "--in-place").code == 0
    after = plain.stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


@pytest.mark.parametrize(("text", "verdict"), [(BLOCK, "fused"), (PLAIN, "nothing-to-fold")])
@pytest.mark.parametrize("where", ["", "elsewhere"])
def test_external_data_comes_along(run, tmp_path, text, verdict, where):
    source, folder = tmp_path / "net.onnx", tmp_path / where
    onnx.save(filled(text), source, save_as_external_data=True, location="net.data", size_threshold=0)
    folder.mkdir(exist_ok=True)
    target = folder / "net.fused.onnx"

    ran = run("fuse", source, "-o", target, "--no-bench", "--json")

    document = json.loads(ran.out)
    sizes = [(tmp_path / name).stat().st_size for name in ("net.onnx", "net.data")]
    assert (ran.code, document["verdict"]) == (0, verdict)
    assert document["before"]["size_bytes"] == sum(sizes)
    assert op_types(target) == ["Conv", "Relu"]


def test_the_same_input_gives_the_same_bytes(run, block, tmp_path):
    for name in ("one.onnx", "two.onnx"):
        assert run("fuse", block, "-o", tmp_path / name, "--no-bench").code == 0

    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()
