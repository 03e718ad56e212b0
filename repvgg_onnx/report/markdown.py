"""A run as Markdown, for the page of a pull request: the verdict first, and only what one has to act on below it."""

import re
from collections.abc import Iterator, Sequence

from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.report.cases import cases, headline
from repvgg_onnx.report.groups import group_refusals, group_regions
from repvgg_onnx.report.latency import BenchReport, letter
from repvgg_onnx.report.model import FuseReport, Outcome, Verdict
from repvgg_onnx.report.remedy import command as remedy_command
from repvgg_onnx.report.run import Run, Verification
from repvgg_onnx.report.summary import figures, verdict_of
from repvgg_onnx.report.terminal import decisions_of, difference, errors, remarks_of
from repvgg_onnx.report.units import duration, plural, printable

ROWS = 50
"""Most rows of a table; a longer table would not be a summary."""


def markdown_report(run: Run) -> str:
    """The summary of a run."""
    checked = cases(run)
    mark = ("❌ " if any(case.failed for case in checked) else "✅ ") if checked else ""
    lines = [f"## {mark}{escape(headline(run))}", ""]
    match run.subject:
        case tuple() as outcomes:
            lines += _outcomes(outcomes)
        case Verification() as verified:
            lines += _verification(verified)
        case BenchReport() as measured:
            lines += _bench(measured)
    lines += ["<details><summary>Reproduce</summary>", "", *_block(run.command), "", "</details>", ""]
    lines += [f"repvgg-onnx {run.version}", ""]
    return "\n".join(lines)


def _outcomes(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A table of all models; then, for each that has something to say, what failed and what can be done."""
    rows = [(code(outcome.path), *figures(outcome.report), verdict_of(outcome)) for outcome in outcomes]
    yield from _table(("model", "regions", "nodes", "error", "speedup", "verdict"), rows, right=range(1, 5))
    for outcome in outcomes:
        said = list(_said(outcome, alone=len(outcomes) == 1))
        if said:
            yield from (f"### {code(outcome.path)}", "", *said)


def _said(outcome: Outcome, *, alone: bool) -> Iterator[str]:
    """What there is to say about one model besides its row; of a single one the heading says why it failed."""
    if outcome.error is not None and not alone:
        yield from (f"**{escape(outcome.error)}**", "")
    if outcome.report is not None:
        yield from _regions(outcome.report)
        if outcome.error and outcome.report.verdict is Verdict.FOLDABLE:
            yield from ("To fold them:", "", *_block(remedy_command(outcome.report)), "")
        yield from _worst(outcome.report)
        yield from _refusals(outcome.report)


def _regions(report: FuseReport) -> Iterator[str]:
    """What the regions were and became, alike ones together."""
    groups = group_regions(report.regions)
    if groups:
        rows = [
            (f"{len(group.regions):,}", escape(group.branches), escape(group.folded), code(group.regions[0].name))
            for group in groups
        ]
        yield from _table(("count", "before", "after", "first"), rows, right=(0,))


def _worst(report: FuseReport) -> Iterator[str]:
    """The region with the largest error, the ones that were left, and the latency with its conditions and doubts."""
    if report.parity:
        yield from (f"Outputs: {errors(report.parity)}.", "")
        yield from _parity(report.parity)
    if report.region_parities:
        worst = max(report.region_parities, key=lambda parity: parity.error)
        used = max(parity.used for parity in report.region_parities)
        yield f"Worst region: {code(worst.name)}, error {worst.error:.2g}."
        yield f"No element takes more than {used:.1%} of its a-priori bound on rounding errors."
        yield ""
    for parity in report.rolled_back:
        yield from (f"Left as it was: {code(parity.name)}, error {parity.error:.2g}.", "")
    if report.latency:
        yield from (f"{escape(report.latency.sentence)}.", "")
    yield from _noisy(report.warnings)


def _refusals(report: FuseReport) -> Iterator[str]:
    """Refusals that a user can do something about, a row for each code."""
    rows = [
        (f"{len(group.refusals):,}", code(group.code), code(group.nodes[0]), escape(group.long_form.advice))
        for group in group_refusals(report.refusals)
        if group.long_form.actionable
    ]
    if rows:
        yield from ("Not folded, and what to do:", "")
        yield from _table(("count", "refusal", "first node", "what to do"), rows, right=(0,))


def _verification(verified: Verification) -> Iterator[str]:
    """A row for each output, the worst first."""
    parity = verified.parity
    yield from (f"{code(verified.after)} compared with {code(verified.before)}", "")
    outputs = sorted(parity.outputs, key=lambda output: output.error, reverse=True)
    rows = [
        (
            code(output.name),
            f"{output.error:.2g}",
            f"{output.noise:.2g}",
            f"{output.tolerance:.2g}",
            f"passed by {output.decided_by}" if output.passed else escape(difference(output)),
        )
        for output in outputs
    ]
    yield from _table(("output", "error", "own noise", "tolerance", "verdict"), rows, right=(1, 2, 3))
    conditions = f"{plural(len(parity.feeds), 'feed')} at {' and '.join(parity.levels)}"
    yield from (f"{escape(conditions)}; tolerance: {escape(parity.tolerance_reason)}", "")
    yield from _parity(parity)
    for tensor in verified.bisection.origins if verified.bisection else ():
        yield from (f"They begin to differ in {code(tensor.name)}, computed by {code(tensor.node)}.", "")


def _parity(parity: Parity) -> Iterator[str]:
    """What decided, and what the inputs do not determine."""
    yield from (line for said in (*decisions_of(parity), *remarks_of(parity)) for line in (f"{escape(said)}.", ""))


def _bench(report: BenchReport) -> Iterator[str]:
    """A table for each condition, and what speaks against the figures."""
    for block in report.blocks:
        yield from (f"{escape(str(block.conditions))}, {plural(block.rounds, 'round')}", "")
        rows = []
        for index, model in enumerate(block.models):
            ratio = f"{model.ratio.speedup:.2f} ({model.ratio.low:.2f}–{model.ratio.high:.2f})" if index else ""
            name = f"{letter(index)} {code(report.models[index])}"
            median, p95 = duration(model.timing.median_ns), duration(model.timing.p95_ns)
            rows.append((name, median, p95, f"{model.throughput:,.0f}", ratio))
        head = ("model", "median", "95th percentile", "examples per s", "times as fast as A (95 % CI)")
        yield from _table(head, rows, right=range(1, 5))
        yield from _noisy(block.warnings)
    yield from _noisy(report.warnings)
    yield from (escape(str(report.environment)), "")


def _noisy(sentences: Sequence[str]) -> Iterator[str]:
    """What speaks against figures that were measured."""
    for sentence in sentences:
        yield from (f"Noisy: {escape(sentence)}", "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int]) -> Iterator[str]:
    """A table, cut where it gets long."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('--:' if column in right else '---' for column in range(len(head)))}|"
    yield from (f"| {' | '.join(row)} |" for row in rows[:ROWS])
    yield ""
    if len(rows) > ROWS:
        yield from (f"and {len(rows) - ROWS:,} more", "")


def _block(text: str) -> Iterator[str]:
    """A fenced block that its text cannot end."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    yield from (f"{fence}sh", printable(text), fence)


def code(text: str) -> str:
    r"""Text as it is, in a cell of a table too.

    Example:
        >>> code("a|b"), code("a`b")
        ('`a\\|b`', '`` a`b ``')
    """
    shown = printable(text).replace("|", r"\|")
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {shown} {fence}" if longest else f"`{shown}`"


def escape(text: str) -> str:
    r"""Text that Markdown takes for text: no HTML, no links, no mentions.

    Example:
        >>> escape("<b>|*x*")
        '\\<b\\>\\|\\*x\\*'
    """
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", printable(text)).replace("@", "@\u200b")
