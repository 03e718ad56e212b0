"""How much memory a process holds at most."""

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Footprint:
    """Resident memory of a process that has imported onnxruntime, opened one session and run it once.

    Attributes:
        base_bytes: peak before the session was opened; on Linux what was resident just then.
        peak_bytes: peak after the run.
    """

    base_bytes: int
    peak_bytes: int

    @property
    def added_bytes(self) -> int:
        """What reading, optimizing and running the model took at most beyond what was there."""
        return self.peak_bytes - self.base_bytes


def forget_peak(clear_refs: Path = CLEAR_REFS) -> None:
    """On Linux the peak of this process becomes what it holds now; elsewhere nothing happens.

    Source: proc_pid_clear_refs(5).
    """
    with suppress(OSError):
        clear_refs.write_text("5")


def peak_resident_bytes(status: Path = STATUS) -> int | None:
    """Most bytes that were resident in this process; None where the system does not tell.

    On Linux the figure is that of the program itself: ``ru_maxrss`` would also count the process that started it.

    Source: proc_pid_status(5), VmHWM; getrusage(2), which hands ru_maxrss down through execve.
    """
    with suppress(OSError):
        if found := re.search(r"^VmHWM:\s*(\d+) kB$", status.read_text(encoding="ascii"), re.MULTILINE):
            return int(found[1]) * 1024
    try:
        import resource
    except ImportError:
        return None
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
