"""No report goes over a model or over anything else that this tool has not written."""

import json
import os

import numpy as np
import onnx
import pytest

from repvgg_onnx.cli.places import same_file
from repvgg_onnx.report.marks import ENDINGS, is_own
from tests.cli.models import BLOCK, PLAIN, filled
from tests.folders import contents_of_files

KINDS = {"json": "r.json", "junit": "r.xml", "md": "r.md", "html": "r.html", "sarif": "r.sarif"}


@pytest.fixture
def models(tmp_path):
    """Three models, one of them called as a report is, and one with external data."""
    onnx.save(filled(BLOCK), tmp_path / "a.onnx")
    onnx.save(filled(PLAIN), tmp_path / "net.json")
    onnx.save(filled(BLOCK), tmp_path / "out.onnx", save_as_external_data=True, location="out.data", size_threshold=0)
    return [tmp_path / name for name in ("a.onnx", "net.json", "out.onnx")]


@pytest.mark.parametrize(
    "command", [("check",), ("fuse", "--no-bench", "-o", "fused/"), ("verify",), ("bench", "--seconds", "0.02")]
)
def test_json_alone_takes_none_of_the_models(run, models, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    before = contents_of_files(tmp_path)
    twice = [models[0], models[0]] if command[0] in ("verify", "bench") else models[::2]

    ran = run(command[0], "--json", *twice, *command[1:])

    assert json.loads(ran.out)["schema_version"] == 1
    assert contents_of_files(tmp_path) == before


def test_json_and_a_dash_is_still_stdout(run, block):
    assert run("check", "--json", "-", block).out == run("check", block, "--json=-").out != ""


def test_a_path_after_json_is_an_error_that_says_how_to_write_it(run, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    ran = run("check", block, "--json", "report.json")

    assert (ran.code, ran.out) == (2, "")
    assert "write --json=report.json" in ran.err
    assert list(tmp_path.iterdir()) == [block]


def test_what_follows_two_dashes_is_no_option(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    onnx.save(filled(PLAIN), tmp_path / "--json")

    assert run("check", "--", "--json").code == 0


@pytest.mark.parametrize("command", [("check",), ("fuse", "--no-bench")])
@pytest.mark.parametrize("kind", [*KINDS, "--json"])
def test_a_report_never_goes_over_a_model_or_its_data(run, models, tmp_path, command, kind):
    (data,) = tmp_path.glob("*.data")
    (tmp_path / "link.json").symlink_to("a.onnx")
    os.link(tmp_path / "a.onnx", tmp_path / "hard.json")
    (tmp_path / "folder").symlink_to(tmp_path)
    before = contents_of_files(tmp_path)
    for place in ("a.onnx", "net.json", "out.onnx", data.name, "link.json", "hard.json", "folder/a.onnx"):
        path = tmp_path / place
        option = [f"--json={path}"] if kind == "--json" else ["--report", f"{kind}:{path}"]

        ran = run(*command, *models, *option)

        assert (ran.code, ran.out) == (2, ""), place
        assert ran.err.count("\n") == 1
    assert contents_of_files(tmp_path) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_never_goes_over_a_model_that_is_not_of_the_run(run, models, tmp_path, kind):
    """Nor over one under another spelling, which some file systems take for the same."""
    (tmp_path / KINDS[kind]).write_bytes(models[0].read_bytes())
    before = contents_of_files(tmp_path)
    for place in (KINDS[kind], "other.ONNX", "NET.ONNX", "weights.data", "report"):
        ran = run("check", models[0], "--report", f"{kind}:{tmp_path / place}")

        assert (ran.code, ran.out) == (2, ""), place
    assert contents_of_files(tmp_path) == before


def test_other_files_are_kept_with_a_hint(run, block, tmp_path):
    for name, text in (("package.json", '{"name": "mine"}'), ("README.md", "# Mine\n"), ("page.html", "<p>mine</p>")):
        (tmp_path / name).write_text(text)
        ran = run("check", block, "--report", f"{name.split('.')[-1]}:{tmp_path / name}")

        assert (ran.code, ran.out) == (2, "")
        assert "so it is kept: delete it first, or choose another name" in ran.err
        assert (tmp_path / name).read_text() == text


@pytest.mark.parametrize("kind", KINDS)
def test_an_older_report_and_an_empty_file_are_replaced(run, block, plain, tmp_path, kind):
    path = tmp_path / KINDS[kind]
    path.touch()

    assert run("check", block, "--report", f"{kind}:{path}").code == 1
    first = path.read_bytes()
    assert run("check", plain, "--report", f"{kind}:{path}").code == 0

    assert path.read_bytes() != first
    assert is_own(kind, first)


def test_the_ends_of_names_are_in_any_case(run, plain, tmp_path):
    assert (
        run("check", plain, f"--json={tmp_path / 'R.JSON'}", "--report", f"sarif:{tmp_path / 'r.sarif.json'}").code == 0
    )
    assert len(contents_of_files(tmp_path)) == 3


def test_a_picture_of_another_program_is_kept(run, plain, tmp_path):
    other = tmp_path / "other.svg"
    other.write_text('<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>')
    before = other.read_bytes()

    ran = run("bench", plain, "--seconds", "0.02", "--plot", other)

    assert ran.code == 2
    assert "is not a picture of this program" in ran.err
    assert other.read_bytes() == before


def test_decisions_replace_decisions_and_no_report(run, block, tmp_path):
    path, options = tmp_path / "d.json", ["--no-bench", "--autotune", "--autotune-seconds", "0.05"]
    for _ in range(2):
        assert run("fuse", block, *options, "--decisions", path).code == 0
    assert run("check", block, f"--json={path}").code == 2
    run("check", block, f"--json={tmp_path / 'r.json'}")
    assert run("fuse", block, *options, "--decisions", tmp_path / "r.json").code == 2
    assert run("fuse", block, *options, "--decisions", tmp_path / "d.onnx").code == 2


@pytest.mark.parametrize("kind", ["json", "junit", "md", "html", "sarif"])
def test_every_report_can_go_to_stdout_alone(run, block, tmp_path, kind):
    path = tmp_path / KINDS[kind]

    ran = run("check", block, "--report", f"{kind}:-", "--report", f"{kind}:{path}")

    assert ran.code == 1
    assert ran.out == path.read_text()


def test_two_reports_do_not_share_stdout(run, block):
    ran = run("check", block, "--report", "md:-", "--json")

    assert (ran.code, ran.out) == (2, "")
    assert "--json and --report md:- both go to stdout; give one of them a file" in ran.err


def test_the_summary_of_a_step_is_not_appended_to_a_model(run, block, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(block))
    before = block.read_bytes()

    assert run("check", block, "--report", "github").code == 2
    assert block.read_bytes() == before


def test_devices_take_any_report(run, plain):
    assert run("check", plain, "--report", f"md:{os.devnull}").code == 0


def test_names_of_files_that_are_not_there_are_one_in_any_case(tmp_path):
    assert same_file(tmp_path / "R.json", tmp_path / "r.json")
    (tmp_path / "r.json").touch()
    assert same_file(tmp_path / "R.json", tmp_path / "r.json") == (tmp_path / "R.json").exists()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"\x89PNG", b"%PDF-1.4", b"<html>", np.ones(9).tobytes()])
@pytest.mark.parametrize("kind", ENDINGS)
def test_what_this_program_has_not_written_is_not_taken_for_its_own(kind, data):
    assert not is_own(kind, data)
