"""What a user may ask to take for granted: reported, compared with, and written."""

import json
from typing import get_type_hints

import onnx
import pytest

import repvgg_onnx.cli.verify as verify
import repvgg_onnx.workflows.prove as prove
from repvgg_onnx import autotune, fuse
from repvgg_onnx import prove as prove_model
from repvgg_onnx.checks.options import CheckKeywords, CheckOptions
from repvgg_onnx.cli import cli
from repvgg_onnx.compiler.fuse import prepare
from repvgg_onnx.compiler.options import CompileKeywords, CompileOptions
from repvgg_onnx.graph.load import Source
from tests.cli.models import BLOCK, PLAIN, SHAPES, filled
from tests.cli.reading import op_types, words

FROZEN = "inputs with initializers were frozen"


def in_training_mode(model):
    batch_norm = next(node for node in model.graph.node if node.op_type == "BatchNormalization")
    batch_norm.attribute.add(name="training_mode", type=onnx.AttributeProto.INT, i=1)
    batch_norm.output.extend(["mean_now", "var_now"])
    return model


def overridable(model):
    """The model with its initializers among its inputs, as IR version 3 asks for."""
    for tensor in model.graph.initializer:
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, SHAPES[tensor.name]))
    return model


@pytest.fixture
def training(tmp_path):
    path = tmp_path / "training.onnx"
    onnx.save(in_training_mode(filled(BLOCK)), path)
    return path


@pytest.fixture
def inputs(tmp_path):
    path = tmp_path / "inputs.onnx"
    onnx.save(overridable(filled(BLOCK)), path)
    return path


@pytest.fixture
def plain_inputs(tmp_path):
    """Nothing to fold, but inputs to freeze."""
    path = tmp_path / "plain.onnx"
    onnx.save(overridable(filled(PLAIN)), path)
    return path


def test_every_keyword_is_a_field_and_an_option():
    compiling, checking = set(CompileOptions.__dataclass_fields__), set(CheckOptions.__dataclass_fields__)
    options = {option.name for option in cli.commands["fuse"].params}

    assert set(get_type_hints(CompileKeywords)) == compiling
    assert set(get_type_hints(CheckKeywords)) == checking
    assert compiling | checking - {"seeds"} < options


def test_an_unknown_keyword_is_named():
    for work in (fuse, prove_model, autotune):
        with pytest.raises(TypeError, match="'shape'"):
            work(filled(PLAIN), shape={})


def test_without_the_options_nothing_is_taken_for_granted(run, training, inputs):
    for path, code in ((training, "training-mode"), (inputs, "overridable")):
        document = json.loads(run("inspect", path, "--json").out)
        assert code in {refusal["code"] for refusal in document["refusals"]}
        assert (document["notes"], document["baseline"]) == ([], "input")


def test_training_mode_is_rewritten_folded_and_compared_in_inference_mode(run, training, tmp_path):
    ran = run("fuse", training, "--assume-inference", "--bench-seconds", "0.1")

    assert (ran.code, ran.err) == (0, "")
    assert op_types(tmp_path / "training.fused.onnx") == ["Conv", "Relu"]
    assert "Taken for granted" in ran.out
    assert "inference mode" in words(ran.out)
    assert "compared with the input so changed, not with the file" in words(ran.out)
    assert "same outputs" in ran.out
    assert run("verify", training, tmp_path / "training.fused.onnx").code == 1  # the file computes something else


def test_both_checks_get_the_prepared_input(run, training, monkeypatch):
    baselines = []
    measure, reference = verify.measure, prove.reference

    def measuring(models, *arguments):
        baselines.append(models[0])
        return measure(models, *arguments)

    def referring(before, *arguments, **options):
        baselines.append(before)
        return reference(before, *arguments, **options)

    monkeypatch.setattr(verify, "measure", measuring)
    monkeypatch.setattr(prove, "reference", referring)

    assert run("fuse", training, "--assume-inference", "--bench-seconds", "0.1").code == 0

    expected = prepare(Source(onnx.load(training)), CompileOptions(assume_inference=True)).model
    assert baselines == [expected, expected]


@pytest.mark.usefixtures("wrong_fuse")
def test_a_fold_that_is_wrong_fails_against_the_prepared_input(run, training, tmp_path):
    assert run("fuse", training, "--assume-inference", "--no-bench").code == 1
    assert list(tmp_path.iterdir()) == [training]


def test_initializers_that_are_inputs_are_frozen(run, inputs, tmp_path):
    ran = run("fuse", inputs, "--freeze-initializers", "--no-bench", "--json")

    document = json.loads(ran.out)
    assert (ran.code, document["verdict"], document["baseline"]) == (0, "fused", "input with notes")
    assert FROZEN in document["notes"][0]
    assert document["parity"]["passed"] is True
    fused = onnx.load(tmp_path / "inputs.fused.onnx")
    assert [value.name for value in fused.graph.input] == ["image"]
    assert [node.op_type for node in fused.graph.node] == ["Conv", "Relu"]


def test_an_option_that_changes_nothing_leaves_the_baseline_alone(run, block):
    ran = run("fuse", block, "--assume-inference", "--freeze-initializers", "--no-bench", "--json")

    document = json.loads(ran.out)
    assert (document["notes"], document["baseline"]) == ([], "input")


def test_what_is_taken_for_granted_is_written_where_nothing_folds(run, plain_inputs, tmp_path):
    ran = run("fuse", plain_inputs, "--freeze-initializers")

    assert (ran.code, ran.err) == (0, "")
    assert words(ran.out).endswith("with nothing folded")
    assert len(onnx.load(tmp_path / "plain.fused.onnx").graph.input) == 1


def test_in_place_too(run, plain_inputs):
    assert run("fuse", plain_inputs, "--freeze-initializers", "--in-place").code == 0
    assert len(onnx.load(plain_inputs).graph.input) == 1


def test_check_and_inspect_say_what_would_be_taken_for_granted(run, inputs, tmp_path):
    check = run("fuse", inputs, "--freeze-initializers", "--check")
    look = run("inspect", inputs, "--freeze-initializers")

    assert (check.code, look.code) == (1, 0)
    assert FROZEN in words(check.out)
    assert FROZEN in words(look.out)
    assert "compared" not in check.out + look.out  # nothing was
    assert list(tmp_path.iterdir()) == [inputs]
