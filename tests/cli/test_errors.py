import errno
import logging
import os
from dataclasses import replace

import click
import numpy as np
import onnx
import pytest

from repvgg_onnx.cli import boundary, candidates
from repvgg_onnx.compiler.lifters import LIFTERS
from repvgg_onnx.errors import CheckError, ExtraMissingError, ModelError
from tests.cli.models import BLOCK, filled


def missing(path):
    pass


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("Dear onnx,\nthis is a letter.\n" * 20)


def truncated(path):
    path.write_bytes(filled(BLOCK).SerializeToString()[:-100])


def directory(path):
    path.mkdir()


def unknown_domain(path):
    model = filled(BLOCK)
    model.graph.node[0].domain = "com.example"
    onnx.save(model, path)


def too_new(path):
    model = filled(BLOCK)
    model.opset_import[0].version = 999
    onnx.save(model, path)


def side_file_missing(path):
    onnx.save(filled(BLOCK), path, save_as_external_data=True, location="gone.data", size_threshold=0)
    (path.parent / "gone.data").unlink()


BAD = [missing, empty, text, truncated, directory, unknown_domain, too_new, side_file_missing]


@pytest.mark.parametrize("command", [["fuse"], ["fuse", "--in-place"], ["fuse", "--check"], ["inspect"]], ids=" ".join)
@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_unusable_input_is_one_line_exit_3_and_no_file(run, tmp_path, make, command):
    path = tmp_path / "model.onnx"
    make(path)
    before = sorted(tmp_path.iterdir())

    ran = run(*command, path)

    assert ran.code == 3
    assert ran.out == ""
    assert ran.err.startswith(f"error: {path}: ")
    assert ran.err.count("\n") == 1
    assert "internal error" not in ran.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", ["verify", "bench"])
@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_unusable_models_are_one_line_and_exit_3_in_either_place(run, tmp_path, block, make, command):
    path = tmp_path / "model.onnx"
    make(path)

    for pair in ((path, block), (block, path)):
        ran = run(command, *pair)
        assert (ran.code, ran.out) == (3, "")
        assert ran.err.count("\n") == 1
        assert "internal error" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--in-place", "-o", "out.onnx"], "--in-place and --output are mutually exclusive"),
        (["--check", "-o", "out.onnx"], "--check and --output are mutually exclusive"),
        (["--check", "--in-place"], "--check and --in-place are mutually exclusive"),
        (["--check", "--min-speedup", "1.1"], "--check and --min-speedup are mutually exclusive"),
        (["--no-bench", "--min-speedup", "1.1"], "--no-bench and --min-speedup are mutually exclusive"),
        (["--no-verify", "--tolerance", "0.1"], "--no-verify and --tolerance are mutually exclusive"),
        (["--threads", "0"], "0 is not in the range x>=1"),
        (["--tolerance", "0"], "0.0 is not in the range x>0"),
        (["--bench-seconds", "-1"], "-1.0 is not in the range x>0"),
        (["--shape", "image"], "shape 'image' is not of the form NAME=1,3,224,224"),
        (["--shape", "other=1,4,5,7"], "no input 'other'"),
        (["--shape", "image=1,3,5,7"], "does not fit"),
        (["--provider", "NoSuchProvider"], "'NoSuchProvider' is not available"),
        (["--inputs", "missing.npz"], "missing.npz does not exist"),
        (["-o", "no/such/folder/out.onnx"], "folder no/such/folder does not exist"),
        (["-o", "."], ". is a folder"),
        (["--json=no/such/folder/out.json"], "folder no/such/folder does not exist"),
        (["--frobnicate"], "No such option"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_misuse_is_one_line_exit_2_and_no_file(run, block, tmp_path, monkeypatch, arguments, sentence):
    monkeypatch.chdir(tmp_path)

    ran = run("fuse", "block.onnx", *arguments)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: ")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert os.listdir() == ["block.onnx"]


def test_misuse_is_found_before_any_work(run, block, tmp_path, monkeypatch):
    monkeypatch.setattr(candidates, "open_model", lambda path: pytest.fail("the model was read"))

    assert run("fuse", block, "-o", tmp_path / "none" / "out.onnx").code == 2


@pytest.mark.parametrize("kind", ["same", "dotted", "symlink", "hardlink"])
def test_the_input_is_not_overwritten_under_any_name(run, block, tmp_path, kind):
    other = {"same": block, "dotted": tmp_path / "." / ".." / tmp_path.name / "block.onnx"}.get(
        kind, tmp_path / "x.onnx"
    )
    if kind == "symlink":
        other.symlink_to(block)
    if kind == "hardlink":
        other.hardlink_to(block)
    before = block.read_bytes()

    ran = run("fuse", block, "-o", other)

    assert ran.code == 2
    assert "is the input; give --in-place" in ran.err
    assert block.read_bytes() == before


def test_the_default_name_may_not_be_the_input_either(run, block, tmp_path):
    (tmp_path / "link.onnx").symlink_to(block)
    (tmp_path / "link.fused.onnx").symlink_to(block)

    assert run("fuse", tmp_path / "link.onnx").code == 2


@pytest.mark.parametrize("command", [["fuse"], ["inspect"], ["verify"], ["bench"]], ids=" ".join)
def test_the_json_report_does_not_overwrite_a_model(run, block, command):
    before = block.read_bytes()
    models = [block] * (2 if command[0] in ("verify", "bench") else 1)

    ran = run(*command, *models, f"--json={block}")

    assert ran.code == 2
    assert block.read_bytes() == before


def test_the_json_report_and_the_model_are_two_files(run, block, tmp_path):
    ran = run("fuse", block, "-o", tmp_path / "out", f"--json={tmp_path / 'out'}")

    assert ran.code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("arguments", [[], ["fuse"], ["verify", "a.onnx"], ["frobnicate"], ["export", "repvgg-a0"]])
def test_incomplete_commands_are_exit_2(run, arguments):
    assert run(*arguments).code == 2


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ModelError("is odd"), 3, "is odd"),
        (CheckError("is asked too much"), 2, "is asked too much"),
        (ExtraMissingError("needs torch"), 2, "needs torch"),
        (PermissionError(errno.EACCES, "Permission denied", "x.onnx"), 2, "x.onnx: Permission denied"),
        (MemoryError(), 3, "not enough memory"),
        (
            ZeroDivisionError("division by zero"),
            3,
            "internal error: ZeroDivisionError: division by zero (run with --debug)",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_every_exception_is_one_line(run, block, monkeypatch, error, code, sentence):
    def fail(path):
        raise error

    monkeypatch.setattr(candidates, "open_model", fail)

    ran = run("fuse", block)

    assert ran.code == code
    assert ran.err.endswith(f"{sentence}\n")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("error", [ModelError("is odd"), ZeroDivisionError("division by zero")], ids=repr)
def test_debug_adds_the_traceback(run, block, monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr(candidates, "open_model", fail)

    ran = run("fuse", block, "--debug")

    assert ran.code == 3
    assert "Traceback (most recent call last)" in ran.err
    assert ran.err.splitlines()[-1].startswith("error: ")


def test_debug_is_no_traceback_for_a_failed_check(run, block):
    ran = run("fuse", block, "--check", "--debug")

    assert (ran.code, ran.err.count("\n")) == (1, 1)


def test_an_interrupt_is_exit_130_without_a_traceback(run, block, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(candidates, "open_model", interrupt)

    ran = run("fuse", block)

    assert ran.code == 130
    assert ran.err.strip() == ""


def test_control_characters_in_an_error_stay_off_the_terminal(run, tmp_path):
    ran = run("fuse", tmp_path / "evil\x1b[2J\nname.onnx")

    assert ran.code == 3
    assert "\x1b" not in ran.err
    assert ran.err.count("\n") == 1


def test_an_output_that_cannot_be_written_is_one_line(run, block, tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)

    ran = run("fuse", block, "--no-bench")

    target = tmp_path / "block.fused.onnx"
    assert ran.err == f"error: {target}: cannot be written: No space left on device\n"
    assert ran.code == 3
    assert os.listdir(tmp_path) == ["block.onnx"]


def test_inputs_of_pickles_are_refused(run, block, tmp_path):
    np.savez(tmp_path / "evil.npz", image=np.array([{}], dtype=object))

    ran = run("fuse", block, "--inputs", tmp_path / "evil.npz")

    assert ran.code == 2
    assert ran.err.count("\n") == 1


def test_exit_codes_of_the_exceptions_are_the_documented_ones():
    kinds = (boundary.CheckFailedError, boundary.MisuseError, boundary.BadInputError)

    assert [kind.exit_code for kind in kinds] == [1, 2, 3]
    assert all(issubclass(kind, click.ClickException) for kind in kinds)


@pytest.mark.parametrize(("options", "shown"), [((), False), (("--debug",), True)])
def test_a_fault_that_costs_a_region_only_is_traced_with_debug(run, block, monkeypatch, options, shown):
    monkeypatch.setitem(LIFTERS, "Add", replace(LIFTERS["Add"], lift=lambda *_: [][1]))

    ran = run("inspect", block, *options)

    assert ran.code == 0
    assert "lifting Add failed with IndexError: list index out of range; please" in " ".join(ran.out.split())
    assert ("Traceback" in ran.err) == shown
    assert not logging.getLogger("repvgg_onnx").handlers
