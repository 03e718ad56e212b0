"""``--report FORMAT:PATH``: any number of files, whole or not at all, also when a check has failed."""

import json
import sys

import junitparser
import onnx
import pytest

from tests.cli.models import BLOCK, PLAIN, filled

FILES = {"json": "r.json", "junit": "r.xml", "md": "r.md", "html": "r.html", "sarif": "r.sarif"}


@pytest.fixture
def reports(tmp_path):
    """An option for every format that goes to a file, and the files."""
    paths = {kind: tmp_path / name for kind, name in FILES.items()}
    return [word for kind, path in paths.items() for word in ("--report", f"{kind}:{path}")], paths


@pytest.mark.parametrize("command", [("fuse", "--no-bench"), ("check",)])
def test_every_format_at_once(run, block, reports, command):
    options, paths = reports

    ran = run(*command, block, *options)

    assert ran.code == (1 if command[0] == "check" else 0)
    assert all(path.stat().st_size > 100 for path in paths.values())
    assert paths["html"].read_text().startswith("<!doctype html>")
    assert json.loads(paths["sarif"].read_text())["version"] == "2.1.0"
    assert str(block) in paths["md"].read_text()


def test_reports_are_written_when_a_check_failed_and_the_model_is_not(run, block, reports):
    options, paths = reports

    ran = run("fuse", block, "--no-bench", "--tolerance", "1e-12", "--strict", *options)

    assert ran.code == 1
    assert not block.with_suffix(".fused.onnx").exists()
    document = json.loads(paths["json"].read_text())
    assert document["verdict"] == "region-failed"
    assert junitparser.JUnitXml.fromfile(str(paths["junit"])).failures == len(document["rolled_back"]) > 0
    assert all(path.exists() for path in paths.values())


def test_reports_are_written_when_the_model_is_not_usable(run, tmp_path, reports):
    options, paths = reports

    ran = run("fuse", tmp_path / "none.onnx", *options)

    assert ran.code == 3
    assert junitparser.JUnitXml.fromfile(str(paths["junit"])).errors == 1
    assert "no such file" in paths["md"].read_text()


def test_several_models_are_in_one_report(run, tmp_path, reports):
    options, paths = reports
    for name, text in (("a", BLOCK), ("b", PLAIN)):
        onnx.save(filled(text), tmp_path / f"{name}.onnx")

    run("fuse", tmp_path / "a.onnx", tmp_path / "b.onnx", "--no-bench", "-o", tmp_path / "out", *options)

    suites = [suite.name for suite in junitparser.JUnitXml.fromfile(str(paths["junit"]))]
    assert suites == [str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx")]
    assert paths["html"].read_text().count('<section class="part"') == 2


def test_processes_send_what_pictures_need(run, tmp_path, reports):
    options, paths = reports
    for name in ("a", "b"):
        onnx.save(filled(BLOCK), tmp_path / f"{name}.onnx")

    run("check", tmp_path / "a.onnx", tmp_path / "b.onnx", "--jobs", "2", *options)

    assert paths["html"].read_text().count("Before: Conv, Conv, BatchNormalization, Add, Add") == 2


def test_json_is_what_json_says(run, block, tmp_path):
    ran = run("check", block, f"--json={tmp_path / 'one.json'}", "--report", f"json:{tmp_path / 'other.json'}")

    assert ran.code == 1
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "other.json").read_bytes()


def test_the_command_is_there_as_it_was_given(run, tmp_path):
    model = tmp_path / "my net.onnx"
    onnx.save(filled(PLAIN), model)

    run("check", model, "--report", f"md:{tmp_path / 'r.md'}")

    assert f"repvgg-onnx check '{model}' --report md:{tmp_path / 'r.md'}" in (tmp_path / "r.md").read_text()


def test_annotations_go_to_stdout_and_the_summary_to_its_file(run, block, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    ran = run("check", block, "--report", "github", "--quiet")

    mended = f"to fold them, run: repvgg-onnx fuse {block} --in-place"
    assert ran.out == f"::error file={block},title=foldable regions::1 region to fold: all; {mended}\n"
    assert summary.read_text().startswith("before\n## ❌ 1 region can be folded\n")


def test_a_summary_that_cannot_be_written_is_said(run, block, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))

    ran = run("check", block, "--report", "github", "--quiet")

    assert (ran.code, ran.err) == (3, f"error: {tmp_path}: Is a directory\n")


def test_without_a_summary_there_are_annotations_alone(run, plain, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)

    assert run("check", plain, "--report", "github", "--quiet").out.startswith("::notice ")


def test_verify_and_bench_have_reports_too(run, block, plain, tmp_path):
    options = ["--report", f"html:{tmp_path / 'r.html'}", "--report", f"md:{tmp_path / 'r.md'}"]

    assert run("verify", block, plain, *options, "--report", f"junit:{tmp_path / 'r.xml'}").code == 1
    assert junitparser.JUnitXml.fromfile(str(tmp_path / "r.xml")).failures == 1
    assert run("bench", block, plain, "--seconds", "0.05", *options).code == 0
    assert "Latency of 2 models" in (tmp_path / "r.md").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("yaml:r.yaml", "'yaml' must be one of json, junit, md, html, sarif, github"),
        ("json", "'json' lacks a file; write json:PATH, or json:- for stdout"),
        ("md:notes.txt", "notes.txt does not end in .md or .markdown, as a Markdown report must"),
        ("github:r", "github goes to stdout and takes no path"),
        ("junit:no/folder/r.xml", "folder no/folder does not exist"),
    ],
)
def test_what_cannot_be_written_is_an_error_before_any_work(run, tmp_path, text, message):
    ran = run("check", tmp_path / "none.onnx", "--report", text)

    assert ran.code == 2
    assert message in ran.err


@pytest.mark.parametrize("kind", ["junit", "sarif", "github"])
def test_bench_checks_nothing_and_has_no_report_of_checks(run, block, kind):
    ran = run("bench", block, "--report", f"{kind}:r")

    assert ran.code == 2
    assert f"'{kind}' must be one of json, md, html" in ran.err


def test_a_report_never_overwrites_a_file_of_the_run(run, block, tmp_path):
    output, other = tmp_path / "out.onnx", tmp_path / "r.json"
    before = block.read_bytes()

    for options in (
        ["--report", f"md:{block}"],
        ["-o", output, "--report", f"md:{output}"],
        ["--report", f"sarif:{other}", "--report", f"json:{other}"],
        [f"--json={other}", "--report", f"json:{other}"],
        ["--autotune", "--decisions", other, "--report", f"json:{other}"],
    ):
        ran = run("fuse", block, "--no-bench", *options)
        assert ran.code == 2
        assert "would overwrite" in ran.err

    assert block.read_bytes() == before
    assert not other.exists()
    assert not output.exists()


def test_annotations_and_json_do_not_share_stdout(run, block):
    ran = run("check", block, "--report", "github", "--json")

    assert (ran.code, ran.out) == (2, "")
    assert "--json and --report github both go to stdout" in ran.err


def test_a_report_that_fails_leaves_the_file_that_was_there(run, block, tmp_path, monkeypatch):
    place = tmp_path / "r.md"
    run("check", block, "--report", f"md:{place}")
    old = place.read_text()
    monkeypatch.setattr("repvgg_onnx.graph.storage.staging.os.replace", _full)

    ran = run("check", block, "--report", f"md:{place}")

    assert ran.code == 3
    assert place.read_text() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["block.onnx", "r.md"]


def _full(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_one_line_before_any_work(run, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)

    ran = run("check", tmp_path / "none.onnx", "--report", f"html:{tmp_path / 'r.html'}")

    assert ran.code == 2
    assert ran.err.startswith(f"error: {package} is needed and cannot be imported")
    assert "pip install 'repvgg-onnx[report]'" in ran.err


def test_reports_can_be_set_in_a_file_relative_to_it(run, block, tmp_path):
    (tmp_path / "repvgg-onnx.toml").write_text('report = ["md:r.md"]\n')

    ran = run("check", block, "--config", tmp_path / "repvgg-onnx.toml")

    assert ran.code == 1
    assert (tmp_path / "r.md").exists()
    shown = run("check", block, "--config", tmp_path / "repvgg-onnx.toml", "--show-config").out
    assert 'report = ["md:r.md"]' in shown or f'report = ["md:{tmp_path / "r.md"}"]' in shown
