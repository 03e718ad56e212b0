"""What can be tried, what it is good for, and what became of it."""

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
from importlib import metadata

from repvgg_onnx.checks.environment import core_count, cpu_name

LONGEST_S = 120.0
"""Seconds after which a trial is given up; importing torch from a cold disk takes tens of them."""

_TRIALS = "repvgg_onnx.workflows.doctor.trials"
# -I keeps a file of the working folder from being imported in place of a module.
_PROGRAM = f"import sys; sys.path[:] = sys.argv[3:]; from {_TRIALS} import main; main(*sys.argv[1:3])"
_MOST_AT_ONCE = 4  # each trial takes the memory of its packages; torch's several hundred MB


@dataclass(frozen=True)
class Part:
    """Something that works or does not.

    Attributes:
        name: what it is called; unique.
        purpose: what it is good for, in a few words; empty where the name says it.
        trial: the function that tries it, as ``module:name``.
        modules: packages that it stands on, by the names they are imported by.
        arguments: what the function is given.
        extra: the extra of this distribution that installs them; empty where none does.
        core: whether nothing works without it.
    """

    name: str
    purpose: str
    trial: str
    modules: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    extra: str = ""
    core: bool = False


def _imported(name: str, purpose: str, *modules: str, extra: str = "") -> Part:
    """A part that works if its modules can be imported: their own tests try them."""
    packages = tuple(module.partition(".")[0] for module in modules)
    return Part(name, purpose, f"{_TRIALS}:load", packages, modules, extra or name)


_PEERS = ("onnxoptimizer", "onnxscript.optimizer", "onnxsim", "onnxslim")
PARTS = (
    Part("models", "reading and writing", f"{_TRIALS}:read_and_write", ("onnx", "numpy", "ml_dtypes"), core=True),
    Part("fusion", "fuse, check, inspect", f"{_TRIALS}:fold", ("onnx_graphsurgeon",), core=True),
    Part("runtime", "verify, bench", f"{_TRIALS}:compare", ("onnxruntime",), core=True),
    Part("export", "export", f"{_TRIALS}:export", ("torch", "onnxscript"), extra="export"),
    _imported("report", "pictures, HTML, JUnit", "matplotlib.figure", "jinja2", "junitparser"),
    Part("triton", "triton", f"{_TRIALS}:triton", ("tritonclient",), extra="triton"),
    _imported("dask", "fuse_many() on a cluster", "distributed"),
    _imported("train", "samples/train", "torch", "PIL.Image"),
    _imported("serve", "samples/serve", "fastapi", "uvicorn"),
    _imported("peers", "samples/benchmarks", *_PEERS, extra="bench"),
)
"""Every part but the execution providers, which onnxruntime names."""


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
        return f"pip install {again}" + (f"'repvgg-onnx[{self.part.extra}]'" if self.part.extra else "repvgg-onnx")


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
    distributions = metadata.packages_distributions()

    def find(part: Part) -> Finding:
        versions = {module: _version(distributions.get(module, [module])) for module in part.modules}
        state, sentence, _ = _attempt(part, timeout_s)
        return Finding(part, State(state), versions, sentence)

    _, _, providers = _attempt(Part("", "", f"{_TRIALS}:providers"), timeout_s)
    everything = [*parts, *(Part(name, "", f"{_TRIALS}:run_on", arguments=(name,)) for name in providers)]
    with ThreadPoolExecutor(max_workers=min(core_count(), _MOST_AT_ONCE)) as pool:
        findings = tuple(pool.map(find, everything))
    system = f"{platform.system()} {platform.machine()}"
    return Diagnosis(version, platform.python_version(), system, cpu_name(), core_count(), findings)


def _attempt(part: Part, timeout_s: float) -> tuple[str, str, list[str]]:
    """A state, a sentence and names: what a process says that tries a part, or what is to be said of how it ended."""
    command = [sys.executable, "-I", "-c", _PROGRAM, part.trial, json.dumps(part.arguments), *sys.path]
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "fails", f"did not end in {timeout_s:g} s", []
    if ended.returncode < 0:
        return "fails", f"crashed with signal {signal.Signals(-ended.returncode).name}", []
    with suppress(ValueError, TypeError):  # it may have ended before it said anything
        state, sentence, names = json.loads(_last_line(ended.stdout))
        return state, sentence, names
    return "fails", f"ended with exit code {ended.returncode}: {_last_line(ended.stderr)}".removesuffix(": "), []


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or [""])[-1]


def _version(distributions: Sequence[str]) -> str | None:
    """Version of the first that is installed; None if none is.

    Python 3.10 finds a distribution only if that lists its modules, which most do not; then it has the module's name.
    """
    for name in distributions:
        with suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return None
