"""What the commands say of sizes, of weights that may be overridden, of outputs and of models that cannot be run."""

import json

import numpy as np
import onnx
import pytest

from tests.checks.test_sizes import of_height
from tests.cli.models import BLOCK, PLAIN, filled
from tests.cli.test_assumptions import op_types, overridable, words
from tests.models import batch_norm, build

TWO_HEADS = """net (float[1,4,5,7] x, float[1,4,5,7] z) => (float[1,4,5,7] aux, float[1,6,5,7] det) {
    a = Conv(x, w)  b = BatchNormalization(a, gamma, beta, mean, var)  r = Relu(b)
    det = Conv(r, head)
    c = Conv(r, v)  d = BatchNormalization(c, gamma2, beta2, mean2, var2)  aux = Add(d, z)
}"""


@pytest.fixture
def save(tmp_path):
    def save(model, name="model.onnx"):
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def tall(save):
    """A network that runs on a height of 48 alone."""
    return save(of_height(48))


@pytest.fixture
def two_heads(save):
    heads = {"w": (4, 4, 1, 1), "v": (4, 4, 1, 1), "head": (6, 4, 1, 1)}
    return save(build(TWO_HEADS, **heads, **batch_norm(4, "", "2")))


def test_sizes_that_run_are_used_from_beginning_to_end(run, tall, tmp_path):
    ran = run("fuse", tall, "--bench-seconds", "0.02", "--json")

    document = json.loads(ran.out)
    assert (ran.code, document["parity"]["passed"]) == (0, True)
    assert document["sizes"] == document["before"]["profile"]["inputs"] == {"x": [1, 3, 48, 320]}
    assert document["before"]["profile"]["assumed_inputs"] == []
    fused = tmp_path / "model.fused.onnx"
    for ran in (run("inspect", tall), run("fuse", tall, "--no-bench"), run("verify", tall, fused)):
        assert ran.code == 0
        assert "run on x=1x3x48x320, since onnxruntime does not run the model on the usual sizes" in words(ran.out)
    assert json.loads(run("verify", tall, fused, "--json").out)["sizes"] == {"x": [1, 3, 48, 320]}
    bench = run("bench", tall, fused, "--seconds", "0.02")
    assert bench.code == 0
    assert "1x3x48x320" in bench.out


def test_the_usual_sizes_and_those_of_the_user_are_not_mentioned(run, block, tall):
    assert json.loads(run("inspect", block, "--json").out)["sizes"] is None
    document = json.loads(run("inspect", tall, "--shape", "x=1,3,48,96", "--json").out)
    assert document["sizes"] is None
    assert document["before"]["profile"]["inputs"] == {"x": [1, 3, 48, 96]}


@pytest.mark.parametrize("arguments", [("check",), ("fuse", "--no-verify", "--no-bench"), ("fuse", "--check")])
def test_what_only_counts_runs_nothing(run, tall, arguments, monkeypatch):
    def fail(*_, **__):
        raise AssertionError("the model is run")

    monkeypatch.setattr("repvgg_onnx.checks.options.open_session", fail)
    assert run(arguments[0], tall, *arguments[1:]).code in (0, 1)


def test_sizes_that_a_user_gives_and_that_do_not_run_are_exit_3(run, tall):
    ran = run("fuse", tall, "--shape", "x=1,3,49,320")
    assert ran.code == 3
    assert "cannot run the model" in ran.err


@pytest.fixture(params=["run", "load"])
def unusable(request, save):
    """A model of which onnxruntime lacks an operator, or that it cannot run on anything."""
    if request.param == "load":
        text = "net (double[1,4,5,7] x) => (double[1,2,5,7] y) { a = Conv(x, w)  y = Mul(a, s) }"
        return save(build(text, w=(2, 4, 1, 1), s=(1,), dtype=np.float64))
    text = "net (float[N,4,5,7] x) => (float[7,11] y) { a = Conv(x, w)  b = Mul(a, s)  y = Reshape(b, to) }"
    return save(build(text, w=(2, 4, 1, 1), s=(1,), to=np.array([7, 11], np.int64)))


def test_what_onnxruntime_does_not_take_is_exit_3_and_can_be_folded_all_the_same(run, unusable, tmp_path):
    for command in (("fuse", unusable), ("verify", unusable, unusable), ("bench", unusable)):
        ran = run(*command)
        assert ran.code == 3
        assert ran.err.count("\n") == 1
    ran = run("fuse", unusable)
    assert "; --no-verify --no-bench folds the model without running it" in ran.err
    assert "--no-verify" not in run("fuse", unusable, "--no-verify").err
    assert run("inspect", unusable).code == 0
    assert run("fuse", unusable, "--no-verify", "--no-bench").code == 0
    assert "Mul" not in op_types(tmp_path / "model.fused.onnx")


def test_a_model_that_takes_strings_is_judged_on_the_strings_that_are_given(run, save, tmp_path):
    text = "net (float[1,4,5,7] x, string[2] t) => (float[1,2,5,7] y, string[2] u)"
    path = save(build(text + "{ a = Conv(x, w)  y = Mul(a, s)  u = Identity(t) }", w=(2, 4, 1, 1), s=(1,)))
    np.savez(tmp_path / "texts.npz", t=np.array(["one", "two"]))

    ran = run("fuse", path, "--no-bench")
    assert (ran.code, "give it with --inputs" in ran.err) == (2, True)
    ran = run("fuse", path, "--no-bench", "--inputs", tmp_path / "texts.npz")

    assert ran.code == 0
    assert "on 6 feeds" in ran.out
    assert "Mul" not in op_types(tmp_path / "model.fused.onnx")


def test_a_model_that_takes_a_sequence_can_be_folded_without_running_it(run, save, tmp_path):
    text = "net (float[1,4,5,7] x, seq(float[1,2,5,7]) q) => (float[1,M,5,7] y)"
    body = "{ a = Conv(x, w)  b = Mul(a, s)  all = SequenceInsert(q, b)  y = ConcatFromSequence<axis = 1>(all) }"
    path = save(build(text + body, w=(2, 4, 1, 1), s=(1,)))

    ran = run("fuse", path)
    assert ran.code == 3
    assert "only tensors can be fed; --no-verify --no-bench folds the model without running it" in ran.err
    assert run("fuse", path, "--no-verify", "--no-bench").code == 0
    assert "Mul" not in op_types(tmp_path / "model.fused.onnx")


def test_what_nobody_has_to_run_need_not_run(run, save, tmp_path):
    model = build("net (float[N,3,H,W] x) => (float[7,11] y) { y = Reshape(x, to) }", to=np.array([7, 11], np.int64))
    path = save(model)

    assert run("fuse", path).code == 0
    assert (tmp_path / "model.fused.onnx").read_bytes() == path.read_bytes()


def test_the_first_line_counts_what_a_caller_may_override(run, save):
    path = save(overridable(filled(BLOCK)))
    expected = "2 of 2 convolutions have weights that a caller may override; run again with --freeze-initializers"

    for ran in (run("fuse", path, "--no-bench"), run("inspect", path), run("check", path)):
        assert ran.code == 0
        assert f": nothing to fold; {expected} (1 region)" in words(ran.out)
    found = json.loads(run("inspect", path, "--json").out)["overridable"]
    assert found == {"convolutions": 2, "total": 2, "regions": 1}
    many = json.loads(run("check", path, "--json").out)
    assert many["models"][0]["report"]["overridable"] == found


def test_only_what_a_caller_really_may_override_is_counted(run, save):
    partly = filled(BLOCK)
    kernel = next(tensor for tensor in partly.graph.initializer if tensor.name == "kernel1")
    partly.graph.input.append(onnx.helper.make_tensor_value_info("kernel1", kernel.data_type, kernel.dims))
    bias = filled(PLAIN)
    bias.graph.input.append(onnx.helper.make_tensor_value_info("bias3", 1, [4]))
    old = overridable(filled(BLOCK))
    old.ir_version = 3

    found = [json.loads(run("inspect", save(model), "--json").out)["overridable"] for model in (partly, bias, old)]

    assert found[0] == {"convolutions": 1, "total": 2, "regions": 1}
    assert found[1:] == [None, None]
    frozen = run("inspect", save(partly), "--freeze-initializers", "--json")
    assert json.loads(frozen.out)["overridable"] is None


def test_outputs_that_nobody_reads_are_left_out(run, two_heads, tmp_path):
    ran = run("fuse", two_heads, "--outputs", "det", "--no-bench", "--json")

    document = json.loads(ran.out)
    assert (ran.code, document["baseline"], document["parity"]["passed"]) == (0, "input with notes", True)
    assert document["notes"] == [
        "1 of 2 outputs and the 3 nodes that only they need were left out: aux",
        "inputs that nothing needs any more: z",
    ]
    fused = onnx.load(tmp_path / "model.fused.onnx")
    assert [node.op_type for node in fused.graph.node] == ["Conv", "Relu", "Conv"]
    assert [value.name for value in fused.graph.output] == ["det"]
    assert [value.name for value in fused.graph.input] == ["x"]
    assert len(document["regions"]) == 1
    onnx.checker.check_model(fused, full_check=True)


def test_all_outputs_are_no_change_and_keep_their_order(run, two_heads, tmp_path):
    ran = run("fuse", two_heads, "--outputs", "det", "--outputs", "aux", "--no-bench", "--json")

    assert json.loads(ran.out)["notes"] == []
    assert [value.name for value in onnx.load(tmp_path / "model.fused.onnx").graph.output] == ["aux", "det"]


@pytest.mark.parametrize("command", ["fuse", "inspect", "check"])
def test_an_unknown_output_is_an_error_that_lists_the_known_ones(run, two_heads, command):
    ran = run(command, two_heads, "--outputs", "dett")

    assert ran.code == 2
    assert "the model has no output 'dett': its outputs are 'aux', 'det'" in ran.err


def test_outputs_are_a_setting(run, two_heads, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "repvgg-onnx.toml").write_text('[models."model.onnx"]\noutputs = ["det"]\n')

    assert "1 of 2 outputs" in words(run("inspect", two_heads).out)
    assert "outputs" in run("check", two_heads, "--show-config").out
    assert run("check", two_heads).code == 1


def test_large_weights_that_are_standardized_are_read_from_the_file(run, save):
    """Weights of this size stay in the file, whatever is asked before they are needed."""
    text = """net (float[N,64,5,7] x) => (float[N,96,5,7] y) {
        r = Reshape(w, rows)  s, i, j = BatchNormalization<training_mode=1>(r, ones, zeros, zeros, ones)
        k = Reshape(s, shape)  a = Conv<pads=[1,1,1,1]>(x, k)  y = Mul(a, two)
    }"""
    ones = np.ones(96, np.float32)
    rows, shape = np.array([1, 96, -1]), np.array([96, 64, 3, 3])
    arrays = {"rows": rows, "shape": shape, "ones": ones, "zeros": 0 * ones, "two": np.array(2, np.float32)}
    model = save(build(text, w=(96, 64, 3, 3), **arrays))
    for ran in (run("inspect", model), run("fuse", model, "--no-bench")):
        assert (ran.code, ran.err) == (0, "")
        assert "kernels that a training-mode BatchNormalization standardizes were computed once" in words(ran.out)
    assert run("check", model.with_name("model.fused.onnx")).code == 0
