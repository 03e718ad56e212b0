"""A process that watches the one that works, and ends it where it cannot be interrupted from inside.

The process is forked before anything heavy is imported, which takes about a millisecond. It sleeps until it is told
something or gets a signal.
"""

import os
import select
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

UNUSABLE = 3
INTERRUPTED = 130
LIMIT_S = 120.0
"""Longest time that one call of onnx may take: a hundred times what 100,000 nodes take."""
GRACE_S = 5.0
"""Time that Ctrl-C leaves to end in good order."""


def supervised(work: Callable[[], None], *, limit_s: float = LIMIT_S, grace_s: float = GRACE_S) -> None:
    """Does the work in a process of its own, and exits with its exit code.

    Where work hangs in code that holds Python's lock, or does not come to an end after Ctrl-C, its process is killed,
    and what it would have left behind is removed.

    Args:
        work: exits by itself.
        limit_s: longest time that code which cannot be interrupted may take.
        grace_s: time between Ctrl-C and the end.
    """
    if not hasattr(os, "fork"):
        work()
        return
    told, tell = os.pipe()
    parent, held = os.pipe()  # the second end is open as long as this process lives
    child = os.fork()
    if child == 0:
        os.close(told)
        os.close(held)
        _begin(tell, parent)
        work()
        return
    os.close(tell)
    os.close(parent)
    sys.exit(_Watch(child, told, limit_s, grace_s).exit_code())


def _begin(tell: int, parent: int) -> None:
    """Makes this process one that is watched."""
    from repvgg_onnx.graph import watch

    def listener(message: str) -> None:
        os.write(tell, os.fsencode(message) + b"\0")

    watch.tell_to(listener)
    threading.Thread(target=_outlive_nobody, args=(parent,), daemon=True).start()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(*_: object) -> None:
    """Handler of Ctrl-C: what is under way is undone, which a second signal does not disturb."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _outlive_nobody(parent: int) -> None:
    """Ends this process when the one that watches it is gone."""
    os.read(parent, 1)
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class _Watch:
    """What is known of the process that works.

    Attributes:
        child: its number.
        told: where it tells what it does; closed when it ends.
        limit_s: as for ``supervised``.
        grace_s: as for ``supervised``.
    """

    child: int
    told: int
    limit_s: float
    grace_s: float
    _begun: float | None = None  # when it began what cannot be interrupted
    _interrupted: float | None = None  # when the user pressed Ctrl-C
    _folders: set[str] = field(default_factory=set)

    def exit_code(self) -> int:
        """Waits for the end."""
        wake, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._pass_on)
        signal.signal(signal.SIGTERM, self._pass_on)
        unread = b""
        while True:
            ready, _, _ = select.select([self.told, wake], [], [], self._patience())
            if wake in ready:
                os.read(wake, 64)
            if self.told in ready:
                chunk = os.read(self.told, 65536)
                if not chunk:
                    return self._reaped()
                *messages, unread = (unread + chunk).split(b"\0")
                for message in map(os.fsdecode, messages):
                    self._hear(message)
            if self._patience() == 0.0:
                return self._killed()

    def _patience(self) -> float | None:
        """Seconds until something has to be done; None while nothing has."""
        ends = [] if self._begun is None else [self._begun + self.limit_s]
        ends += [] if self._interrupted is None else [self._interrupted + self.grace_s]
        return max(min(ends) - time.monotonic(), 0.0) if ends else None

    def _hear(self, message: str) -> None:
        from repvgg_onnx.graph.watch import BEGUN, ENDED, MADE

        kind, folder = message[0], message[1:]
        if kind in (BEGUN, ENDED):
            self._begun = time.monotonic() if kind == BEGUN else None
        elif kind == MADE:
            self._folders.add(folder)
        else:
            self._folders.discard(folder)

    def _pass_on(self, number: int, _frame: object) -> None:
        """Handler of Ctrl-C, which a terminal also sends to the child itself, and of SIGTERM."""
        if number == signal.SIGINT:
            self._interrupted = time.monotonic() if self._interrupted is None else 0.0  # at once the second time
        os.kill(self.child, number)

    def _reaped(self) -> int:
        _, status = os.waitpid(self.child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return code
        self._tidy()
        if -code == signal.SIGTERM:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
        if -code == signal.SIGINT:
            return INTERRUPTED
        print(f"error: the worker process was ended by {signal.Signals(-code).name}", file=sys.stderr)
        return UNUSABLE

    def _killed(self) -> int:
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        self._tidy()
        if self._interrupted is not None:
            return INTERRUPTED
        print(
            f"error: onnx did not finish checking a graph or inferring its shapes within {self.limit_s:g} s",
            file=sys.stderr,
        )
        return UNUSABLE

    def _tidy(self) -> None:
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
