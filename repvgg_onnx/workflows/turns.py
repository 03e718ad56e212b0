"""Processes that work at once, and measure one at a time while all others rest."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from repvgg_onnx.graph import watch

if TYPE_CHECKING:
    from multiprocessing.context import SpawnContext
    from multiprocessing.synchronize import Lock, Semaphore


@dataclass(frozen=True)
class Turns:
    """What the processes of one run agree by.

    Attributes:
        count: number of processes.
        slots: one for each process that works; whoever measures holds all of them.
        door: held by the process that measures or is about to.
    """

    count: int
    slots: Semaphore
    door: Lock

    @classmethod
    def among(cls, count: int, context: SpawnContext) -> Turns:
        """Turns for as many processes, which get them when they are started."""
        return cls(count, context.Semaphore(count), context.Lock())


_turns: Turns | None = None


def begin(turns: Turns) -> None:
    """Makes this process one of those that take turns.

    Ctrl-C is its parent's alone. SIGTERM, and the end of its parent, end it in good order; code that cannot be
    interrupted has a limit of CPU time.
    """
    take(turns)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    watch.limit(watch.LIMIT_S)
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def take(turns: Turns | None) -> None:
    """From now on ``working()`` and ``alone()`` wait for these turns; None for a process that is on its own."""
    global _turns
    _turns = turns


@contextmanager
def working() -> Iterator[None]:
    """The block runs beside other work, and never while another process measures."""
    if _turns is None:
        yield
        return
    try:
        with _turns.slots:
            yield
    except SystemExit:
        os._exit(1)  # the pool would keep the exception for its parent and begin the next piece of work


@contextmanager
def alone() -> Iterator[None]:
    """The block, which is inside of ``working()``, runs while no other process of the run works."""
    if _turns is None:
        yield
        return
    _turns.slots.release()
    try:
        with _turns.door, ExitStack() as held:
            for _ in range(_turns.count):
                held.enter_context(_turns.slots)
            yield
    except Exception:
        _turns.slots.acquire()
        raise
    _turns.slots.acquire()


def _end(*_: object) -> None:
    """Handler of SIGTERM: what is under way is undone, which a second signal does not disturb."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(1)


def _outlive_nobody() -> None:
    """Ends this process when its parent is gone."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
