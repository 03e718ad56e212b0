"""Several models on one screen of 80 columns: a line for each, and what can be folded in them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.report.findings import change, overridable_words, refusal_lines, regions_found
from repvgg_onnx.report.groups import group_regions
from repvgg_onnx.report.layout import BAD, GOOD, HEAD, dim, grid, noisy_lines, shortened
from repvgg_onnx.report.model import FuseReport, Outcome, Verdict
from repvgg_onnx.report.remedy import remedy
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
    noisy = dict.fromkeys(sentence for outcome in outcomes if outcome.report for sentence in outcome.report.warnings)
    return Group(table, Text(), *noisy_lines(noisy), Text(totals(outcomes)))


def check_report(outcomes: Sequence[Outcome], *, every: bool = False) -> Group:
    """What ``check`` found: for each model the kinds of its foldable regions, where they are, and what mends that.

    Args:
        outcomes: the models.
        every: list refusals too for which nothing can be done.
    """
    parts = [part for outcome in outcomes for part in _found(outcome, every=every)]
    return Group(*parts, Text(), Text(totals(outcomes)))


def achieved(report: FuseReport) -> str:
    """What a run found and did in a few words with figures: regions, error against noise, speed."""
    parts = [regions_found(report)]
    if report.parity is not None:
        same = "same outputs" if report.parity.passed else "different outputs"
        parts.append(f"{same} (error {error_words(report.parity)})")
    elif report.verdict is Verdict.FUSED:
        parts.append("not verified")
    if report.latency is not None:
        parts.append(report.latency.finding)
    return ", ".join(parts)


def error_words(parity: Parity) -> str:
    """The worst error, and what the network's own noise is where that was measured."""
    return f"{parity.error:.2g}" + (f", own noise {parity.noise:.2g}" if parity.noise else "")


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
    before, after = (sum(model.running.values()) for model in (report.before, report.after))
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


def _found(outcome: Outcome, *, every: bool) -> Iterator[RenderableType]:
    """What can be folded in one model."""
    report = outcome.report
    found = _verdict(outcome)
    if report is not None and report.regions:
        found = Text(regions_found(report), style=BAD if outcome.error else "")
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
    if report is not None:
        yield from (Padding(line, (0, 0, 0, 2), expand=False) for line in refusal_lines(report, every=every))
    if report is not None and outcome.error and report.regions:
        yield Padding(Text(remedy(report)), (0, 0, 0, 2), expand=False)
