"""``check``: foldable regions are found before they ship."""

import json
import os

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.cli.models import BLOCK, HEADER, PLAIN, filled
from tests.cli.reading import words


@pytest.fixture
def folder(tmp_path):
    """Two models to fold, and one without anything to fold."""
    for name, text in (("a.onnx", BLOCK), ("b.onnx", BLOCK), ("c.onnx", PLAIN)):
        onnx.save(filled(text), tmp_path / name)
    return tmp_path


def test_models_and_their_regions_are_named(run, folder):
    ran = run("check", *sorted(folder.iterdir()))

    assert ran.code == 1
    assert words(ran.out).startswith(
        f"{folder / 'a.onnx'}: 1 region to fold 1 x 3x3 Conv + 1x1 Conv + BN -> 3x3 Conv all"
    )
    assert f"{folder / 'c.onnx'}: nothing to fold" in words(ran.out)
    assert ran.out.endswith("3 models: 2 foldable, 1 nothing to fold\n")
    assert ran.err == "".join(f"error: {folder / name}: 1 region can be folded\n" for name in ("a.onnx", "b.onnx"))


def test_nothing_is_written(run, folder):
    before = {path: path.read_bytes() for path in folder.iterdir()}

    run("check", *before)

    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_model_without_regions_passes(run, plain):
    ran = run("check", plain)

    assert (ran.code, ran.err) == (0, "")


@pytest.mark.parametrize(("allowed", "code"), [(0, 1), (1, 0), (2, 0)])
def test_some_regions_may_be_allowed_in_each_model(run, folder, allowed, code):
    ran = run("check", folder / "a.onnx", folder / "b.onnx", "--max-foldable", allowed)

    assert ran.code == code
    assert "2 foldable" in ran.out


def test_the_gate_is_in_the_sentence(run, tmp_path):
    text = BLOCK.replace(
        "out = Relu (all)",
        "mid = Relu (all)\n last = Conv (mid, kernel1, bias1)\n more = Neg (last)\n out = Relu (more)",
    )
    onnx.save(filled(text), tmp_path / "two.onnx")

    ran = run("check", tmp_path / "two.onnx", "--max-foldable", 1)

    assert ran.code == 1
    assert ran.err.endswith("2 regions can be folded, and --max-foldable is 1\n")


def test_patterns_that_the_shell_left_are_expanded(run, folder):
    assert "2 models" in run("check", folder / "[ab].onnx").out
    assert "3 models" in run("check", folder / "**" / "*.onnx").out


def test_a_model_that_is_given_twice_is_looked_at_once(run, folder):
    assert "3 models" in run("check", folder / "a.onnx", folder / "*.onnx").out


def test_the_largest_exit_code_wins_and_every_model_is_looked_at(run, folder):
    (folder / "bad.onnx").write_bytes(b"not a model")

    ran = run("check", folder / "bad.onnx", folder / "no*.onnx", folder / "a.onnx")

    assert ran.code == 3
    assert ran.err.splitlines() == [
        f"error: {folder / 'bad.onnx'}: is not an ONNX model, or is truncated",
        f"error: {folder / 'no*.onnx'}: no file matches this pattern",
        f"error: {folder / 'a.onnx'}: 1 region can be folded",
    ]
    assert "2 not usable, 1 foldable" in ran.out


def test_a_folder_is_no_model(run, tmp_path):
    ran = run("check", tmp_path)

    assert ran.code == 3
    assert ran.err.startswith(f"error: {tmp_path}: is a folder, not an ONNX file; give the models in it")


def test_json_has_every_model(run, folder):
    (folder / "bad.onnx").write_bytes(b"")

    ran = run("check", folder / "a.onnx", folder / "c.onnx", folder / "bad.onnx", "--max-foldable", 1, "--json")
    document = json.loads(ran.out)

    assert list(document) == ["schema_version", "tool_version", "models"]
    assert [model["exit_code"] for model in document["models"]] == [0, 0, 3]
    assert [model["error"] for model in document["models"]] == [None, None, "is empty"]
    assert [model["report"] and model["report"]["verdict"] for model in document["models"]] == [
        "foldable",
        "nothing-to-fold",
        None,
    ]
    assert document["models"][0]["report"]["max_foldable"] == 1
    assert len(document["models"][0]["report"]["regions"]) == 1


def test_the_report_overwrites_no_model(run, folder):
    before = (folder / "a.onnx").read_bytes()

    ran = run("check", folder / "c.onnx", folder / "a.onnx", f"--json={folder / 'a.onnx'}")

    assert ran.code == 2
    assert "would overwrite" in ran.err
    assert (folder / "a.onnx").read_bytes() == before


def test_nothing_else_is_begun_after_a_failure(run, folder):
    ran = run("check", folder / "c.onnx", folder / "a.onnx", folder / "b.onnx", "--fail-fast")

    assert ran.code == 1
    assert ran.out.endswith("3 models: 1 nothing to fold, 1 foldable, 1 not begun\n")
    assert ran.err.count("error:") == 1


def test_jobs_give_the_same_report(run, folder):
    paths = sorted(folder.iterdir())

    one, two = (run("check", *paths, "--json", "--jobs", jobs) for jobs in (1, 2))

    assert (two.code, two.out) == (one.code, one.out)


def test_quiet_says_errors_alone(run, folder):
    ran = run("check", folder / "a.onnx", "--quiet")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.count(os.linesep) == 1


def test_debug_shows_where_an_error_is_from(run, tmp_path):
    assert "Traceback" in run("check", tmp_path / "missing.onnx", "--debug").err
    assert "Traceback" not in run("check", tmp_path / "missing.onnx").err


def test_names_that_steer_a_terminal_are_written_out(run, tmp_path):
    path = tmp_path / "a\x1b[2J.onnx"
    path.write_bytes(b"")

    ran = run("check", path)

    assert "\x1b" not in ran.out + ran.err


BELOW = f"""{HEADER}
net (float[1, 4, 5, 7] image) => (float[1, 4, 10, 14] out) {{
    smooth = Relu (image)
    large = Resize (smooth, , scales)
    out = Conv (large, kernel1, bias1)
}}"""


@pytest.fixture
def resized(tmp_path):
    """A model in the form that its authors deploy, with a map that could stand before a Resize."""
    model = filled(BELOW)
    model.graph.initializer.append(numpy_helper.from_array(np.float32([1, 1, 2, 2]), "scales"))
    onnx.save(model, tmp_path / "resized.onnx")
    return tmp_path / "resized.onnx"


@pytest.mark.parametrize("command", [("check",), ("fuse", "--check")])
def test_what_is_below_the_deployed_form_counts_where_it_is_asked_for(run, resized, command):
    assert run(*command, resized).code == 0
    ran = run(*command, resized, "--below")
    assert ran.code == 1
    assert "1x1 Conv moved before Resize x2: 2,240 -> 560 multiply-adds" in words(ran.out)


def test_a_setting_asks_for_what_is_below(run, resized, monkeypatch):
    monkeypatch.chdir(resized.parent)
    (resized.parent / "repvgg-onnx.toml").write_text("below = true\n")
    assert run("check", resized).code == 1
    assert run("check", resized, "--no-below").code == 0


def test_what_fuse_wrote_passes_with_below_and_without(run, resized):
    target = resized.with_name("fused.onnx")
    assert run("fuse", resized, "-o", target, "--no-bench").code == 0
    assert run("check", target, "--below").code == 0
    assert run("check", target).code == 0
    assert run("fuse", resized, "-o", target, "--no-bench", "--no-below").code == 0
    assert onnx.load(target).graph.node == onnx.load(resized).graph.node
