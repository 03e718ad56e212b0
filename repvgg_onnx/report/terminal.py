"""A report as text for one screen of 80 columns: rich renderables, readable without colour."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from repvgg_onnx.census import Census
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import OutputParity, Parity
from repvgg_onnx.report.groups import RefusalGroup, RegionGroup, group_refusals, group_regions
from repvgg_onnx.report.model import FuseReport, Verdict
from repvgg_onnx.report.units import count, duration, names, plural, printable, size

_ROWS_SHOWN = 10
_GOOD, _BAD, _QUIET, _HEAD = "green", "bold red", "dim", "bold"


def fuse_report(report: FuseReport) -> Group:
    """The whole report of ``fuse`` or ``inspect``."""
    return Group(*_sections(report))


def parity_report(parity: Parity) -> Group:
    """The comparison of two models: the verdict, then every output that differs."""
    word, style = ("same outputs", _GOOD) if parity.passed else ("different outputs", _BAD)
    conditions = f"{plural(len(parity.feeds), 'feed')} at {' and '.join(parity.levels)}"
    verdict = Text.assemble((word, style), f": worst error {parity.error:.2g} on {conditions}")
    failed = [_failed_output(output) for output in parity.outputs if not output.passed]
    return Group(verdict, _dim(f"tolerance: {parity.tolerance_reason}"), *_shortened(failed, "output"))


def parity_failure(parity: Parity) -> str:
    """The worst output that did not pass, in words."""
    return _difference(max((output for output in parity.outputs if not output.passed), key=lambda it: it.error))


def latency_report(latency: Latency) -> Group:
    """The measured times: one sentence with its conditions, then both medians."""
    style = {"faster": _GOOD, "slower": _BAD}.get(latency.verdict, "")
    medians = f"median {duration(latency.before.median_ns)} before, {duration(latency.after.median_ns)} after"
    return Group(Text(latency.sentence, style=style), _dim(medians))


def _sections(report: FuseReport) -> Iterator[RenderableType]:
    """The parts of a report from top to bottom; parts that have nothing to say are left out."""
    yield _title(report)
    if report.regions:
        yield from _region_lines(report)
    if report.refusals:
        yield from _refusal_lines(report)
    yield Text()
    yield _change_table(report) if report.regions else _dim(_size_line(report))
    if report.parity:
        yield from _section("Parity", parity_report(report.parity))
    if report.latency:
        yield from _section("Latency", latency_report(report.latency))
    if outcome := _outcome(report):
        yield Text()
        yield outcome


def _section(title: str, body: RenderableType) -> Iterator[RenderableType]:
    """A title and, indented under it, a body."""
    yield Text()
    yield Text(title, style=_HEAD)
    yield _indented(body)


def _title(report: FuseReport) -> Text:
    """The first line: what was found in which file."""
    found = plural(len(report.regions), "region") + " to fold" if report.regions else "nothing to fold"
    return Text.assemble((printable(report.before.path or "model"), _HEAD), f": {found}")


def _region_lines(report: FuseReport) -> Iterator[RenderableType]:
    """What the regions were and became, alike ones on one line."""
    members = sum(len(region.members) for region in report.regions)
    heading = f"{plural(members, 'node')} become {len(report.regions):,}"
    yield from _section(heading, _grid(list(map(_region_row, group_regions(report.regions))), "kind"))


def _region_row(group: RegionGroup) -> tuple[Text, Text]:
    """How many regions there are of a kind, and what they are."""
    line = Text.assemble(printable(group.branches), (" -> ", _QUIET), printable(group.folded))
    return Text(f"{len(group.regions)} x"), line


def _refusal_lines(report: FuseReport) -> Iterator[RenderableType]:
    """Why other nodes were not folded, one entry a code."""
    rows = [_refusal_row(group) for group in group_refusals(report.refusals)]
    yield from _section("Not folded", _grid(rows, "reason"))


def _refusal_row(group: RefusalGroup) -> tuple[Text, Text]:
    """How often a code was given, its first sentence and its first nodes."""
    where = Text(f"{group.code}: {names(group.nodes)}", style=_QUIET)
    return Text(f"{len(group.nodes)} x"), Text.assemble(printable(group.sentence), "\n", where)


def _grid(rows: list[tuple[Text, Text]], noun: str) -> Table:
    """Counts and texts in two columns; rows beyond a screenful are counted, not shown."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows[:_ROWS_SHOWN]:
        table.add_row(*row)
    if len(rows) > _ROWS_SHOWN:
        table.add_row("", _dim(f"and {plural(len(rows) - _ROWS_SHOWN, noun)} more, see --json"))
    return table


def _change_table(report: FuseReport) -> Table:
    """Node counts by operator, parameters and file size, before and after."""
    table = Table(box=None, pad_edge=False, header_style=_HEAD)
    table.add_column("")
    table.add_column("before", justify="right", min_width=10)
    table.add_column("after", justify="right", min_width=10)
    for row in _change_rows(report):
        table.add_row(*row)
    return table


def _change_rows(report: FuseReport) -> Iterator[tuple[str, str, str]]:
    """The rows of the table of changes; operators whose count stays are one row."""
    before, after = report.before.census, report.after.census
    changed, unchanged = _by_change(before, after)
    for op_type in changed[:_ROWS_SHOWN]:
        yield printable(op_type), f"{before.nodes_by_op.get(op_type, 0):,}", f"{after.nodes_by_op.get(op_type, 0):,}"
    rest = [*changed[_ROWS_SHOWN:], *unchanged]
    if rest:
        yield "other nodes", _total(before, rest), _total(after, rest)
    yield "all nodes", f"{before.nodes:,}", f"{after.nodes:,}"
    yield "parameters", count(before.parameters), count(after.parameters)
    if report.before.size_bytes is not None and report.after.size_bytes is not None:
        yield "file size", size(report.before.size_bytes), size(report.after.size_bytes)


def _by_change(before: Census, after: Census) -> tuple[list[str], list[str]]:
    """Operators whose count changes, those with the largest change first, and the others."""
    change = {
        op_type: abs(before.nodes_by_op.get(op_type, 0) - after.nodes_by_op.get(op_type, 0))
        for op_type in sorted({*before.nodes_by_op, *after.nodes_by_op})
    }
    ordered = sorted(change, key=lambda op_type: change[op_type], reverse=True)
    return [op for op in ordered if change[op]], [op for op in ordered if not change[op]]


def _total(census: Census, op_types: list[str]) -> str:
    """Number of nodes of several operators."""
    return f"{sum(census.nodes_by_op.get(op_type, 0) for op_type in op_types):,}"


def _size_line(report: FuseReport) -> str:
    """The census of a model in which nothing folds."""
    parts = [plural(report.before.census.nodes, "node"), f"{count(report.before.census.parameters)} parameters"]
    if report.before.size_bytes is not None:
        parts.append(size(report.before.size_bytes))
    return ", ".join(parts)


def _failed_output(output: OutputParity) -> Text:
    """One output that differs: how, and where it was seen."""
    return Text(f"{_difference(output)}, on {output.worst_feed} at {output.worst_level}", style=_BAD)


def _difference(output: OutputParity) -> str:
    """How an output differs."""
    how = printable(output.reason) or f"error {output.error:.2g} is above {output.tolerance:.2g}"
    return f"output {printable(output.name)}: {how}"


def _shortened(lines: list[Text], noun: str) -> list[Text]:
    """The first lines, and how many more there are."""
    left = len(lines) - _ROWS_SHOWN
    return [*lines[:_ROWS_SHOWN], _dim(f"and {plural(left, noun)} more")] if left > 0 else lines


def _outcome(report: FuseReport) -> Text:
    """The last line: what was written; empty where the first line says it all."""
    written = printable(report.after.path) if report.after.path else ""
    match report.verdict:
        case Verdict.FUSED:
            return Text(f"wrote {written}" + ("" if report.parity else ", not verified"), style=_GOOD)
        case Verdict.NOTHING_TO_FOLD:
            return Text(f"wrote {written}, a copy of the input" if written else "")
        case Verdict.FOLDABLE:
            return Text()
        case Verdict.PARITY_FAILED | Verdict.TOO_SLOW:
            return Text("nothing was written", style=_BAD)


def _dim(text: str) -> Text:
    """A line of lesser weight."""
    return Text(text, style=_QUIET)


def _indented(body: RenderableType) -> Padding:
    """A body two columns to the right."""
    return Padding(body, (0, 0, 0, 2), expand=False)
