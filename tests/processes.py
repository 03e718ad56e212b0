"""Processes that tests start and interrupt."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]


def interruptible(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """A process that Ctrl-C and SIGHUP end, even where the tests themselves run in the background and ignore them."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in ENDING}
    try:
        return subprocess.Popen(command, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def python(code: str, *arguments: object) -> list[str]:
    """The command that runs a program of this interpreter."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)
