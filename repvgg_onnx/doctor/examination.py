"""Trying every part in a process of its own, and what was found."""

import enum
import json
import platform
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import Any

from repvgg_onnx.checks.environment import core_count, cpu_name
from repvgg_onnx.doctor.parts import PARTS, PROVIDERS, Part, provider_part

LONGEST_S = 120.0
"""Seconds after which a trial is given up; importing torch from a cold disk takes tens of them."""

# -I keeps a file of the working folder from being imported in place of a module.
_PROGRAM = "import sys; sys.path[:] = sys.argv[3:]; from repvgg_onnx.doctor.child import main; main(*sys.argv[1:3])"
_MOST_AT_ONCE = 4  # each trial takes the memory of its packages; torch's several hundred MB


class State(enum.Enum):
    """How a trial ended; the values are part of the JSON format."""

    WORKS = "works"
    MISSING = "missing"
    FAILS = "fails"


@dataclass(frozen=True)
class Finding:
    """What became of one part.

    Attributes:
        part: what was tried.
        state: how that ended.
        versions: versions of the part's packages by module; None for a package that is not installed.
        sentence: why it does not work; empty where it does.
    """

    part: Part
    state: State
    versions: Mapping[str, str | None]
    sentence: str = ""

    @property
    def advice(self) -> str:
        """The command that probably helps; empty where nothing has to be done, or none is known."""
        if self.state is State.WORKS or not self.part.modules:
            return ""
        again = "--force-reinstall " if self.state is State.FAILS else ""
        return f"pip install {again}{self.part.requirement}"


@dataclass(frozen=True)
class Diagnosis:
    """What this installation is and what of it works.

    Attributes:
        tool: version of this package.
        python: version of Python.
        platform: operating system and architecture, such as ``Linux x86_64``.
        cpu: name of the processor.
        cores: logical processors that this process may run on.
        findings: the parts in the order of ``PARTS``, and then onnxruntime's execution providers, the first choice
            first.
    """

    tool: str
    python: str
    platform: str
    cpu: str
    cores: int
    findings: tuple[Finding, ...]

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The parts of the core that do not work."""
        return tuple(each for each in self.findings if each.part.core and each.state is not State.WORKS)


def examine(version: str, parts: Sequence[Part] = PARTS, *, timeout_s: float = LONGEST_S) -> Diagnosis:
    """Every part and every execution provider, tried.

    Args:
        version: version of this package.
        parts: what to try besides execution providers.
        timeout_s: seconds that a trial may take.
    """
    found = _attempt(PROVIDERS, (), timeout_s)
    everything = [*parts, *map(provider_part, found["names"])]
    with ThreadPoolExecutor(max_workers=min(core_count(), _MOST_AT_ONCE)) as pool:
        findings = tuple(pool.map(partial(_find, metadata.packages_distributions(), timeout_s), everything))
    system = f"{platform.system()} {platform.machine()}"
    return Diagnosis(version, platform.python_version(), system, cpu_name(), core_count(), findings)


def _find(distributions: Mapping[str, Sequence[str]], timeout_s: float, part: Part) -> Finding:
    """What becomes of a part.

    Args:
        distributions: names of the distributions that a module is from, by module.
        timeout_s: seconds that the trial may take.
        part: what to try.
    """
    versions = {module: _version(module, distributions) for module in part.modules}
    answer = _attempt(part.trial, part.arguments, timeout_s)
    return Finding(part, State(answer["state"]), versions, answer["sentence"])


def _attempt(trial: str, arguments: Sequence[str], timeout_s: float) -> dict[str, Any]:
    """What a process that tries something says in the end, or what is to be said of how it ended."""
    command = [sys.executable, "-I", "-c", _PROGRAM, trial, json.dumps(arguments), *sys.path]
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _failed(f"did not end in {timeout_s:g} s")
    if ended.returncode < 0:
        return _failed(f"crashed with signal {signal.Signals(-ended.returncode).name}")
    with suppress(ValueError):  # it may have ended before it said anything
        answer: dict[str, Any] = json.loads(_last_line(ended.stdout))
        return answer
    return _failed(f"ended with exit code {ended.returncode}: {_last_line(ended.stderr)}".removesuffix(": "))


def _failed(sentence: str) -> dict[str, Any]:
    return {"state": State.FAILS.value, "sentence": sentence, "names": []}


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or [""])[-1]


def _version(module: str, distributions: Mapping[str, Sequence[str]]) -> str | None:
    """Version of what a module is from; None where it is not installed.

    Python 3.10 finds a distribution only if that lists its modules, which most do not; then it has the module's name.
    """
    for name in distributions.get(module, [module]):
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None
