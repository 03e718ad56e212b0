"""``samples/quantize``: its two tables, what its README says of them, and that its checks can fail."""

import doctest
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx import Fusion, fuse

QUANTIZE = Path(__file__).parents[2] / "samples" / "quantize"
DIGITS = QUANTIZE.parent / "digits" / "digits.onnx"
README = (QUANTIZE / "README.md").read_text(encoding="utf-8")
FORMS = ["original, float", "fused, float"]
FORMS += [f"{model}, int8 per {scale}" for model in ("original", "fused") for scale in ("tensor", "channel")]


@pytest.fixture
def quantize(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(QUANTIZE))
    import quantize

    return quantize


@pytest.fixture
def weight_ranges(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(QUANTIZE))
    import weight_ranges

    return weight_ranges


def cells(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def with_a_wrong_sign(fusion: Fusion) -> Fusion:
    model = onnx.ModelProto.FromString(fusion.model.SerializeToString())
    name = [node for node in model.graph.node if node.op_type == "Conv"][-1].input[1]
    (kernel,) = (entry for entry in model.graph.initializer if entry.name == name)
    kernel.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(kernel), name))
    return replace(fusion, model=model)


def test_the_tables_have_every_form_and_every_layer(
    quantize: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quantize.main(["--output", str(tmp_path / "models"), "--calibration", "64"]) == 0

    shown = capsys.readouterr()
    forms, ranges = (part.splitlines() for part in shown.out.split("\n\n"))
    assert shown.err == ""
    assert [cells(row)[0] for row in forms[1:]] == FORMS
    assert [cells(row)[1] for row in forms[1:3]] == ["445", "445"]
    assert [cells(row)[3] for row in forms[1:3]] == ["0", "0"]
    assert all(int(cells(row)[1]) >= 440 for row in forms[3:])
    assert len(ranges) == 2 + 6
    assert max(map(len, shown.out.splitlines())) <= 80
    for name, convolutions in (("digits.int8-channel", 12), ("digits.fused.int8-tensor", 6)):
        nodes = [node.op_type for node in onnx.load(tmp_path / "models" / f"{name}.onnx").graph.node]
        assert nodes.count("Conv") == convolutions
        assert {"QuantizeLinear", "DequantizeLinear"} <= set(nodes)


def test_a_scale_for_each_channel_makes_the_fused_model_more_exact(quantize: ModuleType, tmp_path: Path) -> None:
    with np.load(DIGITS.with_name("training.npz")) as training, np.load(DIGITS.with_name("digits.npz")) as held_out:
        rows = quantize.measured(fuse(DIGITS), tmp_path, training["image"][:128], held_out["image"])
    exact = {(row.model, row.form): quantize.signal_to_noise(rows[0].scores, row.scores) for row in rows}

    assert exact["fused", "float"] > 100
    assert exact["fused", "per tensor"] + 2 < exact["fused", "per channel"] < 60
    assert exact["fused", "per tensor"] < exact["original", "per tensor"]


def test_identity_branches_are_what_reaches_far(
    weight_ranges: ModuleType, quantize: ModuleType, tmp_path: Path
) -> None:
    fusion = fuse(DIGITS)
    onnx.save(onnx.load(DIGITS), tmp_path / "digits.onnx")
    branches = onnx.load(quantize.prepare(tmp_path / "digits.onnx"))
    layers = weight_ranges.layers(branches, fusion.model, fusion.regions)
    growth = {layer.branches: weight_ranges.reach(layer.fused) / weight_ranges.reach(layer.alone) for layer in layers}

    assert {name: ratio > 2 for name, ratio in growth.items()} == {name: name.endswith("BN") for name in growth}
    for layer in layers:
        one, many = (weight_ranges.rounded(layer.fused, per_channel=each) for each in (False, True))
        assert weight_ranges.signal_to_noise(layer.fused, many) > weight_ranges.signal_to_noise(layer.fused, one) + 2


def test_the_tap_of_a_channel_on_itself_is_the_outlier(weight_ranges: ModuleType) -> None:
    fusion = fuse(DIGITS)
    kernels = weight_ranges.kernels(fusion.model)
    found, channels = 0, 0
    for region in fusion.regions:
        if region.branches[-1] == "BN":
            kernel = np.abs(kernels[region.name])
            each = np.arange(len(kernel))
            found += int(np.sum(kernel[each, each % kernel.shape[1], 1, 1] == kernel.max(axis=(1, 2, 3))))
            channels += len(kernel)

    assert f"that very tap in {found} of {channels} channels" in README


def test_the_readme_shows_the_table_of_weights(weight_ranges: ModuleType, quantize: ModuleType, tmp_path: Path) -> None:
    fusion = fuse(DIGITS)
    onnx.save(onnx.load(DIGITS), tmp_path / "digits.onnx")
    branches = onnx.load(quantize.prepare(tmp_path / "digits.onnx"))
    lines = weight_ranges.table(weight_ranges.layers(branches, fusion.model, fusion.regions))

    assert "\n".join(lines) in README
    assert all(re.search(rf"^{form}  ", README, re.MULTILINE) for form in FORMS)


def test_int8_keeps_every_weight_to_half_a_step_of_its_own_scale(weight_ranges: ModuleType) -> None:
    kernel = np.random.default_rng(0).normal(size=(4, 2, 3, 5)) * np.array([1, 10, 100, 1000]).reshape(4, 1, 1, 1)
    error = np.abs(weight_ranges.rounded(kernel, per_channel=True) - kernel).reshape(4, -1).max(axis=1)
    steps = np.abs(kernel).reshape(4, -1).max(axis=1) / 127

    assert (error <= steps / 2 * (1 + 1e-12)).all()
    assert (error > steps / 10).all()


def test_a_wrong_fold_is_found(
    quantize: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(quantize, "fuse", lambda path: with_a_wrong_sign(fuse(path)))

    assert quantize.main(["--calibration", "32"]) == 1
    assert re.search(r"^error: the fused float model sees \d+ digits otherwise", capsys.readouterr().err)


def test_a_loss_beyond_the_margin_is_found(quantize: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    assert quantize.main(["--calibration", "32", "--margin", "-50"]) == 1
    assert "points less accurate than float; -50 may be" in capsys.readouterr().err


def test_what_cannot_be_done_is_one_line(
    quantize: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert quantize.main(["--output", str(tmp_path / "file")]) == 3
    assert capsys.readouterr().err.startswith("error: ")
    with pytest.raises(SystemExit, match="2"):
        quantize.main(["--calibration", "0"])


def test_the_examples_in_the_docstrings_hold(weight_ranges: ModuleType) -> None:
    assert doctest.testmod(weight_ranges) == (0, 3)


def test_there_is_help() -> None:
    command = [sys.executable, str(QUANTIZE / "quantize.py"), "--help"]
    environment = {"PYTHONPATH": str(QUANTIZE.parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.startswith("usage: quantize.py")
