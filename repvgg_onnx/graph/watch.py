"""A limit on code that Python cannot interrupt, and what is told to the process that watches this one.

onnx holds Python's lock while it infers shapes and checks graphs, so that neither a signal handler nor a thread of this
process could end it. The kernel can: a timer whose signal nobody handles. It counts CPU time, so that neither a busy
machine nor Ctrl-Z uses it up.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MADE, REMOVED = "+", "-"
LIMIT_S = 120.0
"""Longest CPU time that one call of onnx may take: a hundred times what 100,000 nodes take."""

_tell: Callable[[str], None] | None = None
_limit_s: float | None = None


def tell_to(listener: Callable[[str], None] | None) -> None:
    """From now on the listener is told; nobody is if it is None.

    Args:
        listener: takes MADE and REMOVED with the path of a private folder.
    """
    global _tell
    _tell = listener


def limit(limit_s: float | None) -> None:
    """From now on this process dies of SIGPROF in code that cannot be interrupted and takes longer than that.

    It is for processes that someone waits for and that belong to the command line: a library must not kill its caller.
    Where there are no such timers, as on Windows, nothing is limited.

    Args:
        limit_s: CPU time; None for no limit.
    """
    global _limit_s
    _limit_s = limit_s if hasattr(signal, "setitimer") else None


@contextmanager
def uninterruptible() -> Iterator[None]:
    """The block is code that holds Python's lock, and should not take long."""
    if _limit_s is None:
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, _limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


@contextmanager
def leaving(folder: Path) -> Iterator[None]:
    """The block would leave the folder behind if this process were killed."""
    if _tell is None:
        yield
        return
    _tell(f"{MADE}{folder}")
    try:
        yield
    finally:
        _tell(f"{REMOVED}{folder}")
