"""Processes that tests start and interrupt."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any


def interruptible(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """A process that Ctrl-C interrupts, even where the tests themselves run in the background and ignore it."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})
    finally:
        signal.signal(signal.SIGINT, before)


def python(code: str, *arguments: object) -> list[str]:
    """The command that runs a program of this interpreter."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)
