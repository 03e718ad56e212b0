"""The command line as a real process: start-up, pipes, signals."""

import json
import os
import pty
import signal
import subprocess
import sys

import pytest

from tests.processes import interruptible, wait_for

COMMAND = [sys.executable, "-m", "repvgg_onnx"]
HEAVY = ("numpy", "onnx", "onnxruntime", "onnx_graphsurgeon", "rich", "torch")


def process(*arguments, **environment):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error", **environment},
        timeout=120,
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fuse", "--help"], ["export", "--help"]])
def test_help_and_version_import_nothing_heavy(arguments):
    code = f"""
import sys
from repvgg_onnx.cli import cli
try:
    cli.main({arguments!r})
except SystemExit as stop:
    assert stop.code == 0
print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stderr == "[]\n"
    assert "repvgg-onnx" in ran.stdout


def test_a_run_is_clean_on_both_streams(block, tmp_path):
    ran = process("fuse", block, "--bench-seconds", "0.1", "--json")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert json.loads(ran.stdout)["verdict"] == "fused"


def test_an_error_is_one_line_of_the_process(tmp_path):
    ran = process("fuse", tmp_path / "missing.onnx")

    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == f"error: {tmp_path / 'missing.onnx'}: no such file\n"


def test_usage_errors_name_the_command(block):
    ran = process("fuse", block, "--frobnicate")

    assert ran.returncode == 2
    assert ran.stderr.endswith("(see 'repvgg-onnx fuse --help')\n")


def test_characters_that_the_terminal_lacks_are_no_error(tmp_path):
    ran = process("inspect", tmp_path / "слой.onnx", PYTHONIOENCODING="latin-1")

    assert ran.returncode == 3
    assert ran.stderr.endswith("no such file\n")
    assert ran.stderr.isascii()


def test_a_closed_pipe_is_no_error_and_the_file_is_written(block, tmp_path):
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run([*COMMAND, "fuse", str(block), "--no-bench"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)

    assert ran.returncode == 141
    assert ran.stderr == b""
    assert (tmp_path / "block.fused.onnx").exists()


def on_terminal(*arguments, **environment):
    """What a terminal of 60 columns shows of stdout and stderr."""
    parent, child = pty.openpty()
    started = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=child,
        stderr=child,
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm", **environment},
    )
    os.close(child)
    shown = b"".join(iter(lambda: read_some(parent), b""))
    started.wait(timeout=120)
    os.close(parent)
    return shown.decode()


def read_some(descriptor):
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux reports the end of a terminal as an error
        return b""


def test_a_terminal_shows_colour_and_progress(block):
    shown = on_terminal("fuse", block, "--bench-seconds", "0.1", NO_COLOR="")

    assert "Folding and checking block.onnx ..." in shown
    assert "Measuring latency, at most 0.1 s ..." in shown
    assert "\x1b[32msame outputs" in shown


def test_no_color_is_obeyed(block):
    shown = on_terminal("inspect", block, NO_COLOR="1")

    assert "\x1b[32m" not in shown
    assert "1 region to fold" in " ".join(shown.split())


def test_quiet_shows_no_progress(block):
    assert on_terminal("fuse", block, "--no-bench", "--quiet") == ""


def test_ctrl_c_leaves_nothing_behind(block, tmp_path):
    started = interruptible(
        [*COMMAND, "fuse", str(block), "--bench-seconds", "60", f"--json={tmp_path / 'report.json'}"]
    )
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)  # the result is staged, and checked or measured
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=60)

    assert started.returncode == 130
    assert b"Traceback" not in err
    assert out == b""
    assert list(tmp_path.iterdir()) == [block]
