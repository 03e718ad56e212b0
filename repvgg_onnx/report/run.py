"""One run of a command, as everything that is made into a file takes it."""

from dataclasses import dataclass
from typing import TypeAlias

from repvgg_onnx.checks.bisection import Bisection
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.report.latency import BenchReport
from repvgg_onnx.report.model import Outcome


@dataclass(frozen=True)
class Verification:
    """What ``verify`` found.

    Attributes:
        before: the first model, as the user named it.
        after: the second.
        parity: how their outputs compare.
        bisection: where they begin to differ, if that was asked for.
    """

    before: str
    after: str
    parity: Parity
    bisection: Bisection | None = None


Subject: TypeAlias = tuple[Outcome, ...] | Verification | BenchReport
"""What a run was about: models that were folded or checked, two that were compared, or some that were measured."""


@dataclass(frozen=True)
class Run:
    """Everything that a report can say.

    Attributes:
        version: of this package.
        command: the line that does the same again, quoted for a shell.
        document: the report for programs, as ``--json`` writes it.
        subject: what was found.
    """

    version: str
    command: str
    document: str
    subject: Subject
