"""Rewrites that a user may ask for: outputs left out, and training mode where nothing was ever trained."""

import numpy as np
import onnx
import pytest

from repvgg_onnx import CheckError, autotune, fuse, fuse_many, prove
from repvgg_onnx.compiler.fuse import prepare
from repvgg_onnx.compiler.options import CompileOptions
from repvgg_onnx.graph.load import Source
from tests.models import batch_norm, build, ops

TRAINING = """net (float[2,4,5,7] x) => (float[2,4,5,7] y) {
    a = Conv(x, w)  b, m, v = BatchNormalization<training_mode=1>(a, gamma, beta, mean, var)  y = Relu(b)
}"""
ZEROS, ONES = np.zeros(4, np.float32), np.ones(4, np.float32)
HEADS = """net (float[1,4,5,7] x, bool flag) => (float[1,4,5,7] first, float[1,4,5,7] second) {
    a = Conv(x, w)  b = Mul(a, s)  c = Conv(x, v)  first = Neg(b)
    second = If(flag) <
        then_branch = inner () => (float[1,4,5,7] t) { t = Mul(c, s) },
        else_branch = other () => (float[1,4,5,7] e) { e = Neg(c) }
    >
}"""


def prepared(model, **options):
    made = prepare(Source(model), CompileOptions(**options))
    return made.model, made.notes


def training(**statistics):
    return build(TRAINING, w=(4, 4, 1, 1), **{**batch_norm(4), **statistics})


def test_statistics_that_were_trained_are_used():
    fusion = fuse(training(), assume_inference=True)

    assert ops(fusion.model) == ["Conv", "Relu"]
    assert "1 training-mode nodes were taken to be in inference mode" in fusion.notes[0]


def test_placeholders_are_kept_with_a_warning():
    model = training(mean=ZEROS, var=ONES)
    fusion = fuse(model, assume_inference=True)

    assert fusion.model is model
    assert len(fusion.notes) == 1
    assert "all its statistics are placeholders" in fusion.notes[0]
    assert "--assume-placeholders" in fusion.notes[0]
    assert "training-mode" in {refusal.code for refusal in fusion.refusals}


def test_placeholders_are_used_if_the_user_insists():
    assert ops(fuse(training(mean=ZEROS, var=ONES), assume_placeholders=True).model) == ["Conv", "Relu"]


@pytest.mark.parametrize("name", ["mean", "var"])
def test_one_channel_that_was_trained_is_enough(name):
    statistics = {"mean": ZEROS.copy(), "var": ONES.copy()}
    statistics[name][2] += 1e-6
    assert ops(fuse(training(**statistics), assume_inference=True).model) == ["Conv", "Relu"]


def test_placeholders_that_the_file_computes_are_seen():
    text = TRAINING.replace(
        "a = Conv", "mean = ConstantOfShape(four)  one = Cast<to=1>(ones)  var = Expand(one, four) a = Conv"
    )
    weights = {**batch_norm(4), "four": np.array([4], np.int64), "ones": np.array(1, np.int64)}
    model = build(text, w=(4, 4, 1, 1), **{key: value for key, value in weights.items() if key not in ("mean", "var")})

    assert "placeholders" in fuse(model, assume_inference=True).notes[0]


def test_outputs_that_are_left_out_are_read_by_nobody():
    model = training()
    batch_norm_node = model.graph.node[1]
    batch_norm_node.output[1:] = ["", ""]
    model.graph.node[2].CopyFrom(onnx.helper.make_node("Clip", ["b", "", "high"], ["y"]))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(6, np.float32), "high"))

    assert ops(fuse(model, assume_inference=True).model) == ["Conv", "Clip"]


def test_statistics_that_a_subgraph_reads_keep_the_node():
    text = """net (float[2,4,5,7] x, bool flag) => (float[2,4,5,7] y, float[4] z) {
        y, m, v = BatchNormalization<training_mode=1>(x, gamma, beta, mean, var)
        z = If(flag) <
            then_branch = inner () => (float[4] t) { t = Neg(m) },
            else_branch = other () => (float[4] e) { e = Abs(m) }
        >
    }"""
    model = build(text, **batch_norm(4))
    assert prepared(model, assume_inference=True) == (model, ())


def test_both_kinds_in_one_model_are_told_apart():
    text = """net (float[2,4,5,7] x) => (float[2,4,5,7] y) {
        a, m, v = BatchNormalization<training_mode=1>(x, gamma, beta, mean, var)  b = Conv(a, w)
        y, n, u = BatchNormalization<training_mode=1>(b, gamma2, beta2, mean2, var2)
    }"""
    model = build(text, w=(4, 4, 1, 1), **{**batch_norm(4, "", "2"), "mean": ZEROS, "var": ONES})
    assumed, notes = prepared(model, assume_inference=True)

    assert [len(node.output) for node in assumed.graph.node] == [3, 1, 1]
    assert len(notes) == 2


def heads():
    return build(HEADS, w=(4, 4, 1, 1), v=(4, 4, 1, 1), s=(1,))


@pytest.mark.parametrize(
    ("name", "operators", "inputs", "weights"),
    [
        ("first", ["Conv", "Mul", "Neg"], ["x"], {"w", "s"}),
        ("second", ["Conv", "If"], ["x", "flag"], {"v", "s"}),
    ],
)
def test_only_what_an_output_needs_is_kept(name, operators, inputs, weights):
    model = heads()
    before = model.SerializeToString(deterministic=True)
    reduced, notes = prepared(model, outputs=[name])

    assert ops(reduced) == operators
    assert [value.name for value in reduced.graph.input] == inputs
    assert [value.name for value in reduced.graph.output] == [name]
    assert {tensor.name for tensor in reduced.graph.initializer} == weights
    assert notes[0].startswith("1 of 2 outputs")
    onnx.checker.check_model(reduced, full_check=True)
    assert model.SerializeToString(deterministic=True) == before


def test_naming_all_changes_nothing():
    model = heads()
    assert prepared(model, outputs=["second", "first"]) == (model, ())
    assert prepared(model, outputs=["second", "first"])[0] is model


def test_an_unknown_name_is_an_error():
    with pytest.raises(CheckError, match="no output 'third': its outputs are 'first', 'second'"):
        fuse(heads(), outputs=["third"])


def test_every_call_takes_the_outputs(tmp_path):
    onnx.save(heads(), tmp_path / "model.onnx")

    (file,) = fuse_many([tmp_path / "model.onnx"], outputs=["first"])
    results = [
        prove(heads(), outputs=["first"]).fusion.model,
        onnx.load(file.written),
        autotune(heads(), outputs=["first"], seconds=0.02).fusion.model,
    ]

    assert file.parity is not None
    assert file.parity.passed
    assert [[value.name for value in model.graph.output] for model in results] == [["first"]] * 3
    assert [ops(model) for model in results[:2]] == [["Conv"]] * 2  # a measurement decides about the third
