"""A process that watches the one that works, and ends it where it cannot be interrupted from inside.

The process is forked before anything heavy is imported, which costs about 20 ms of CPU time. It sleeps until it is told
something or gets a signal.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import click

from repvgg_onnx.graph import watch

UNUSABLE = 3
INTERRUPTED = 130
GRACE_S = 5.0
"""Time that Ctrl-C leaves to end in good order."""
ECHO_S = 0.2
"""Time in which a second Ctrl-C is the first one again, from a terminal and from a program that passes it on."""


def supervised(work: Callable[[], None], *, limit_s: float = watch.LIMIT_S, grace_s: float = GRACE_S) -> None:
    """Does the work in a process of its own, and exits with its exit code.

    Where work hangs in code that holds Python's lock, or does not come to an end after Ctrl-C, its process is killed,
    and what it would have left behind is removed. Where no process can be had, the work is done in this one.

    Args:
        work: exits by itself.
        limit_s: longest CPU time that code which cannot be interrupted may take.
        grace_s: time between Ctrl-C and the end.
    """
    _occupy_standard_streams()
    if not hasattr(os, "fork"):
        work()
        return
    told, tell = os.pipe()
    parent, held = os.pipe()  # the second end is open as long as this process lives
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where whoever started us ignores it, exit codes are lost
    # Until each process has its handlers, a signal would end in a traceback or leave the other process behind.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    try:
        child = os.fork()
    except OSError:  # a limit on the number of processes
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        work()
        return
    if child == 0:
        os.close(told)
        os.close(held)
        _begin(tell, parent, limit_s)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            work()
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        return
    os.close(tell)
    os.close(parent)
    watching = _Watch(child, told, limit_s, grace_s)
    watching.begin()
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    sys.exit(watching.exit_code())


def _occupy_standard_streams() -> None:
    """Where the caller has closed stdin, stdout or stderr, no file that is opened later gets what is printed there."""
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        descriptor = os.dup(descriptor)
    os.close(descriptor)


def _begin(tell: int, parent: int, limit_s: float) -> None:
    """Makes this process one that is watched."""

    def listener(message: str) -> None:
        os.write(tell, os.fsencode(message) + b"\0")

    watch.tell_to(listener)
    watch.limit(limit_s)
    _end_with(parent)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(*_: object) -> None:
    """Handler of Ctrl-C: what is under way is undone, which a second signal does not disturb."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with(parent: int) -> None:
    """From now on this process ends when the other end of the pipe is closed, as it is when its parent is gone."""
    import fcntl

    if hasattr(fcntl, "F_SETSIG"):  # Linux, where the kernel does it even while onnx holds Python's lock
        with contextlib.suppress(OSError):
            fcntl.fcntl(parent, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(parent, fcntl.F_SETOWN, os.getpid())
            fcntl.fcntl(parent, fcntl.F_SETFL, fcntl.fcntl(parent, fcntl.F_GETFL) | os.O_ASYNC)
    threading.Thread(target=_outlive_nobody, args=(parent,), daemon=True).start()


def _outlive_nobody(parent: int) -> None:
    """Ends this process when the one that watches it is gone."""
    os.read(parent, 1)
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class _Watch:
    """What is known of the process that works.

    Attributes:
        child: its number; 0 when it has ended.
        told: where it tells what it does; closed when it ends.
        limit_s: longest CPU time that code which cannot be interrupted may take.
        grace_s: time between Ctrl-C and the end.
    """

    child: int
    told: int
    limit_s: float
    grace_s: float
    _wake: int = -1  # readable after a signal
    _interrupted: float | None = None  # when the user pressed Ctrl-C
    _folders: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Passes signals on from now on, but for those that whoever started this process wants ignored."""
        self._wake, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._pass_on)

    def exit_code(self) -> int:
        """Waits for the end."""
        unread = b""
        while True:
            ready, _, _ = select.select([self.told, self._wake], [], [], self._patience())
            if self._wake in ready:
                os.read(self._wake, 64)
            if self.told in ready:
                chunk = os.read(self.told, 65536)
                if not chunk:
                    return self._ended()
                *messages, unread = (unread + chunk).split(b"\0")
                for message in map(os.fsdecode, messages):
                    self._hear(message)
            if self._patience() == 0.0:
                os.kill(self.child, signal.SIGKILL)
                return self._ended()

    def _patience(self) -> float | None:
        """Seconds until the process is killed; None while nobody wants that."""
        if self._interrupted is None:
            return None
        return max(self._interrupted + self.grace_s - time.monotonic(), 0.0)

    def _hear(self, message: str) -> None:
        kind, folder = message[:1], message[1:]
        if kind == watch.MADE:
            self._folders.add(folder)
        elif kind == watch.REMOVED:
            self._folders.discard(folder)

    def _pass_on(self, number: int, _frame: object) -> None:
        """Handler of Ctrl-C, which a terminal also sends to the child itself, and of what ends a process."""
        if number == signal.SIGINT:
            now = time.monotonic()
            if self._interrupted is None:
                self._interrupted = now
            elif now - self._interrupted > ECHO_S:
                self._interrupted = now - self.grace_s  # at once
        if self.child:
            with contextlib.suppress(ProcessLookupError):  # it has ended this moment
                os.kill(self.child, number)

    def _ended(self) -> int:
        _, status = os.waitpid(self.child, 0)
        self.child = 0
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return code
        import shutil

        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)
        return self._died_of(-code)

    def _died_of(self, number: int) -> int:
        """The exit code that says so, unless this process dies of the same signal."""
        if self._interrupted is not None or number == signal.SIGINT:
            return INTERRUPTED
        if number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return 128 + number  # the first process of a container does not die of it
        with contextlib.suppress(OSError):
            click.echo(f"error: {self._why(number)}", err=True)
        return UNUSABLE

    def _why(self, number: int) -> str:
        """What ended the process, in a sentence."""
        if number == signal.SIGPROF:
            return f"onnx took more than {self.limit_s:g} s of CPU time to check a graph or infer its shapes"
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        doubt = ", possibly out of memory" if number == signal.SIGKILL else ""
        return f"the worker process was ended by {name}{doubt}"
