"""Inputs, ranges, labels and ``--bisect`` on the command line."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

CLASSIFIER = """<ir_version: 8, opset_import: ["" : 17]>
net (float[N, 4] image) => (float[N, 6] scores) {
    scores = MatMul (image, kernel)
}"""
EMBEDDING = """<ir_version: 8, opset_import: ["" : 17]>
net (int64[N, 5] token) => (float[N, 5, 4] out) {
    out = Gather (table, token)
}"""


def saved(path, text, name, shape):
    model = onnx.parser.parse_model(text)
    weights = np.random.default_rng(5).standard_normal(shape).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, name))
    onnx.save(model, path)
    return path, weights


@pytest.fixture
def classifier(tmp_path):
    """A classifier with an array of rows, and the classes that it chooses."""
    path, kernel = saved(tmp_path / "classifier.onnx", CLASSIFIER, "kernel", (4, 6))
    rows = np.random.default_rng(6).standard_normal((7, 4)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "labels.npy", (rows @ kernel).argmax(axis=1))
    return path


@pytest.fixture
def embedding(tmp_path):
    return saved(tmp_path / "embedding.onnx", EMBEDDING, "table", (3, 4))[0]


def image(rows, fill=1.0):
    return np.full((rows, 4, 5, 7), fill, np.float32)


def feeds(ran):
    return json.loads(ran.out)["parity"]["feeds"]


def test_inputs_of_every_kind_are_fed_and_several_are_taken(run, block, tmp_path):
    np.savez(tmp_path / "a.npz", image=image(2))
    np.save(tmp_path / "b.npy", image(3))
    (tmp_path / "test_data_set_0").mkdir()
    tensor = numpy_helper.from_array(image(1), "image")
    (tmp_path / "test_data_set_0" / "input_0.pb").write_bytes(tensor.SerializeToString())
    sources = [argument for name in ("a.npz", "b.npy", "test_data_set_0") for argument in ("--inputs", tmp_path / name)]

    ran = run("verify", block, block, *sources, "--json")

    assert ran.code == 0
    assert feeds(ran)[-3:] == ["a.npz", "b.npy", "test_data_set_0"]


@pytest.mark.parametrize("command", ["verify", "bench", "fuse"])
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01\x00", b"PK\x05\x06" + bytes(18), b"hello"])
def test_corrupt_inputs_are_one_line_and_exit_2(run, block, tmp_path, command, content):
    (tmp_path / "bad.npy").write_bytes(content)

    ran = run(command, block, *([block] if command != "fuse" else []), "--inputs", tmp_path / "bad.npy")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_a_range_keeps_drawn_indices_in_the_table(run, embedding, command):
    ran = run(command, embedding, embedding)
    assert ran.code == 3
    assert "--range token=0,1" in ran.err
    extra = ["--seconds", "0.01"] if command == "bench" else []
    assert run(command, embedding, embedding, "--range", "token=0,2", *extra).code == 0


@pytest.mark.parametrize("text", ["token", "token=2,0", "token=0,nan", "other=0,1", "token=-0.5,-0.1"])
def test_ranges_that_do_not_fit_are_one_line_and_exit_2(run, embedding, text):
    ran = run("verify", embedding, embedding, "--range", text)

    assert ran.code == 2
    assert ran.err.count("\n") == 1


def test_labels_give_accuracies(run, classifier, tmp_path):
    arguments = ["--inputs", tmp_path / "rows.npy", "--labels", tmp_path / "labels.npy"]

    ran = run("verify", classifier, classifier, *arguments)
    document = json.loads(run("verify", classifier, classifier, *arguments, "--json").out)

    assert ran.code == 0
    assert "scores: same class in 7 of 7 rows; top-1 right 100.00 % before" in ran.out
    (agreement,) = document["parity"]["agreements"]
    assert agreement["after"] == {"rows": 7, "top1": 7, "top5": 7}


def test_labels_that_do_not_fit_are_one_line_and_exit_2(run, block, classifier, tmp_path):
    np.save(tmp_path / "image.npy", image(7))
    labels = ["--labels", tmp_path / "labels.npy"]
    for arguments, words in (
        ([classifier, classifier], "7 labels do not fit inputs of 0 rows"),
        ([block, block, "--inputs", tmp_path / "image.npy"], "labels are given, but no output"),
    ):
        ran = run("verify", *arguments, *labels)
        assert ran.code == 2
        assert words in ran.err
        assert ran.err.count("\n") == 1


def test_labels_without_verification_are_a_contradiction(run, block, tmp_path):
    assert run("fuse", block, "--no-verify", "--labels", tmp_path / "labels.npy").code == 2


def test_bisect_names_the_first_tensor_that_differs(run, block, wrong):
    ran = run("verify", block, wrong, "--bisect")
    found = json.loads(run("verify", block, wrong, "--bisect", "--json").out)["bisection"]

    assert ran.code == 1
    assert "first difference: tensor dense of Conv dense: error " in ran.out
    assert found["origins"] == ["dense"]
    assert [tensor["name"] for tensor in found["tensors"]] == ["dense", "point", "skip", "both", "all", "out"]


def test_bisect_of_a_fused_model_finds_no_difference(run, block, tmp_path):
    run("fuse", block, "--no-bench")

    ran = run("verify", block, tmp_path / "block.fused.onnx", "--bisect")

    assert ran.code == 0
    assert "2 shared tensors compared at ORT_DISABLE_ALL" in ran.out
    assert "no tensor differs" in ran.out


def test_bisect_takes_the_tolerance_inputs_and_ranges_of_verify(run, block, wrong, tmp_path):
    np.savez(tmp_path / "a.npz", image=image(2))
    arguments = ["--tolerance", "0.5", "--inputs", tmp_path / "a.npz", "--range", "image=5,6"]

    found = json.loads(run("verify", block, wrong, "--bisect", *arguments, "--json").out)["bisection"]

    assert (found["tolerance"], found["origins"]) == (0.5, [])
    assert found["feeds"][-1] == "a.npz"


def test_without_bisect_there_is_no_bisection(run, block, wrong):
    ran = run("verify", block, wrong)

    assert "Bisection" not in ran.out
    assert json.loads(run("verify", block, wrong, "--json").out)["bisection"] is None
