"""The command ``triton``, and ``fuse --target tensorrt``."""

import json
import shlex
import sys

import onnx
import pytest

from repvgg_onnx.graph.load import open_model
from repvgg_onnx.serving.messages import model_config_messages, parse_config
from tests.cli.models import BLOCK, HEADER, PLAIN, filled


@pytest.fixture
def models(tmp_path):
    return tmp_path / "models"


@pytest.fixture
def refused(tmp_path):
    """A model with an operator that TensorRT does not support."""
    path = tmp_path / "unique.onnx"
    onnx.save(onnx.parser.parse_model(f"{HEADER} g (float[4] x) => (float[N] y) {{ y = Unique (x) }}"), path)
    return path


def test_what_was_written_and_how_to_serve_it_is_said(run, plain, models):
    ran = run("triton", plain, models, "--name", "net", "--max-batch-size", 8)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == [
        f"wrote {models}/net/config.pbtxt",
        f"wrote {models}/net/1/model.onnx",
        f"serve it: tritonserver --model-repository={models.resolve()}",
    ]
    assert (models / "net" / "1" / "model.onnx").read_bytes() == plain.read_bytes()


def test_every_option_reaches_the_configuration(run, plain, models):
    options = ["--name", "net", "--version", 3, "--max-batch-size", 8, "--tensorrt", "fp16", "--instances", 2]
    shape = ["--warmup", "--shape", "image=8,4,5,7"]

    ran = run("triton", plain, models, *options, "--dynamic-batching", *shape, "--quiet")

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert (models / "net" / "3" / "model.onnx").is_file()
    config = parse_config((models / "net" / "config.pbtxt").read_text())
    assert {field.name for field, _ in config.ListFields()} == {
        "name",
        "backend",
        "max_batch_size",
        "input",
        "output",
        "instance_group",
        "dynamic_batching",
        "optimization",
        "model_warmup",
    }


def test_a_second_version_keeps_the_configuration(run, plain, models):
    run("triton", plain, models, "--name", "net")

    ran = run("triton", plain, models, "--name", "net", "--version", 2)

    assert ran.out.splitlines()[0] == f"kept {models}/net/config.pbtxt"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--name", "net"], "version 1 is there already"),
        (["--name", "net", "--version", 2, "--max-batch-size", 4], "config.pbtxt says something else of"),
        (["--name", "a/b"], "not a valid model name"),
        (["--name", "net", "--version", 2, "--dynamic-batching"], "--max-batch-size of 1 or more"),
        (["--name", "net", "--version", 2, "--shape", "image=1,4,5,7"], "--shape requires --warmup"),
        (["--name", "net", "--version", 2, "--warmup", "--shape", "x=1"], "the model has no input 'x'"),
        (["--name", "net", "--version", 0], "--version"),
        ([], "--name"),
    ],
)
def test_misuse_is_one_line(run, plain, models, options, told):
    run("triton", plain, models, "--name", "net")

    ran = run("triton", plain, models, *options)

    assert ran.code == 2
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_force_replaces(run, plain, models):
    run("triton", plain, models, "--name", "net")

    ran = run("triton", plain, models, "--name", "net", "--max-batch-size", 4, "--force")

    assert ran.code == 0
    assert parse_config((models / "net" / "config.pbtxt").read_text()).max_batch_size == 4


def test_a_model_that_is_not_there_is_exit_3(run, tmp_path, models):
    ran = run("triton", tmp_path / "none.onnx", models, "--name", "net")

    assert (ran.code, ran.err) == (3, f"error: {tmp_path / 'none.onnx'}: no such file\n")
    assert not models.exists()


def test_a_repository_that_cannot_be_written_is_exit_3(run, plain, tmp_path):
    ran = run("triton", plain, tmp_path / "none" / "models", "--name", "net")

    assert ran.code == 3
    assert ran.err.startswith(f"error: {tmp_path / 'none' / 'models' / 'net'}: cannot be written")


def test_missing_tritonclient_is_one_line_with_the_extra(run, plain, models, monkeypatch):
    monkeypatch.delitem(sys.modules, model_config_messages().__spec__.name)
    monkeypatch.setitem(sys.modules, "tritonclient", None)

    ran = run("triton", plain, models, "--name", "net")

    assert ran.code == 2
    assert "repvgg-onnx[triton]" in ran.err
    assert not models.exists()


def test_a_target_that_takes_the_model_says_how_to_build(run, block, tmp_path):
    out = tmp_path / "out.onnx"

    ran = run("fuse", block, "-o", out, "--no-bench", "--target", "tensorrt", "--shape", "image=8,4,5,7")

    assert (ran.code, ran.err) == (0, "")
    assert "nothing found that the parser of TensorRT 10.15 refuses" in ran.out
    assert "--maxShapes=image:8x4x5x7" in ran.out
    assert out.is_file()
    assert max(map(len, ran.out.replace(str(tmp_path), "").splitlines())) <= 80


def test_the_command_of_the_report_is_in_the_json_on_one_line(run, block, tmp_path):
    options = ["--no-bench", "--target", "tensorrt", "--shape", "image=8,4,5,7", "--json"]

    target = json.loads(run("fuse", block, "-o", tmp_path / "out.onnx", *options).out)["target"]

    assert (target["passed"], target["findings"]) == (True, [])
    assert shlex.split(target["command"])[1] == f"--onnx={tmp_path / 'out.onnx'}"


def test_a_warning_does_not_fail(run, block, tmp_path):
    ran = run("fuse", block, "-o", tmp_path / "out.onnx", "--no-bench", "--target", "tensorrt")

    assert ran.code == 0
    assert "warning assumed-sizes: input 'image' has dynamic axes" in ran.out


def test_a_model_that_would_be_refused_is_not_written(run, refused, tmp_path):
    ran = run("fuse", refused, "-o", tmp_path / "out.onnx", "--target", "tensorrt")

    assert ran.code == 1
    assert ran.err == f"error: {refused}: the parser of TensorRT 10.15 would refuse the model; nothing was written\n"
    assert "error unsupported: Unique is not supported (y)" in ran.out
    assert not (tmp_path / "out.onnx").exists()


def test_check_looks_at_the_target_too(run, refused):
    assert run("fuse", refused, "--check").code == 0
    assert run("fuse", refused, "--check", "--target", "tensorrt").code == 1


def test_without_a_target_the_report_is_silent_about_it(run, block, tmp_path):
    ran = run("fuse", block, "-o", tmp_path / "out.onnx", "--no-bench", "--json")

    assert json.loads(ran.out)["target"] is None


@pytest.mark.parametrize("text", [BLOCK, PLAIN])
def test_side_files_that_the_output_needs_are_told(run, tmp_path, text):
    source, target = tmp_path / "net.onnx", tmp_path / "net.fused.onnx"
    onnx.save(filled(text), source, save_as_external_data=True, location="net.data", size_threshold=0)

    ran = run("fuse", source, "--no-bench", "--target", "tensorrt")

    assert ran.code == 0
    assert ("side-files" in ran.out) == bool(open_model(target).sides)
