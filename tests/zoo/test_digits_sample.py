"""The committed digits sample: a small branched model and held-out digits that it gets right."""

import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

DIGITS = Path(__file__).parents[2] / "samples" / "digits"


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.load(DIGITS / "digits.onnx")


def predict(*models: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DIGITS / "predict.py"), *map(str, models)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_model_keeps_its_branches(model: onnx.ModelProto) -> None:
    onnx.checker.check_model(model, full_check=True)
    counts = Counter(node.op_type for node in model.graph.node)
    assert (counts["Conv"], counts["BatchNormalization"], counts["Add"], counts["Relu"]) == (12, 15, 9, 6)
    assert (DIGITS / "digits.onnx").stat().st_size < 1_000_000


def test_the_model_holds_no_path_of_the_machine_that_made_it(model: onnx.ModelProto) -> None:
    assert str(DIGITS.parents[1]).encode() not in model.SerializeToString()
    assert not model.metadata_props
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)


def test_the_data_fits_the_model(model: onnx.ModelProto) -> None:
    held_out = np.load(DIGITS / "digits.npz")
    (entry,) = model.graph.input
    assert set(held_out.files) == {entry.name, "labels"}
    image, labels = held_out["image"], held_out["labels"]
    assert (image.shape, image.dtype) == ((450, 1, 8, 8), np.float32)
    assert (labels.shape, labels.dtype) == ((450,), np.int64)
    assert (image.min(), image.max()) == (0, 1)
    assert set(labels) == set(range(10))


def test_predict_prints_the_accuracy() -> None:
    done = predict(DIGITS / "digits.onnx")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("digits.onnx: 445 of 450 digits right (98.89%)\n")


def test_predict_compares_two_models(model: onnx.ModelProto, tmp_path: Path) -> None:
    same = predict(DIGITS / "digits.onnx", DIGITS / "digits.onnx")
    assert same.returncode == 0
    assert same.stdout.endswith("predictions are identical\n")
    broken = onnx.ModelProto.FromString(model.SerializeToString())
    (head,) = (entry for entry in broken.graph.initializer if entry.name == "linear.bias")
    head.CopyFrom(numpy_helper.from_array(np.eye(1, 10, 3, dtype=np.float32)[0] * 1e3, "linear.bias"))
    onnx.save(broken, tmp_path / "broken.onnx")
    different = predict(DIGITS / "digits.onnx", tmp_path / "broken.onnx")
    assert different.returncode == 1
    assert "predictions differ on" in different.stdout


def test_predict_without_a_model_says_how_to_call_it() -> None:
    done = predict()
    assert done.returncode == 1
    assert done.stderr == "usage: predict.py MODEL.onnx [MODEL2.onnx]\n"


def test_the_training_script_builds_the_committed_network_and_data(
    model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    monkeypatch.syspath_prepend(str(DIGITS.parent / "train"))
    script = runpy.run_path(str(DIGITS.parent / "train" / "bundled_digits.py"))
    shapes = {entry.name: tuple(entry.dims) for entry in model.graph.initializer}
    module = {name: tuple(value.shape) for name, value in script["small_repvgg"]().state_dict().items()}
    assert shapes.items() <= module.items()
    learned, learned_labels, images, labels = script["digits"]()
    for file, expected in (("training.npz", (learned, learned_labels)), ("digits.npz", (images, labels))):
        content = np.load(DIGITS / file)
        assert np.array_equal(content["image"], expected[0])
        assert np.array_equal(content["labels"], expected[1])
    assert not {image.tobytes() for image in learned} & {image.tobytes() for image in images}
