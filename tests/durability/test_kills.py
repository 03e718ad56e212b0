"""A kill at any instant: a slice of samples/benchmarks/kill_trials.py, which runs as many as one likes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "samples" / "benchmarks" / "kill_trials.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the trials fork")
def test_the_output_is_whole_whenever_the_command_is_killed():
    ran = subprocess.run(
        [sys.executable, SCRIPT, "--trials", "16", "--seed", "1"],
        capture_output=True,
        text=True,
        cwd=SCRIPT.parents[2],
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])},
        timeout=300,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("seed 1\n")
    assert ran.stdout.endswith("\n16 kills, 0 losses\n")
