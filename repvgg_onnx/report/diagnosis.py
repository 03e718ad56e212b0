"""What ``doctor`` found, for people and for programs."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from repvgg_onnx.report.document import Key, document, entry
from repvgg_onnx.report.layout import BAD, GOOD, QUIET, dim, grid, section
from repvgg_onnx.report.units import plural, printable
from repvgg_onnx.workflows.doctor import Diagnosis, Finding, State

PartEntry = entry(
    "PartEntry",
    Finding,
    "What became of one part.",
    "name purpose core state versions sentence advice",
    name=Key(str, "what it is called; unique.", lambda it: it.part.name),
    purpose=Key(str, "what it is good for, in a few words; empty where the name says it.", lambda it: it.part.purpose),
    core=Key(bool, "whether nothing works without it.", lambda it: it.part.core),
)
DiagnosisEntry = entry(
    "DiagnosisEntry",
    Diagnosis,
    "Report of doctor.",
    "healthy python platform cpu cores parts=findings",
    PartEntry,
    healthy=Key(bool, "whether the core works.", lambda it: not it.broken),
)

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
    return document(diagnosis.tool, DiagnosisEntry.of(diagnosis))


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
