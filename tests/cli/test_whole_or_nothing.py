"""Whatever fails while reports are made or written, nothing has changed: no model, no report, no litter."""

import json

import onnx
import pytest

from tests.cli.models import BLOCK, filled

RENDERERS = {
    "the text": "repvgg_onnx.cli.fuse.fuse_report",
    "the JSON": "repvgg_onnx.cli.fuse.fuse_json",
    "junit": "repvgg_onnx.report.junit.junit_report",
    "md": "repvgg_onnx.report.markdown.markdown_report",
    "html": "repvgg_onnx.report.html.html_report",
    "sarif": "repvgg_onnx.report.sarif.sarif_report",
    "github": "repvgg_onnx.report.github.annotations",
}
ENDS = {"junit": "xml"}


def contents(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def broken(*_, **__):
    raise TypeError("Object of type bool is not JSON serializable")


@pytest.fixture
def options(block, tmp_path, monkeypatch):
    """Every report, over those of an older run; and the model that it wrote."""
    (tmp_path / "block.fused.onnx").write_bytes(b"old")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.txt"))
    kinds = ("json", "junit", "md", "html", "sarif")
    files = [word for kind in kinds for word in ("--report", f"{kind}:{tmp_path / f'r.{ENDS.get(kind, kind)}'}")]
    for ending in ("xml", "md", "html", "json"):
        (tmp_path / f"r.{ending}").touch()
    return [*files, "--report", "github", f"--json={tmp_path / 'other.json'}"]


@pytest.mark.parametrize("renderer", RENDERERS)
@pytest.mark.parametrize("more", [[], ["--in-place"]], ids=["beside", "in-place"])
def test_a_fault_in_a_renderer_leaves_everything_as_it_was(run, block, tmp_path, monkeypatch, options, renderer, more):
    before = contents(tmp_path)
    monkeypatch.setattr(RENDERERS[renderer], broken)

    ran = run("fuse", block, "--no-bench", *more, *options)

    assert (ran.code, ran.out) == (3, "")
    assert (
        ran.err == "error: internal error: TypeError: Object of type bool is not JSON serializable (run with --debug)\n"
    )
    assert contents(tmp_path) == before


@pytest.mark.parametrize("renderer", ["junit", "md", "html", "sarif", "github"])
def test_of_several_models_none_is_written_that_cannot_be_reported(
    run, block, tmp_path, monkeypatch, options, renderer
):
    onnx.save(filled(BLOCK), tmp_path / "two.onnx")
    before = contents(tmp_path)
    monkeypatch.setattr(RENDERERS[renderer], broken)

    ran = run("fuse", block, tmp_path / "two.onnx", "--no-bench", *options)

    assert ran.code == 3
    assert contents(tmp_path) == before


@pytest.mark.parametrize("number", range(6))
def test_a_report_that_cannot_be_written_is_found_out_before_the_model_takes_its_place(
    run, block, tmp_path, monkeypatch, options, number
):
    """Disk full after some of the files, the model the first of them."""
    before = contents(tmp_path)
    calls = iter(range(100))

    def full(_):
        if next(calls) == number + 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("repvgg_onnx.graph.storage.staging.os.fsync", full)

    ran = run("fuse", block, "--no-bench", *options)

    assert ran.code == 3
    assert ran.err.endswith("cannot be written: No space left on device\n")
    assert contents(tmp_path) == before


def test_nothing_fails_when_nothing_is_broken(run, block, tmp_path, options):
    ran = run("fuse", block, "--no-bench", *options)

    assert ran.code == 0
    assert onnx.load(tmp_path / "block.fused.onnx").graph.node[0].op_type == "Conv"
    assert json.loads((tmp_path / "r.json").read_text()) == json.loads((tmp_path / "other.json").read_text())
    assert all(path.stat().st_size > 100 for path in tmp_path.iterdir())
