"""The comparison with other tools: one that is absent, one that fails, one that lies, and one that does nothing."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import onnx
import pytest

from tests.models import repvgg_block
from tests.programs import SAMPLES, loaded

BENCHMARKS = SAMPLES / "benchmarks"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(BENCHMARKS.parents[1])}

COPY = "import shutil, sys; shutil.copyfile(*sys.argv[1:])"
FAIL = "import sys; print('working'); sys.exit('no such operator: Frobnicate')"
CHANGE = """
import sys, onnx
model = onnx.load(sys.argv[1])
next(node for node in model.graph.node if node.op_type == "Relu").op_type = "Neg"
onnx.save(model, sys.argv[2])
"""
MAP = """
import mmap, sys, time
with open(sys.argv[1], "rb") as stream:
    content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
total = sum(content[start] for start in range(0, len(content), 4096))
time.sleep(0.3)
"""
BREAK = "import sys; open(sys.argv[2], 'wb').write(open(sys.argv[1], 'rb').read().replace(b'Relu', b'Rule'))"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    return loaded(BENCHMARKS / "peers.py", monkeypatch)


@pytest.fixture
def block(tmp_path: Path) -> Path:
    path = tmp_path / "block.onnx"
    onnx.save(repvgg_block(), path)
    return path


def tool(peers: ModuleType, name: str, code: str, module: str = "onnx") -> object:
    return peers.Tool(name, module, ("-c", code, peers.SOURCE, peers.TARGET))


def test_tools_that_are_not_installed_are_named(peers: ModuleType) -> None:
    absent = tool(peers, "frobnicator", COPY, module="frobnicator_of_onnx")
    there, missing = peers.installed([*peers.TOOLS[:1], absent])

    assert [each.name for each in there] == ["repvgg-onnx"]
    assert missing == ["frobnicator"]
    assert peers.conditions(2, 0.5, missing)[1] == "skipped, because they are not installed: frobnicator"
    assert len(peers.conditions(2, 0.5, [])) == 1


def test_a_tool_that_fails_shows_its_reason_and_the_others_their_figures(peers: ModuleType, block: Path) -> None:
    tools = [peers.TOOLS[0], tool(peers, "copier", COPY), tool(peers, "failing", FAIL)]
    ours, copier, failing = peers.compare(block, tools, rounds=2, seconds=0.05)

    assert (ours.nodes, copier.nodes, failing.nodes) == (2, len(onnx.load(block).graph.node), None)
    assert [len(row.runs) for row in (ours, copier, failing)] == [2, 2, 2]
    for row in (ours, copier):
        ratio, low, high = row.latency
        assert low <= ratio <= high
        assert not row.problem
        assert all(run.resident_bytes >= run.anonymous_bytes > 0 and run.wall_s > 0 for run in row.runs)
    assert failing.problem == "no such operator: Frobnicate"
    assert failing.cells() == ["failing", "", "failed", "", "", "", ""]
    assert peers.problems([ours, copier, failing]) == ["failing: no such operator: Frobnicate"]


def test_a_tool_that_changes_the_outputs_is_marked(peers: ModuleType, block: Path) -> None:
    changing, breaking = peers.compare(
        block, [tool(peers, "changing", CHANGE), tool(peers, "breaking", BREAK)], rounds=1, seconds=0.05
    )
    (copier,) = peers.compare(block, [tool(peers, "copier", COPY)], rounds=1, seconds=0)

    assert changing.problem.startswith("changes the outputs: normalized error ")
    assert breaking.problem.startswith("its result cannot be compared: ")
    assert len(breaking.problem) <= peers.LONGEST_REASON
    words = [row.cells()[2] for row in (changing, breaking, copier)]
    assert words == ["not the same", "not the same", "not measured"]


def test_the_markdown_has_a_row_for_each_tool_and_every_remark(peers: ModuleType, block: Path) -> None:
    run = peers.Run(0, 2.0, 1.5, 3_000_000, 2_000_000, "")
    slower = peers.Run(0, 4.0, 2.5, 5_000_000, 4_000_000, "")
    good = peers.Row("good", (run, slower, slower), 3, (0.5, 0.4, 0.6))
    bad = peers.Row("bad", (run,), problem="it rained")
    lines = peers.markdown({"net": [good, bad]}, ["3 rounds"]).splitlines()

    assert lines[0] == "### net"
    assert "| good | 3 | 0.50 (0.40-0.60) | 4.00 | 2.50 | 5 | 4 |" in lines
    assert "| bad |  | failed |  |  |  |  |" in lines
    assert lines[-3:] == ["- bad: it rained", "", "3 rounds"]


def test_the_command_writes_its_table(
    peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def export(name: str, folder: Path) -> Path:
        onnx.save(repvgg_block(), folder / f"{name}.onnx")
        return folder / f"{name}.onnx"

    monkeypatch.setattr(peers, "export", export)
    tools = [peers.TOOLS[0], tool(peers, "absent", COPY, module="frobnicator_of_onnx")]
    options = ["--models", "repvgg-plain-block", "--rounds", "1", "--seconds", "0.05"]
    assert peers.main([*options, "--output", str(tmp_path / "table.md")], tools) == 0

    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert "skipped, because they are not installed: absent" in shown
    assert "| repvgg-onnx | 2 |" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_a_command_that_takes_too_long_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    processes = loaded(BENCHMARKS / "processes.py", monkeypatch)
    done = processes.run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2)

    assert done.code == -9
    assert done.last_line == "exit code -9"


def test_memory_in_a_file_is_resident_and_not_anonymous(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    processes = loaded(BENCHMARKS / "processes.py", monkeypatch)
    (tmp_path / "large").write_bytes(bytes(64 * 2**20))
    done = processes.run([sys.executable, "-c", MAP, tmp_path / "large"])

    assert done.code == 0
    assert done.resident_bytes - done.anonymous_bytes > 60 * 2**20


def test_a_row_of_the_tool_is_medians_over_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    tool_speed = loaded(BENCHMARKS / "tool_speed.py", monkeypatch)
    runs = [tool_speed.Run(0, wall, 2 * wall, 10**6, 5 * 10**5, "") for wall in (1.0, 9.0, 2.0)]

    assert tool_speed.cells("net", 2 * 10**6, runs) == ["net", "2.0", "2.00", "4.00", "2000.0", "1", "0.50", "0.25"]


@pytest.mark.parametrize("script", ["peers.py", "tool_speed.py"])
def test_the_scripts_have_help(script: str) -> None:
    command = [sys.executable, str(BENCHMARKS / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)

    assert done.stdout.startswith(f"usage: {script}")
    assert "--rounds" in done.stdout
