"""The samples do what their READMEs say, with the compiler in the loop."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from repvgg_onnx import Fusion, fuse, save_model, verify
from repvgg_onnx.checks.statistics import Ratio
from tests.models import count
from tests.programs import SAMPLES, loaded

ENVIRONMENT = os.environ | {"PYTHONPATH": str(SAMPLES.parent)}
DIGITS = SAMPLES / "digits" / "digits.onnx"


@pytest.fixture(scope="module")
def digits() -> Fusion:
    return fuse(DIGITS)


@pytest.fixture
def latency(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return loaded(SAMPLES / "benchmarks" / "repvgg_latency.py", monkeypatch)


def logits_of_digits(model: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    image = np.load(DIGITS.with_name("digits.npz"))["image"]
    logits: np.ndarray = session.run(["logits"], {"image": image})[0]
    return logits


def predict(*models: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DIGITS.with_name("predict.py")), *map(str, models)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_digits_fuse_to_six_convolutions(digits: Fusion) -> None:
    nodes = count(digits.model)
    assert (nodes["Conv"], nodes["Relu"], nodes["BatchNormalization"], nodes["Add"]) == (6, 6, 0, 0)
    assert len(digits.regions) == 6
    assert fuse(digits.model).regions == ()
    assert verify(DIGITS, digits.model, inputs=DIGITS.with_name("digits.npz"), tolerance=1e-5).passed


def test_fused_and_original_predict_the_same_for_every_held_out_digit(digits: Fusion) -> None:
    original = logits_of_digits(DIGITS.read_bytes())
    fused = logits_of_digits(digits.model.SerializeToString())
    assert original.shape == fused.shape == (450, 10)
    assert original.argmax(axis=1).tolist() == fused.argmax(axis=1).tolist()
    assert len(set(fused.argmax(axis=1))) == 10


def test_predict_agrees_and_prints_the_accuracy(digits: Fusion, tmp_path: Path) -> None:
    fused = tmp_path / "digits.fused.onnx"
    save_model(digits.model, fused)
    done = predict(DIGITS, fused)
    assert done.returncode == 0, done.stderr
    accuracy = "445 of 450 digits right (98.89%)"
    assert done.stdout.splitlines() == [f"{DIGITS}: {accuracy}", f"{fused}: {accuracy}", "predictions are identical"]


def test_predict_finds_a_wrong_fold(digits: Fusion, tmp_path: Path) -> None:
    """A sign of the last block's kernel is lost."""
    wrong = onnx.ModelProto.FromString(digits.model.SerializeToString())
    kernel_name = [node for node in wrong.graph.node if node.op_type == "Conv"][-1].input[1]
    (kernel,) = (entry for entry in wrong.graph.initializer if entry.name == kernel_name)
    kernel.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(kernel), kernel_name))
    onnx.save(wrong, tmp_path / "wrong.onnx")
    done = predict(DIGITS, tmp_path / "wrong.onnx")
    assert done.returncode == 1, done.stderr
    assert re.search(r"^predictions differ on \d+ digits$", done.stdout, re.MULTILINE)


def test_the_latency_benchmark_measures_three_forms(latency: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    code = latency.main(["--model", "repvgg-grouped-block", "--seconds", "0.05"])
    heading, *rows = capsys.readouterr().out.splitlines()
    conditions = r"onnxruntime [\d.]+ ENABLE_ALL, 1 thread, 1x3x20x28"
    assert re.fullmatch(rf"repvgg-grouped-block, {conditions}, \d+ rounds in \d+ sessions?", heading)
    titles = ["original", "fused", "deployed by hand", "fused / deployed", "fused / original"]
    assert [re.split(r"\s{2,}", row)[0] for row in rows] == titles
    assert code == ("NOT" in rows[3] + rows[4])


@pytest.mark.parametrize(
    ("to_deployed", "to_original", "words", "passed"),
    [
        (Ratio(1.0, 0.99, 1.01), Ratio(0.9, 0.8, 0.95), ("within 3 %", "below 1"), True),
        (Ratio(1.02, 1.01, 1.04), Ratio(0.9, 0.8, 0.95), ("NOT within 3 %", "below 1"), False),
        (Ratio(0.9, 0.8, 0.95), Ratio(0.99, 0.97, 1.01), ("within 3 %", "NOT below 1"), False),
    ],
)
def test_the_whole_interval_decides(
    latency: ModuleType, to_deployed: Ratio, to_original: Ratio, words: tuple[str, str], passed: bool
) -> None:
    lines, verdict = latency.judged(to_deployed, to_original)
    assert verdict is passed
    assert [line.split("), ")[1] for line in lines] == list(words)


def test_the_latency_benchmark_compares_only_what_computes_the_same(
    latency: ModuleType, digits: Fusion, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = onnx.load(DIGITS)
    other = onnx.ModelProto.FromString(digits.model.SerializeToString())
    relu = next(node for node in other.graph.node if node.op_type == "Relu")
    relu.op_type = "Neg"
    monkeypatch.setattr(latency, "three_forms", lambda name: [original, digits.model, other])
    assert latency.main([]) == 1
    assert capsys.readouterr().out.startswith("the models do not compute the same: normalized error ")


def test_the_bounds_of_a_block_hold() -> None:
    command = [sys.executable, str(SAMPLES / "benchmarks" / "bounds.py"), "--model", "repvgg-plain-block"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=SAMPLES.parent, env=ENVIRONMENT)
    assert "regions that failed: 0" in done.stdout
    share = float(done.stdout.split("its bound: ")[1].split("%")[0])
    assert 0 < share < 100


@pytest.mark.slow
def test_what_autotuning_changes_is_one_row_a_network() -> None:
    command = [sys.executable, str(SAMPLES / "benchmarks" / "autotune.py"), "--model", "dbb-block", "--seconds", "0.1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=SAMPLES.parent, env=ENVIRONMENT)
    assert done.returncode in (0, 1)  # times are no matter of a test
    (row,) = (line for line in done.stdout.splitlines() if line.startswith("dbb-block"))
    assert "of 4, 0 of 0" in row
