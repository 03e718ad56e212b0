"""The machine and the programs that a figure was measured with."""

import os
import platform
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


@dataclass(frozen=True)
class Environment:
    """What a figure depends on besides the model.

    Attributes:
        cpu: name of the processor.
        cores: logical processors that this process may run on.
        governor: what sets the clock of the first one, such as ``performance``; None where the system does not tell.
        load: load average of the last minute; None where the system does not tell.
        onnxruntime: its version.
        python: its version.
        platform: operating system and architecture, such as ``Linux x86_64``.
    """

    cpu: str
    cores: int
    governor: str | None
    load: float | None
    onnxruntime: str
    python: str
    platform: str

    def __str__(self) -> str:
        """Such as ``AMD EPYC, 2 cores, load 0.31, onnxruntime 1.31.1, Python 3.11.2, Linux x86_64``."""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        governor = [] if self.governor is None else [f"governor {self.governor}"]
        load = [] if self.load is None else [f"load {self.load:.2f}"]
        programs = [f"onnxruntime {self.onnxruntime}", f"Python {self.python}", self.platform]
        return ", ".join([self.cpu, cores, *governor, *load, *programs])


def describe_environment() -> Environment:
    """The environment of this process, now."""
    import onnxruntime  # here, so that what else is in this module can be said where onnxruntime does not work

    return Environment(
        cpu=cpu_name(),
        cores=core_count(),
        governor=governor(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        onnxruntime=onnxruntime.__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
    )


def cpu_name(cpuinfo: Path = CPUINFO) -> str:
    """Name of the processor; of its architecture where the system does not tell."""
    with suppress(OSError):
        if found := re.search(r"^model name\s*: (.+)$", cpuinfo.read_text(encoding="utf-8"), re.MULTILINE):
            return " ".join(found[1].split())
    return platform.processor() or platform.machine()


def core_count() -> int:
    """Logical processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def governor(place: Path = GOVERNOR) -> str | None:
    """What sets the clock of the first processor; None where the system does not tell."""
    with suppress(OSError):
        return place.read_text(encoding="ascii").strip()
    return None
