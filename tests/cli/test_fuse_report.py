"""What ``fuse`` prints, and the JSON that it writes."""

import json

from tests.cli.reading import words
from tests.folders import names


def test_quiet_prints_nothing(run, block, tmp_path):
    ran = run("fuse", block, "--quiet", "--no-bench")

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert names(tmp_path) == ["block.fused.onnx", "block.onnx"]


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


def test_every_region_is_in_the_report(run, block):
    ran = run("fuse", block, "--no-bench", "--json")

    (parity,) = json.loads(ran.out)["region_parities"]
    assert parity["passed"]
    assert 0 < parity["error"] < parity["bound"]
    assert 0 < parity["used"] < 1


def test_the_json_of_a_failure_is_written(run, block, tmp_path, wrong_fuse):
    assert run("fuse", block, f"--json={tmp_path / 'report.json'}").code == 1

    document = json.loads((tmp_path / "report.json").read_text())
    assert document["verdict"] == "parity-failed"
    assert document["after"]["path"] is None
