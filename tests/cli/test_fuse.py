import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

import repvgg_onnx.cli.checking as checking
import repvgg_onnx.pipeline as pipeline
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.cli import candidates, judging
from repvgg_onnx.cli.options import FuseOptions
from repvgg_onnx.pipeline import Fusion, fuse
from repvgg_onnx.proof import Proof
from repvgg_onnx.report.model import Verdict
from tests.cli.models import BLOCK, PLAIN, filled, perturbed
from tests.report.values import region


def op_types(path):
    return [node.op_type for node in onnx.load(path).graph.node]


def words(text):
    """Text as one line, because long paths make lines wrap."""
    return " ".join(text.split())


def files(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def wrong_fuse(monkeypatch):
    """The compiler makes a mistake."""

    def wrong(model, *, assume_inference, freeze_initializers, **_):
        right = fuse(model, assume_inference=assume_inference, freeze_initializers=freeze_initializers)
        return Proof(Fusion(perturbed(right.model), right.regions, right.refusals, right.notes), (), ())

    monkeypatch.setattr(candidates, "prove", wrong)


@pytest.fixture
def checks(monkeypatch):
    """Records the arguments of the two checks, which still run."""
    calls = SimpleNamespace(verify=[], benchmark=[])
    prove, benchmark = candidates.prove, checking.benchmark

    def proving(before, *, written, **options):
        def writing(model):
            after = written(model)
            calls.verify.append((before, after.read_bytes(), options))
            return after

        return prove(before, written=writing, **options)

    def measuring(before, after, **options):
        calls.benchmark.append((before, after.read_bytes(), options))
        return benchmark(before, after, **options)

    monkeypatch.setattr(candidates, "prove", proving)
    monkeypatch.setattr(checking, "benchmark", measuring)
    return calls


def test_the_fused_model_stands_beside_the_input(run, block, tmp_path):
    before = block.read_bytes()

    ran = run("fuse", block, "--bench-seconds", "0.1")

    assert (ran.code, ran.err) == (0, "")
    assert files(tmp_path) == ["block.fused.onnx", "block.onnx"]
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
    assert files(tmp_path) == ["block.onnx", "sub"]


def test_in_place_overwrites_the_input(run, block, tmp_path):
    assert run("fuse", block, "--in-place", "--no-bench").code == 0
    assert op_types(block) == ["Conv", "Relu"]
    assert files(tmp_path) == ["block.onnx"]


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

    common = {
        "shapes": {"image": (2, 4, 5, 7)},
        "inputs": (tmp_path / "data.npz",),
        "ranges": {"image": (-2, 3)},
        "threads": 2,
        "provider": "CPUExecutionProvider",
        "custom_ops": (),
    }
    assert checks.verify[0][2].items() >= {**common, "labels": None, "tolerance": 0.001}.items()
    assert checks.benchmark[0][2] == {**common, "seconds": 0.1}


def test_by_default_latency_is_measured_on_one_thread_and_outputs_on_all(run, block, checks):
    assert run("fuse", block, "--bench-seconds", "0.1").code == 0

    assert checks.verify[0][2]["threads"] == 0
    assert checks.benchmark[0][2]["threads"] == 1


def test_no_verify_and_no_bench_leave_the_checks_out(run, block, checks):
    ran = run("fuse", block, "--no-verify", "--no-bench")

    assert ran.code == 0
    assert (checks.verify, checks.benchmark) == ([], [])
    assert "1 region folded, not verified, wrote" in words(ran.out)
    assert op_types(block.with_name("block.fused.onnx")) == ["Conv", "Relu"]


def test_nothing_that_differs_is_written(run, block, tmp_path, wrong_fuse):
    old = tmp_path / "block.fused.onnx"
    old.write_bytes(b"old")

    ran = run("fuse", block)

    assert ran.code == 1
    assert ran.err.startswith(f"error: {block}: the fused model differs, output out: error ")
    assert ran.err.count("\n") == 1
    assert old.read_bytes() == b"old"
    assert files(tmp_path) == ["block.fused.onnx", "block.onnx"]
    assert "different outputs" in words(ran.out)
    assert "Latency" not in words(ran.out)


def test_an_input_that_would_be_overwritten_by_a_wrong_model_stays(run, block, wrong_fuse):
    before = block.read_bytes()

    assert run("fuse", block, "--in-place").code == 1
    assert block.read_bytes() == before


def test_the_json_of_a_failure_is_written(run, block, tmp_path, wrong_fuse):
    assert run("fuse", block, f"--json={tmp_path / 'report.json'}").code == 1

    document = json.loads((tmp_path / "report.json").read_text())
    assert document["verdict"] == "parity-failed"
    assert document["after"]["path"] is None


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
    assert files(tmp_path) == ["block.onnx"]


def test_check_fails_on_what_can_be_folded_and_writes_nothing(run, block, tmp_path, checks):
    ran = run("fuse", block, "--check")

    assert ran.code == 1
    assert ran.err == f"error: {block}: 1 region can be folded\n"
    assert "5 nodes become 1" in words(ran.out)
    assert files(tmp_path) == ["block.onnx"]
    assert (checks.verify, checks.benchmark) == ([], [])


def test_check_passes_on_a_fused_model(run, block, tmp_path):
    run("fuse", block, "--no-bench")

    ran = run("fuse", tmp_path / "block.fused.onnx", "--check")

    assert (ran.code, ran.err) == (0, "")
    assert "nothing to fold" in words(ran.out)
    assert files(tmp_path) == ["block.fused.onnx", "block.onnx"]


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
        max_constant_mb=64,
    )

    assert judging.judge(options, [region()], None, latency) is verdict


def test_min_speedup_writes_nothing_where_it_is_not_reached(run, block, tmp_path):
    ran = run("fuse", block, "--min-speedup", "1e6", "--bench-seconds", "0.1")

    assert ran.code == 1
    assert "below --min-speedup 1e+06; nothing was written" in ran.err
    assert ran.err.count("\n") == 1
    assert files(tmp_path) == ["block.onnx"]


def test_min_speedup_lets_pass_what_reaches_it(run, block, tmp_path):
    ran = run("fuse", block, "--min-speedup", "1e-6", "--bench-seconds", "0.1", "--json")

    assert ran.code == 0
    assert json.loads(ran.out)["min_speedup"] == 1e-6
    assert files(tmp_path) == ["block.fused.onnx", "block.onnx"]


def test_quiet_prints_nothing(run, block, tmp_path):
    ran = run("fuse", block, "--quiet", "--no-bench")

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert files(tmp_path) == ["block.fused.onnx", "block.onnx"]


def test_json_on_stdout_is_nothing_but_json(run, block, tmp_path):
    ran = run("fuse", block, "--bench-seconds", "0.1", "--json")

    document = json.loads(ran.out)
    assert ran.err == ""
    assert document["schema_version"] == 1
    assert document["verdict"] == "fused"
    assert document["before"]["path"] == str(block)
    assert document["after"]["path"] == str(tmp_path / "block.fused.onnx")
    assert document["after"]["size_bytes"] == (tmp_path / "block.fused.onnx").stat().st_size
    assert document["after"]["nodes_by_op"] == {"Conv": 1, "Relu": 1}
    assert document["after"]["parameters"] == 4 * 4 * 9 + 4
    assert [region["kernel_shape"] for region in document["regions"]] == [[3, 3]]
    assert document["parity"]["passed"] is True
    assert document["latency"]["pairs"] == len(document["latency"]["before"]["samples_ns"])


def test_json_in_a_file_leaves_the_report_on_stdout(run, block, tmp_path):
    ran = run("fuse", block, "--no-bench", f"--json={tmp_path / 'report.json'}")

    assert json.loads((tmp_path / "report.json").read_text())["latency"] is None
    assert "5 nodes become 1" in words(ran.out)


def test_the_report_is_plain_and_at_most_80_columns_wide(run, block, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")

    out = run("fuse", block, "--bench-seconds", "0.1").out

    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80
    assert all(line == line.rstrip() for line in out.splitlines())


def test_the_same_input_gives_the_same_bytes(run, block, tmp_path):
    for name in ("one.onnx", "two.onnx"):
        assert run("fuse", block, "-o", tmp_path / name, "--no-bench").code == 0

    assert (tmp_path / "one.onnx").read_bytes() == (tmp_path / "two.onnx").read_bytes()


@pytest.fixture
def failing_region(monkeypatch):
    """The only region of the block is folded wrongly by a thousandth, whatever it ends in."""
    fold = pipeline.fold

    def spoiled(value, *arguments):
        folded = fold(value, *arguments)
        return dataclasses.replace(folded, kernel=folded.kernel * folded.kernel.dtype.type(1.001))

    monkeypatch.setattr(pipeline, "fold", spoiled)


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
    assert files(tmp_path) == [block.name]


@pytest.mark.usefixtures("failing_region")
def test_without_verification_nothing_is_checked(run, block, tmp_path):
    assert run("fuse", block, "--no-verify", "--no-bench").code == 0
    assert len(files(tmp_path)) == 2


def test_every_region_is_in_the_report(run, block):
    ran = run("fuse", block, "--no-bench", "--json")

    (parity,) = json.loads(ran.out)["region_parities"]
    assert parity["passed"]
    assert 0 < parity["error"] < parity["bound"]
    assert 0 < parity["used"] < 1
