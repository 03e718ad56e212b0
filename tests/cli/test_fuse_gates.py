"""When ``fuse`` writes nothing, or a copy: outputs that differ, regions that fail their check, too little speed."""

import dataclasses
import json

import pytest

import repvgg_onnx.compiler.fuse as compiler
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.cli.fuse import judge
from repvgg_onnx.cli.options import FuseOptions
from repvgg_onnx.report.model import Verdict
from tests.cli.reading import words
from tests.folders import names
from tests.report.values import region


def test_nothing_that_differs_is_written(run, block, tmp_path, wrong_fuse):
    old = tmp_path / "block.fused.onnx"
    old.write_bytes(b"old")

    ran = run("fuse", block)

    assert ran.code == 1
    assert ran.err.startswith(f"error: {block}: the fused model differs, output out: error ")
    assert ran.err.count("\n") == 1
    assert old.read_bytes() == b"old"
    assert names(tmp_path) == ["block.fused.onnx", "block.onnx"]
    assert "different outputs" in words(ran.out)
    assert "Latency" not in words(ran.out)


def test_an_input_that_would_be_overwritten_by_a_wrong_model_stays(run, block, wrong_fuse):
    before = block.read_bytes()

    assert run("fuse", block, "--in-place").code == 1
    assert block.read_bytes() == before


def test_a_tolerance_of_the_users_decides(run, block, wrong_fuse):
    assert run("fuse", block, "--tolerance", "0.5", "--no-bench").code == 0


def test_where_nothing_can_be_kept_the_output_is_a_copy_and_strict_fails(run, block, tmp_path):
    """No fold is so exact; every region is rolled back, and named."""
    asked = ["--tolerance", "1e-30", "--no-bench"]

    ran = run("fuse", block, *asked)

    assert ran.code == 0
    assert (tmp_path / "block.fused.onnx").read_bytes() == block.read_bytes()
    assert "check-failed: all" in words(ran.out)
    assert "a copy of the input" in words(ran.out)
    (tmp_path / "block.fused.onnx").unlink()
    assert run("fuse", block, *asked, "--strict").code == 1
    assert names(tmp_path) == ["block.onnx"]


def measured(low, high):
    return Latency(None, None, (low + high) / 2, low, high, "faster", 50, None)


@pytest.mark.parametrize(
    ("latency", "verdict"),
    [
        (measured(1.10, 1.20), Verdict.FUSED),
        (measured(0.95, 1.06), Verdict.FUSED),
        (measured(0.95, 1.04), Verdict.TOO_SLOW),
        (None, Verdict.FUSED),
    ],
)
def test_the_gate_fails_only_where_the_whole_interval_is_below_it(latency, verdict, block):
    options = FuseOptions(
        block,
        output=None,
        in_place=False,
        check=False,
        verify=True,
        bench=True,
        tolerance=None,
        bench_seconds=5.0,
        min_speedup=1.05,
    )

    assert judge(options, [region()], None, latency) is verdict


def test_min_speedup_writes_nothing_where_it_is_not_reached(run, block, tmp_path):
    ran = run("fuse", block, "--min-speedup", "1e6", "--bench-seconds", "0.1")

    assert ran.code == 1
    assert "below --min-speedup 1e+06; nothing was written" in ran.err
    assert ran.err.count("\n") == 1
    assert names(tmp_path) == ["block.onnx"]


def test_min_speedup_lets_pass_what_reaches_it(run, block, tmp_path):
    ran = run("fuse", block, "--min-speedup", "1e-6", "--bench-seconds", "0.1", "--json")

    assert ran.code == 0
    assert json.loads(ran.out)["min_speedup"] == 1e-6
    assert names(tmp_path) == ["block.fused.onnx", "block.onnx"]


@pytest.fixture
def failing_region(monkeypatch):
    """The only region of the block is folded wrongly by a thousandth, whatever it ends in."""
    fold = compiler.fold

    def spoiled(value, *arguments):
        folded = fold(value, *arguments)
        return dataclasses.replace(folded, kernel=folded.kernel * folded.kernel.dtype.type(1.001))

    monkeypatch.setattr(compiler, "fold", spoiled)


@pytest.mark.usefixtures("failing_region")
def test_regions_that_all_fail_their_check_leave_a_copy(run, block, tmp_path):
    ran = run("fuse", block, "--no-bench")

    assert (ran.code, ran.err) == (0, "")
    assert "check-failed" in ran.out
    assert "failed a check and stayed as it was" in words(ran.out)
    assert "nothing to fold" not in words(ran.out)
    assert (tmp_path / "block.fused.onnx").read_bytes() == block.read_bytes()


@pytest.mark.usefixtures("failing_region")
def test_with_strict_regions_that_fail_their_check_leave_nothing_behind(run, block, tmp_path):
    ran = run("fuse", block, "--no-bench", "--strict")

    assert ran.code == 1
    assert "failed a check; nothing was written" in ran.err
    assert names(tmp_path) == [block.name]


@pytest.mark.usefixtures("failing_region")
def test_without_verification_nothing_is_checked(run, block, tmp_path):
    assert run("fuse", block, "--no-verify", "--no-bench").code == 0
    assert len(names(tmp_path)) == 2
