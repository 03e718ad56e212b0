"""Commands in processes of their own: how long they take, and how much memory, read from /proc and so on Linux only."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLING_S = 0.004
TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Run:
    """What a process took.

    Attributes:
        code: exit code, negative for a signal.
        wall_s: seconds from start to end.
        cpu_s: seconds of user and system time, all threads together.
        resident_bytes: largest resident memory, the pages of mapped files included.
        anonymous_bytes: largest resident memory without those pages, sampled.
        output: what it printed, on both streams.
    """

    code: int
    wall_s: float
    cpu_s: float
    resident_bytes: int
    anonymous_bytes: int
    output: str

    @property
    def last_line(self) -> str:
        """The last line that it printed, which tells of an error."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit code {self.code}"


def run(command: Sequence[str | Path], *, timeout_s: float = TIMEOUT_S) -> Run:
    """Runs a command to its end, or until the time is over, when it is killed."""
    with tempfile.TemporaryFile() as printed:
        started = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=printed, stderr=subprocess.STDOUT)
        resident = anonymous = pid = 0
        while not pid:
            status = _status(process.pid)
            resident = max(resident, status.get("VmHWM", 0))
            anonymous = max(anonymous, status.get("RssAnon", 0) + status.get("RssShmem", 0))
            if time.perf_counter() - started > timeout_s:
                os.kill(process.pid, signal.SIGKILL)  # process.kill() may reap it, and its usage is lost then
            time.sleep(SAMPLING_S)
            pid, ended, usage = os.wait4(process.pid, os.WNOHANG)
        wall_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(ended)
        printed.seek(0)
        output = printed.read().decode(errors="replace")
    cpu_s = usage.ru_utime + usage.ru_stime
    return Run(process.returncode, wall_s, cpu_s, resident, anonymous, output)


def _status(pid: int) -> dict[str, int]:
    """Memory of a process in bytes by kind; empty once it has ended.

    ``ru_maxrss`` is not used: it counts what this process has, too, because a child begins as a copy of it.
    """
    try:
        lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[-1] == "kB"}
    except (OSError, IndexError):
        return {}
