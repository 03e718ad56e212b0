"""How long each stage of a run takes: whoever wants to know opens a stopwatch, and whoever works names the stage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

STAGES = ("read", "fold", "check", "measure", "write")
"""The names of stages, in their order."""

_open: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


class Stopwatch:
    """Seconds of each stage; of a stage inside another one, only the inner one's count.

    Attributes:
        seconds: by name, in the order in which stages began.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def running(self) -> Iterator[Stopwatch]:
        """Stages that begin inside the block are timed by this stopwatch."""
        before = _open.set(self)
        try:
            yield self
        finally:
            _open.reset(before)

    def begin(self, name: str) -> None:
        """A stage begins, and the one around it pauses."""
        self._pass()
        self._running.append(name)
        self.seconds.setdefault(name, 0.0)

    def end(self) -> None:
        """The stage that began last is over."""
        self._pass()
        self._running.pop()

    def _pass(self) -> None:
        now = perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now


@contextmanager
def timed(name: str) -> Iterator[None]:
    """The block, or every call of the function, is a stage whose time counts where a stopwatch is running.

    Args:
        name: one of STAGES.
    """
    stopwatch = _open.get()
    if stopwatch is None:
        yield
        return
    stopwatch.begin(name)
    try:
        yield
    finally:
        stopwatch.end()
