"""Several models on one screen of 80 columns: a line for each, and what can be folded in them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from repvgg_onnx.report.findings import change, overridable_words
from repvgg_onnx.report.groups import group_regions
from repvgg_onnx.report.layout import BAD, GOOD, HEAD, dim, grid, shortened
from repvgg_onnx.report.model import FuseReport, Outcome, Verdict
from repvgg_onnx.report.units import names, plural, printable

NOTHING = "-"
"""What stands where nothing was found or measured."""

_VERDICTS = {
    Verdict.FUSED: "fused",
    Verdict.NOTHING_TO_FOLD: "nothing to fold",
    Verdict.FOLDABLE: "foldable",
    Verdict.PARITY_FAILED: "differs",
    Verdict.REGION_FAILED: "region failed",
    Verdict.TOO_SLOW: "too slow",
    Verdict.UNFIT: "unfit",
}


def summary(outcomes: Sequence[Outcome]) -> Group:
    """What ``fuse`` did with several models: a row for each, and how many ended how."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style=HEAD)
    table.add_column("model", overflow="fold")
    for column in ("regions", "nodes", "error", "speedup"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for outcome in outcomes:
        table.add_row(printable(outcome.path), *figures(outcome.report), _verdict(outcome))
    return Group(table, Text(), Text(totals(outcomes)))


def check_report(outcomes: Sequence[Outcome]) -> Group:
    """What ``check`` found: for each model the kinds of its foldable regions and where they are."""
    return Group(*(part for outcome in outcomes for part in _found(outcome)), Text(), Text(totals(outcomes)))


def totals(outcomes: Sequence[Outcome]) -> str:
    """How many models ended how, the most frequent end first."""
    ends = Counter(map(verdict_of, outcomes))
    counted = ", ".join(f"{number:,} {end}" for end, number in ends.most_common())
    return f"{plural(len(outcomes), 'model')}: {counted}"


def figures(report: FuseReport | None) -> Iterator[str]:
    """Regions, nodes, error and speedup of one model, as the cells of a table."""
    if report is None:
        yield from [NOTHING] * 4
        return
    before, after = report.before.census.nodes, report.after.census.nodes
    yield f"{len(report.regions):,}"
    yield f"{before:,} -> {after:,}" if report.regions else f"{before:,}"
    yield f"{report.parity.error:.1e}" if report.parity else NOTHING
    yield f"{report.latency.speedup:.2f}x" if report.latency else NOTHING


def verdict_of(outcome: Outcome) -> str:
    """How the work on a model ended, in a word or two."""
    if outcome.report is None:
        return "not begun" if outcome.error is None else "not usable"
    report = outcome.report
    copied = report.verdict is Verdict.NOTHING_TO_FOLD and report.after.path is not None
    return "copied" if copied else _VERDICTS[report.verdict]


def _verdict(outcome: Outcome) -> Text:
    """The same in colour."""
    if outcome.report is None and outcome.error is None:
        return dim(verdict_of(outcome))
    return Text(verdict_of(outcome), style=BAD if outcome.error else GOOD)


def _found(outcome: Outcome) -> Iterator[RenderableType]:
    """What can be folded in one model."""
    report = outcome.report
    found = _verdict(outcome)
    if report is not None and report.regions:
        found = Text(f"{plural(len(report.regions), 'region')} to fold", style=BAD if outcome.error else "")
    yield Text.assemble((printable(outcome.path), HEAD), ": ", found, overridable_words(report))
    if report is not None and report.regions:
        rows = [
            (
                Text(f"{len(group.regions):,} x"),
                Text("\n").join([change(group), dim(names([region.name for region in group.regions]))]),
            )
            for group in group_regions(report.regions)
        ]
        yield Padding(grid(shortened(rows, "kind", see="--json")), (0, 0, 0, 2), expand=False)
