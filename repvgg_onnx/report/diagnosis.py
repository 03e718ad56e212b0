"""What ``doctor`` found, for people and for programs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import field
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from repvgg_onnx.report.document import Entry, document
from repvgg_onnx.report.layout import BAD, GOOD, QUIET, dim, grid, section
from repvgg_onnx.report.units import plural, printable
from repvgg_onnx.workflows.doctor import Diagnosis, Finding, State

if TYPE_CHECKING:
    from typing_extensions import Self

_STYLES = {State.WORKS: GOOD, State.MISSING: QUIET, State.FAILS: BAD}


def diagnosis_report(diagnosis: Diagnosis) -> Group:
    """The verdict, what it is about, the parts in two tables, and what is to be done about those that do not work."""
    core = [finding for finding in diagnosis.findings if finding.part.core]
    optional = [finding for finding in diagnosis.findings if finding.part.extra]
    providers = [finding for finding in diagnosis.findings if finding not in (*core, *optional)]
    return Group(
        Text("the core does not work", style=BAD) if diagnosis.broken else Text("the core works", style=GOOD),
        Text(f"repvgg-onnx {diagnosis.tool}, Python {diagnosis.python}, {diagnosis.platform}"),
        Text(f"{printable(diagnosis.cpu)}, {plural(diagnosis.cores, 'core')}"),
        *section("Core", _table(core)),
        *section("Optional", _table(optional)),
        *section("Execution providers", grid([(_state(each), Text(printable(each.part.name))) for each in providers])),
        *_remarks(diagnosis),
    )


def diagnosis_json(diagnosis: Diagnosis) -> str:
    """The same as JSON; versions are null for packages that are not installed."""
    return document(diagnosis.tool, DiagnosisEntry.of(diagnosis, healthy=not diagnosis.broken))


class PartEntry(Entry, frozen=True, kw_only=True):
    """What became of one part.

    Attributes:
        name: what it is called; unique.
        purpose: what it is good for, in a few words; empty where the name says it.
        core: whether nothing works without it.
    """

    shows: ClassVar = Finding
    name: str
    purpose: str
    core: bool
    state: State
    versions: Mapping[str, str | None]
    sentence: str
    advice: str

    @classmethod
    def of(cls, result: Finding, **given: Any) -> "Self":
        """Of the part what identifies it."""
        part = result.part
        return super().of(result, name=part.name, purpose=part.purpose, core=part.core, **given)


class DiagnosisEntry(Entry, frozen=True, kw_only=True):
    """Report of doctor.

    Attributes:
        healthy: whether the core works.
    """

    shows: ClassVar = Diagnosis
    healthy: bool
    python: str
    platform: str
    cpu: str
    cores: int
    findings: tuple[PartEntry, ...] = field(name="parts")


def _table(findings: Sequence[Finding]) -> Table:
    """A row for each part: how its trial ended, what it is good for, and the versions that it stands on."""
    table = Table.grid(padding=(0, 2), pad_edge=False)
    for finding in findings:
        part, versions = finding.part, finding.versions.items()
        found = Text(", ".join(f"{module} {version or '-'}" for module, version in versions))
        table.add_row(_state(finding), Text(printable(part.name)), Text(part.purpose), found)
    return table


def _state(finding: Finding) -> Text:
    return Text(finding.state.value, style=_STYLES[finding.state])


def _remarks(diagnosis: Diagnosis) -> Iterator[RenderableType]:
    """One for each part that does not work: why, and the command that probably helps."""
    ailing = [finding for finding in diagnosis.findings if finding.state is not State.WORKS]
    if ailing:
        yield Text()
    for finding in ailing:
        yield Text(f"{printable(finding.part.name)}: {printable(finding.sentence)}")
        if finding.advice:
            yield Padding(dim(finding.advice), (0, 0, 0, 2))
