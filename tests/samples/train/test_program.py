"""``train.py``: from images to a fused file, and what it refuses."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx import Fusion, fuse
from tests.samples.train.running import (
    SMALL,
    TRAIN,
    pictures,
    run,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The real program on RepVGG-A0 and a few digits."""
    folder = tmp_path_factory.mktemp("trained")
    options = ("--model", "A0", "--epochs", "1", "--limit", "64", "--seconds", "0.05", "--threads", "1")
    return folder, run(*options, "--output", folder)


def test_a_network_is_trained_exported_fused_and_compared(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = trained

    assert done.returncode == 0, done.stderr
    exported, fused = (onnx.load(folder / f"repvgg-a0{suffix}.onnx") for suffix in ("", ".fused"))
    assert "22 regions folded" in done.stdout
    assert done.stdout.endswith("predictions are identical for all 64 test images\n")
    rows = re.findall(r"^(as trained, in torch|exported|fused) +(\d+) +(\d+\.\d\d%)( +[\d,]+)?$", done.stdout, re.M)
    assert [(name, right, bool(speed)) for name, right, _, speed in rows] == [
        ("as trained, in torch", rows[0][1], False),
        ("exported", rows[0][1], True),
        ("fused", rows[0][1], True),
    ]
    assert rows[0][2] == f"{int(rows[0][1]) / 64:.2%}"
    assert re.search(r"^[\d.]+x .+ \(95% CI .+, 1 thread, 64x3x32x32, \d+ pairs in \d+ session", done.stdout, re.M)
    assert [node.op_type for node in fused.graph.node].count("Conv") == 22
    assert [node.op_type for node in exported.graph.node].count("Conv") == 44
    assert [entry.value for entry in fused.metadata_props if entry.key == "classes"] == [json.dumps(list("0123456789"))]
    assert re.search(r"^epoch 1 of 1: loss \d\.\d{4}, [\d.]+% of the test images right$", done.stderr, re.M)


def test_what_was_trained_is_not_lost(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    import train

    folder, _ = trained
    before = (folder / "checkpoint.pt").read_bytes()
    options = ["--model", "a0", "--epochs", "1", "--limit", "64", "--output", str(folder)]
    assert train.main(options) == 2
    assert (folder / "checkpoint.pt").read_bytes() == before


def test_an_interrupted_program_goes_on_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import train

    options = [*SMALL, "--epochs", "3", "--batch-size", "16"]
    assert train.main([*options, "--output", str(tmp_path / "whole")]) == 0

    def interrupting(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    save = train.save_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(train, "save_checkpoint", interrupting)
        assert train.main([*options, "--output", str(tmp_path / "pieces")]) == 130
        assert train.main([*options, "--output", str(tmp_path / "pieces"), "--resume"]) == 130
    assert "--resume goes on after the last whole epoch" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "pieces").iterdir()] == ["checkpoint.pt"]
    assert train.main([*options, "--output", str(tmp_path / "pieces"), "--resume"]) == 0

    assert "2 of 3 epochs are done already" in capsys.readouterr().err
    for name in ("repvgg-plain-block.onnx", "repvgg-plain-block.fused.onnx"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "pieces" / name).read_bytes()
    assert train.main([*options, "--output", str(tmp_path / "pieces"), "--resume"]) == 0
    assert train.main([*options, "--output", str(tmp_path / "pieces"), "--fresh"]) == 0


def test_a_network_is_trained_on_a_folder_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import train

    data = pictures(tmp_path / "pictures", count=8)
    output = tmp_path / "out"
    options = [*SMALL, "--data", str(data), "--epochs", "8", "--batch-size", "4", "--output", str(output)]
    assert train.main(options) == 0

    shown = capsys.readouterr().out
    assert re.search(r"^fused +16 +100\.00%", shown, re.M)
    fused = onnx.load(output / "repvgg-plain-block.fused.onnx")
    assert fused.metadata_props[0].value == '["bright", "dark"]'


def test_images_that_are_seen_differently_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sign of the last kernel is lost in the fold."""
    import handover
    import train

    def wrong(path: Path) -> Fusion:
        fusion = fuse(path)
        model = onnx.ModelProto.FromString(fusion.model.SerializeToString())
        name = next(node for node in model.graph.node if node.op_type == "Gemm").input[1]
        (kernel,) = (entry for entry in model.graph.initializer if entry.name == name)
        kernel.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(kernel), name))
        return replace(fusion, model=model)

    monkeypatch.setattr(handover, "fuse", wrong)
    assert train.main([*SMALL, "--epochs", "2", "--output", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    (count,) = re.findall(r"^predictions differ (\d+) times:$", shown, re.M)
    listed = re.findall(r"^digits \d+: \d as trained, in torch, \d fused$", shown, re.M)
    assert len(listed) == min(int(count), 10)
    assert (f"and {int(count) - 10} more" in shown) == (int(count) > 10)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--model", "a9"), 2, "unknown network 'a9'; did you mean a"),
        (("--model", "tdnn-block"), 2, "tdnn-block takes inputs of 12x61, not images"),
        (("--model", "replknet-block", "--data", "nowhere"), 3, "nowhere/train is not a folder"),
        ((*SMALL, "--device", "abacus"), 2, "torch cannot train on 'abacus' here"),
        ((*SMALL, "--resume"), 3, "No such file"),
        ((*SMALL, "--resume", "--fresh"), 2, "--resume goes on from the checkpoint that --fresh forgets"),
        (("--epochs", "0"), 2, "0 is not at least 1"),
        (("--lr", "nan"), 2, "nan is not above 0"),
        (("--batch-size", "1"), 2, "1 is not at least 2"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int, message: str
) -> None:
    import train

    try:
        found = train.main([*options, "--output", str(tmp_path / "out")])
    except SystemExit as left:
        found = left.code
    assert found == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert not (tmp_path / "out").exists()


def test_a_network_that_cannot_be_exported_is_not_trained(tmp_path: Path) -> None:
    done = run("--model", "repvgg-psp", "--limit", "8", "--output", tmp_path / "out")
    message = "error: torch cannot export the network for images of 32x32: Unsupported: ONNX export of operator"

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_every_option_is_in_the_help_and_in_the_readme() -> None:
    done = run("--help")
    options = set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}
    readme = (TRAIN / "README.md").read_text(encoding="utf-8")

    assert done.returncode == 0
    assert done.stdout.startswith("usage: train.py")
    assert {"--model", "--data", "--epochs", "--resume"} <= options
    assert options == set(re.findall(r"`(--[a-z-]+)", readme))
