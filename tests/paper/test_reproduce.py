"""The command of ``samples/paper``: what it writes, that it resumes, and what it refuses."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

from .conftest import PAPER

TINY = ("--tables", "4,6", "--models", "3x3", "--models", "RegNetX*", "--size", "32", "--seconds", "0.05")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The real command on one small network and one that needs torchvision, which cannot be imported."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "torchvision.py").write_text("raise ImportError('not here')\n")
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{PAPER.parents[1]}"}
    command = [sys.executable, str(PAPER / "reproduce.py"), *TINY, "--output", str(folder / "out")]
    return folder / "out", subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def reproduce(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module; nothing is measured, and every row is what it would be on a machine three times as fast."""
    import reproduce
    from measures import Speed
    from results import Result

    def measured(comparison: Any, options: Any, folder: Path) -> Any:
        ratio = 3 * comparison.ratio
        speed = Speed(ratio, 0.9 * ratio, 1.1 * ratio, 30.0, 10.0, 6)
        return Result(comparison.table, comparison.label, comparison.ratio, comparison.reference.name, speed=speed)

    monkeypatch.setattr(reproduce, "measured", measured)
    return reproduce


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((folder / "results.json").read_text(encoding="utf-8"))["rows"]
    return rows


def changed(module: ModuleType, **fields: Any) -> Callable[..., Any]:
    """``measured`` of the module, with other values in some fields of its rows."""
    original = module.measured
    return lambda *arguments: replace(original(*arguments), **fields)


def test_the_command_measures_and_says_what_it_could_not(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = ran
    assert done.returncode == 0, done.stderr
    plain, *regnets = sorted(rows_of(folder), key=lambda row: -row["table"])
    assert (plain["label"], plain["paper_ratio"], plain["unavailable"]) == ("3x3", 1.0, None)
    assert plain["speed"]["low"] <= plain["speed"]["ratio"] <= plain["speed"]["high"]
    assert plain["speed"]["pairs"] >= 6
    assert [row["label"] for row in regnets] == ["RegNetX-3.2GF"]
    assert regnets[0]["unavailable"] == "torchvision is needed (not here): pip install torchvision"
    assert re.search(r"^3x3: [\d.]+ \(95% CI [\d.]+-[\d.]+\), paper 1\.00$", done.stderr, re.MULTILINE)


def test_the_tables_hold_every_row(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, done = ran
    text = (folder / "results.md").read_text(encoding="utf-8")
    assert done.stdout == text
    assert re.search(r"^\| 3x3 \| [\d.]+ \| [\d.]+–[\d.]+ \| 1\.00 \| [\d.]+ \|$", text, re.MULTILINE)
    assert "| RegNetX-3.2GF | not counted / 15.26 | not counted / 3.2 | not counted / 2.9 | not measured |" in text
    assert "- RegNetX-3.2GF: torchvision is needed (not here)" in text


def test_the_conditions_are_kept(ran: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    content = json.loads((ran[0] / "results.json").read_text(encoding="utf-8"))
    wanted = {"threads": 1, "batch": 1, "seconds": 0.05, "size": 32, "optimization": "ORT_ENABLE_ALL"}
    assert content["schema_version"] == 1
    assert wanted.items() <= content["conditions"].items()
    assert {"cpu", "cores", "onnxruntime", "platform"} <= content["conditions"].keys()


def test_rows_under_the_same_conditions_are_measured_once(
    reproduce: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--tables", "6", "--output", str(tmp_path)]
    assert reproduce.main([*arguments, "--models", "3x3*1x1*"]) == 0
    monkeypatch.setattr(reproduce, "measured", changed(reproduce, date="later"))
    assert reproduce.main(arguments) == 0
    assert f"2 rows are in {tmp_path} already" in capsys.readouterr().err.replace("\n", "")
    assert [row["date"] for row in rows_of(tmp_path)] == [None, None, "later", "later"]
    assert reproduce.main([*arguments, "--fresh"]) == 0
    assert [row["date"] for row in rows_of(tmp_path)] == ["later"] * 4


def test_rows_that_could_not_be_measured_are_tried_again(
    reproduce: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ["--models", "RegNetX*", "--output", str(tmp_path)]
    with monkeypatch.context() as context:
        context.setattr(reproduce, "measured", changed(reproduce, unavailable="no", speed=None))
        assert reproduce.main(arguments) == 0
    assert [row["speed"] for row in rows_of(tmp_path)] == [None, None]
    assert reproduce.main(arguments) == 0
    assert all(row["speed"] for row in rows_of(tmp_path))


def test_other_conditions_are_refused_and_nothing_is_lost(
    reproduce: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--tables", "6", "--output", str(tmp_path)]
    assert reproduce.main(arguments) == 0
    before = (tmp_path / "results.json").read_bytes()
    capsys.readouterr()
    assert reproduce.main([*arguments, "--batch", "8"]) == 2
    assert "was measured with batch 1 and not 8: give another --output, or --fresh" in capsys.readouterr().err
    assert (tmp_path / "results.json").read_bytes() == before


def test_a_count_that_is_not_the_papers_fails(
    reproduce: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reproduce, "measured", changed(reproduce, differs=("wino_muls_B",)))
    assert reproduce.main(["--models", "ResNeXt-101", "--output", str(tmp_path / "known")]) == 0
    assert "- ResNeXt-101 ≠: 4/9 of every 3x3 convolution of stride 1 makes 7.7." in capsys.readouterr().out
    assert reproduce.main(["--models", "RepVGG-A0", "--output", str(tmp_path / "new")]) == 1
    assert "NOT as in the paper: wino_muls_B" in capsys.readouterr().err


def test_an_error_is_one_line_and_keeps_the_rows_before_it(
    reproduce: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from repvgg_onnx import RepvggOnnxError

    original = reproduce.measured

    def stopping(comparison: Any, options: Any, folder: Path) -> Any:
        if comparison.label == "RepVGG-A1":
            raise RepvggOnnxError("no luck")
        return original(comparison, options, folder)

    monkeypatch.setattr(reproduce, "measured", stopping)
    assert reproduce.main(["--tables", "4", "--models", "RepVGG-A*", "--output", str(tmp_path)]) == 1
    assert "error: RepVGG-A1: no luck\n" in capsys.readouterr().err
    assert [row["label"] for row in rows_of(tmp_path)] == ["RepVGG-A0"]


@pytest.mark.parametrize(
    "arguments",
    [["--tables", "7"], ["--scene", "100"], ["--seconds", "nan"], ["--batch", "0"], ["--models", "none"]],
)
def test_misuse_is_told(
    reproduce: ModuleType, arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = reproduce.main([*arguments, "--output", str(tmp_path)])
    except SystemExit as end:
        code = end.code
    assert code == 2
    assert "error: " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_plot_shows_every_row(reproduce: ModuleType, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert reproduce.main(["--models", "RepVGG-A*", "--models", "3x3*", "--output", str(tmp_path)]) == 0
    first = (tmp_path / "results.svg").read_bytes()
    texts = {element.text for element in ElementTree.fromstring(first).iter("{http://www.w3.org/2000/svg}text")}
    assert {"RepVGG-A0", "RepVGG-A2", "3x3 + 1x1", "paper (GPU)", "here"} <= texts
    assert reproduce.main(["--models", "RepVGG-A*", "--models", "3x3*", "--output", str(tmp_path)]) == 0
    assert (tmp_path / "results.svg").read_bytes() == first


def test_without_matplotlib_the_plot_is_left_out(
    reproduce: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert reproduce.main(["--tables", "6", "--output", str(tmp_path)]) == 0
    assert "the plot is left out: pip install 'repvgg-onnx[report]'" in capsys.readouterr().err
    assert not (tmp_path / "results.svg").exists()


def test_the_committed_tables_are_those_of_the_committed_results() -> None:
    from rendering import markdown
    from results import Result, Results

    folder = PAPER / "results"
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    results = Results.open(folder, content["conditions"], fresh=False)
    assert all(isinstance(row, Result) for row in results.rows.values())
    assert markdown(results) == (folder / "results.md").read_text(encoding="utf-8")


def test_the_torch_script_runs_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch_gpu

    target = tmp_path / "gpu.json"
    tiny = ["--device", "cpu", "--batch", "1", "--size", "32", "--seconds", "0.05", "--models", "3x3"]
    assert torch_gpu.main([*tiny, "--output", str(target)]) == 0
    layouts = ["channels first", "channels last"]
    records = json.loads(target.read_text())["rows"]
    assert [record["layout"] for record in records] == layouts
    assert all(record["low"] <= record["speedup"] <= record["high"] for record in records)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"table 6, 3x3, {layout}" for layout in layouts]
