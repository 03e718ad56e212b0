"""Errors that people run into say what to do about them."""

import os

import numpy as np
import onnx
import pytest

from tests.cli.models import BLOCK, filled

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"
ADVICE = "is a Git LFS pointer, not the file itself: run 'git lfs pull' to fetch it\n"


@pytest.mark.parametrize("command", [["fuse"], ["check"], ["inspect"], ["verify", "OTHER"], ["bench"]], ids=" ".join)
def test_a_model_that_is_a_pointer(run, plain, tmp_path, command):
    path = tmp_path / "net.onnx"
    path.write_text(POINTER)

    ran = run(command[0], *(plain for _ in command[1:]), path)

    assert (ran.code, ran.err) == (3, f"error: {path}: {ADVICE}")


def test_external_data_that_is_a_pointer(run, tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(filled(BLOCK), path, save_as_external_data=True, location="net.data", size_threshold=0)
    (tmp_path / "net.data").write_text(POINTER)

    ran = run("fuse", path)

    assert ran.code == 3
    assert ran.err.endswith(f"needs the file 'net.data', which {ADVICE}")


def test_inputs_that_are_a_pointer(run, block, tmp_path):
    path = tmp_path / "data.npz"
    path.write_text(POINTER)

    ran = run("fuse", block, "--inputs", path)

    assert ran.code == 2
    assert f"{path} {ADVICE}" in ran.err


@pytest.mark.parametrize("kind", [np.float64, np.int64])
def test_arrays_of_another_type(run, block, tmp_path, kind):
    np.savez(tmp_path / "data.npz", image=np.ones((2, 4, 5, 7), kind))

    ran = run("fuse", block, "--inputs", tmp_path / "data.npz")

    assert ran.code == 2
    assert f"takes float32 values, but the array given holds {kind.__name__}" in ran.err
    assert "save array.astype(np.float32) instead" in ran.err


@pytest.mark.parametrize("name", ["block.onnx", "link.onnx", "./block.onnx"])
def test_an_output_that_is_the_input(run, block, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.onnx").symlink_to("block.onnx")
    before = block.read_bytes()

    ran = run("fuse", "block.onnx", "-o", name)

    assert ran.code == 2
    assert "is the input; give --in-place instead of -o to overwrite it" in ran.err
    assert block.read_bytes() == before


def test_an_output_folder_that_holds_the_inputs(run, block, plain, tmp_path):
    ran = run("fuse", block, plain, "-o", tmp_path)

    assert ran.code == 2
    assert "give --in-place instead of -o to overwrite the inputs" in ran.err


def test_an_output_that_is_a_folder(run, block, tmp_path):
    ran = run("fuse", block, "-o", tmp_path)

    assert ran.code == 2
    assert f"{tmp_path} is a folder; write {tmp_path}{os.sep} to put the model into it" in ran.err


@pytest.mark.parametrize("exists", [True, False])
def test_several_models_into_what_is_no_folder(run, block, plain, tmp_path, exists):
    path = tmp_path / "out.onnx"
    if exists:
        path.write_bytes(b"mine")
    before = sorted(tmp_path.iterdir())

    ran = run("fuse", block, plain, "-o", path)

    assert ran.code == 2
    assert "for several models it has to name a folder" in ran.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("slash", ["", "/"])
def test_several_models_into_a_folder_that_is_not_there_yet(run, block, plain, tmp_path, slash):
    assert run("fuse", block, plain, "--no-bench", "-o", f"{tmp_path / 'out'}{slash}").code == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["block.onnx", "plain.onnx"]


@pytest.mark.parametrize("command", [["fuse"], ["check"]], ids=" ".join)
def test_a_pattern_that_matches_nothing(run, tmp_path, command):
    pattern = tmp_path / "none*.onnx"

    ran = run(*command, pattern)

    assert (ran.code, ran.err) == (3, f"error: {pattern}: no file matches this pattern\n")


def test_a_folder_in_place_of_a_model(run, tmp_path):
    ran = run("check", tmp_path)

    assert ran.code == 3
    assert ran.err.endswith(f"give the models in it, such as {tmp_path}/*.onnx\n")


@pytest.mark.parametrize("name", ["cpu", "CPU", "cpuexecutionprovider", "CPUExecutionProvider"])
def test_providers_have_short_names(run, block, name):
    ran = run("fuse", block, "--provider", name, "--bench-seconds", "0.05")

    assert ran.code == 0
    assert "CPUExecutionProvider" not in ran.out  # the usual one is not named


def test_a_short_name_of_a_provider_that_is_not_there(run, block):
    ran = run("fuse", block, "--provider", "cuda")

    assert ran.code == 2
    assert "provider 'CUDAExecutionProvider' is not available: this onnxruntime has " in ran.err


@pytest.mark.parametrize("name", ["model.onnx", "my model.onnx", "folder"])
def test_a_model_in_place_of_a_command(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()

    ran = run(name, "--no-bench")

    assert (ran.code, ran.out) == (2, "")
    quoted = f"'{name}'" if " " in name else name
    assert f"{name} is not a command; for a model, run 'repvgg-onnx fuse {quoted} --no-bench'" in ran.err


def test_a_word_in_place_of_a_command_is_no_model(run):
    assert "No such command" in run("frobnicate").err


OPTIONS = ["--freeze-initializers", "--max-constant-mb", "8", "--shape", "image=2,4,5,7"]


@pytest.mark.parametrize("command", [["check"], ["fuse", "--check"]], ids=" ".join)
def test_a_check_that_fails_says_what_to_run(run, block, command):
    ran = run(*command, block, *OPTIONS)

    line = f"to fold them, run: repvgg-onnx fuse {block} --in-place {' '.join(OPTIONS)}"
    assert ran.code == 1
    assert "".join(line.split()) in "".join(ran.out.split())


@pytest.mark.parametrize("kind", ["json", "junit", "md", "html", "sarif", "github"])
def test_every_report_of_a_check_that_fails_says_what_to_run(run, block, kind):
    path = block.rename(block.with_name("Block-A.onnx"))
    line = f"repvgg-onnx fuse {path} --in-place --freeze-initializers"

    for command in (["check"], ["fuse", "--check"]):
        target = kind if kind == "github" else f"{kind}:-"
        ran = run(*command, path, "--freeze-initializers", "--report", target)

        assert ran.code == 1
        assert line in ran.out


def test_quiet_says_it_on_the_line_of_the_error(run, block):
    ran = run("check", block, "--quiet")

    assert (
        ran.err == f"error: {block}: 1 region can be folded; to fold them, run: repvgg-onnx fuse {block} --in-place\n"
    )


def test_what_it_says_to_run_mends_it(run, block):
    assert run("check", block).code == 1
    assert run("fuse", block, "--in-place", "--no-bench").code == 0
    assert run("check", block).code == 0


def test_a_check_that_passes_says_nothing_to_run(run, plain, block):
    assert "to fold them" not in run("check", plain).out
    assert "to fold them" not in run("check", block, "--max-foldable", "1").out


def test_a_busy_machine_is_said(run, block, monkeypatch):
    monkeypatch.setattr("repvgg_onnx.cli.fuse.obstacles", lambda environment, threads: ("the load is high: wait",))

    assert "noisy: the load is high: wait" in run("fuse", block, "--bench-seconds", "0.05").out
    assert "noisy" not in run("fuse", block, "--no-bench").out
    assert "noisy" not in run("check", block).out


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_busy_machine_is_said_once_below_the_table(run, block, plain, tmp_path, monkeypatch, jobs):
    loads = iter(["the load is high: wait", *(["the load is our own"] * 9)])
    monkeypatch.setattr("repvgg_onnx.cli.fuse.describe_environment", lambda: None)
    monkeypatch.setattr("repvgg_onnx.cli.fuse.obstacles", lambda environment, threads: (next(loads),))

    ran = run("fuse", block, plain, "-o", tmp_path / "out", "--bench-seconds", "0.05", "--jobs", jobs)

    assert ran.code == 0
    assert ran.out.count("noisy: the load is high: wait") == 1
    assert "our own" not in ran.out
