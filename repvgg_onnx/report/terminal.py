"""A report as text for one screen of 80 columns: rich renderables, readable without colour."""

import math
from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from repvgg_onnx.checks.agreement import Agreement
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import OutputParity, Parity
from repvgg_onnx.checks.reference import OF_NOISE
from repvgg_onnx.report.census import census_section, condition_lines, layer_section, profile_rows
from repvgg_onnx.report.findings import (
    note_lines,
    refusal_details,
    refusal_lines,
    region_details,
    region_lines,
    size_lines,
    title,
)
from repvgg_onnx.report.layout import BAD, GOOD, HEAD, ROWS_SHOWN, WARNING, dim, noisy_lines, section
from repvgg_onnx.report.model import FuseReport, Verdict
from repvgg_onnx.report.remedy import remedy
from repvgg_onnx.report.summary import achieved
from repvgg_onnx.report.target import target_lines
from repvgg_onnx.report.tuning import gate_line, tuning_lines
from repvgg_onnx.report.units import count, duration, names, plural, printable, share, size


def fuse_report(report: FuseReport, *, every: bool = False) -> Group:
    """The whole report of ``fuse``.

    Args:
        report: what was found and done.
        every: list refusals too for which nothing can be done.
    """
    return Group(*_fuse_sections(report, every=every))


def inspect_report(report: FuseReport, *, every: bool, per_layer: bool = False) -> Group:
    """The whole report of ``inspect``.

    Args:
        report: what was found.
        every: list every region and refusal, not alike ones as one entry, and those too for which nothing can be done.
        per_layer: list what each node takes.
    """
    return Group(
        title(report),
        *size_lines(report.sizes),
        *note_lines(report.notes, compared=False),
        *region_details(report.regions, every=every),
        *refusal_details(report, every=every),
        *_change_lines(report),
        *(Text(printable(remark)) for remark in report.remarks),
        *_census_lines(report, per_layer=per_layer),
    )


def parity_report(parity: Parity) -> Group:
    """The comparison of two models: the verdict, what decided, every output that differs, and how classes compare."""
    word, style = ("same outputs", GOOD) if parity.passed else ("different outputs", BAD)
    conditions = f"{plural(len(parity.feeds), 'feed')} at {' and '.join(parity.levels)}"
    verdict = Text.assemble((word, style), f": {errors(parity)}, on {conditions}")
    failed = [
        Text(f"{difference(output)}, on {output.worst_feed} at {output.worst_level}", style=BAD)
        for output in parity.outputs
        if not output.passed
    ]
    remarks = [Text(said[:1].upper() + said[1:], style=WARNING) for said in remarks_of(parity)]
    classes = [_agreement(agreement) for agreement in parity.agreements]
    return Group(
        verdict,
        dim(f"tolerance: {parity.tolerance_reason}"),
        *(dim(sentence) for sentence in decisions_of(parity)),
        *_shortened(failed, "output"),
        *_shortened(remarks, "remark"),
        *_shortened(classes, "output"),
    )


def errors(parity: Parity) -> str:
    """The worst error of a comparison, beside the original's own noise."""
    return f"worst error {parity.error:.2g}, the network's own noise {parity.noise:.2g}"


def decisions_of(parity: Parity) -> Iterator[str]:
    """What decided where that is not the tolerance, what errors were measured against, and what was compared inside."""
    by_noise = [output for output in parity.outputs if output.passed and output.decided_by == "noise"]
    by_inner = [output for output in parity.outputs if output.decided_by == "inner tensors"]
    ranged = [output for output in parity.outputs if output.range is not None]
    if by_noise:
        within = f"error within {OF_NOISE:g} times the network's own noise"
        yield f"decided by noise, {within}: {names([output.name for output in by_noise])}"
    if by_inner:
        yield f"decided by tensors inside: {names([output.name for output in by_inner])}"
    if ranged:
        widths = " or ".join(f"{width:g}" for width in sorted({output.range for output in ranged if output.range}))
        yield f"measured against the range of the values, {widths}: {names([output.name for output in ranged])}"
    if parity.inner:
        worst = max(parity.inner, key=lambda tensor: (not tensor.passed, tensor.error))
        counted = plural(len(parity.inner), "tensor")
        yield f"{counted} inside compared one by one: worst error {worst.error:.2g}, in {printable(worst.name)}"
    failed = [tensor.name for tensor in parity.inner if not tensor.passed]
    if failed:
        yield f"tensors inside that differ: {names(failed)}"


def remarks_of(parity: Parity) -> list[str]:
    """What else is to be known of a comparison, in sentences: outputs that their inputs do not determine first."""
    return [printable(said) for said in (*(output.remark for output in parity.outputs), *parity.remarks) if said]


def parity_failure(parity: Parity) -> str:
    """The worst output that did not pass, in words."""
    return difference(max((output for output in parity.outputs if not output.passed), key=lambda it: it.error))


def difference(output: OutputParity) -> str:
    """How an output differs, in words."""
    loud = 0 < OF_NOISE * output.noise < output.error
    noise = f" and {OF_NOISE:g} times the network's own noise, {output.noise:.2g}" if loud else ""
    how = printable(output.reason) or f"error {output.error:.2g} is above {output.tolerance:.2g}{noise}"
    return f"output {printable(output.name)}: {how}"


def region_parity_lines(report: FuseReport) -> Iterator[Text]:
    """How the regions compare one by one: the worst of those that passed, and those that were rolled back."""
    if report.region_parities:
        worst = max(report.region_parities, key=lambda parity: parity.error)
        bound = f", bound {worst.bound:.1g}" if math.isfinite(worst.bound) else ""
        counted = plural(len(report.region_parities), "region")
        yield Text.assemble(
            (f"{counted} checked one by one", GOOD),
            f" on the activations that arrive there: worst error {worst.error:.2g}{bound}, in {printable(worst.name)}",
        )
        used = max(parity.used for parity in report.region_parities)
        yield dim(f"no element takes more than {used:.1%} of its a-priori bound on rounding errors")
    rolled_back = [
        Text(f"rolled back {printable(parity.name)}: error {parity.error:.2g} on {parity.feed}", style=BAD)
        for parity in report.rolled_back
    ]
    yield from _shortened(rolled_back, "region")


def latency_report(latency: Latency) -> Group:
    """The measured times: one sentence with its conditions, then both medians."""
    style = {"faster": GOOD, "slower": BAD}.get(latency.verdict, "")
    medians = f"median {duration(latency.before.median_ns)} before, {duration(latency.after.median_ns)} after"
    return Group(Text(latency.sentence, style=style), dim(medians))


def _fuse_sections(report: FuseReport, *, every: bool) -> Iterator[RenderableType]:
    """The parts of a report from top to bottom; parts that have nothing to say are left out."""
    yield title(report)
    yield from size_lines(report.sizes)
    yield from note_lines(report.notes, compared=report.parity is not None or report.latency is not None)
    yield from region_lines(report.regions)
    yield from refusal_lines(report, every=every)
    yield from _change_lines(report)
    yield from (Text(printable(remark)) for remark in report.remarks)
    if report.regions and report.before.profile:
        yield from map(dim, condition_lines(report.before.profile))
    if report.parity:
        yield from section("Parity", Group(parity_report(report.parity), *region_parity_lines(report)))
    elif report.rolled_back:
        yield from section("Parity", Group(*region_parity_lines(report)))
    if report.tuning:
        yield from section("Doubtful folds", Group(*tuning_lines(report.tuning)))
    if report.latency:
        gate = None if report.min_speedup is None else gate_line(report.latency, report.min_speedup)
        gates = [] if gate is None else [gate]
        yield from section("Latency", Group(latency_report(report.latency), *gates, *noisy_lines(report.warnings)))
    if report.target:
        yield from section("TensorRT", Group(*target_lines(report.target)))
    if report.seconds:
        yield Text()
        yield dim(_stages(report))
    if outcome := _outcome(report):
        yield Text()
        yield outcome


def _change_lines(report: FuseReport) -> Iterator[RenderableType]:
    """How the model changes: operators, parameters, file size and what a run takes; or how large it is."""
    yield Text()
    if report.regions:
        table = Table(box=None, pad_edge=False, header_style=HEAD)
        table.add_column("")
        table.add_column("before", justify="right", min_width=10)
        table.add_column("after", justify="right", min_width=10)
        for row in _change_rows(report):
            table.add_row(*row)
        yield table
        return
    parts = [plural(report.before.census.nodes, "node"), f"{count(report.before.census.parameters)} parameters"]
    if report.before.size_bytes is not None:
        parts.append(size(report.before.size_bytes))
    yield dim(", ".join(parts))


def _census_lines(report: FuseReport, *, per_layer: bool) -> Iterator[RenderableType]:
    """What the input takes, and each of its nodes if asked for."""
    if report.before.profile:
        yield from census_section(report.before.census, report.before.profile)
        if per_layer:
            yield from layer_section(report.before.profile.layers)


def _change_rows(report: FuseReport) -> Iterator[tuple[str, str, str]]:
    """The rows of the table of changes, the largest first; operators whose count stays are one row."""
    before, after = report.before.running, report.after.running
    change = {op_type: abs(before.get(op_type, 0) - after.get(op_type, 0)) for op_type in sorted({*before, *after})}
    ordered = sorted(change, key=lambda op_type: change[op_type], reverse=True)
    changed = [op_type for op_type in ordered if change[op_type]][:ROWS_SHOWN]
    for op_type in changed:
        yield printable(op_type), f"{before.get(op_type, 0):,}", f"{after.get(op_type, 0):,}"
    rest = ordered[len(changed) :]
    if rest:
        yield "other nodes", _total(before, rest), _total(after, rest)
    yield "all nodes", f"{sum(before.values()):,}", f"{sum(after.values()):,}"
    yield "parameters", count(report.before.census.parameters), count(report.after.census.parameters)
    if report.before.size_bytes is not None and report.after.size_bytes is not None:
        yield "file size", size(report.before.size_bytes), size(report.after.size_bytes)
    if report.before.profile and report.after.profile:
        yield from profile_rows(report.before.profile, report.after.profile)


def _total(nodes: Mapping[str, int], op_types: list[str]) -> str:
    """Number of nodes of several operators."""
    return f"{sum(nodes.get(op_type, 0) for op_type in op_types):,}"


def _agreement(agreement: Agreement) -> Text:
    """How often two models choose the same class, and how often each is right."""
    same = f"same class in {agreement.same:,} of {plural(agreement.rows, 'row')}"
    before, after = agreement.before, agreement.after
    if not before.rows:
        return Text(f"{printable(agreement.output)}: {same}")
    top1 = f"top-1 right {share(before.top1, before.rows)} before, {share(after.top1, after.rows)} after"
    top5 = f"top-5 {share(before.top5, before.rows)} before, {share(after.top5, after.rows)} after"
    return Text(f"{printable(agreement.output)}: {same}; {top1}; {top5}")


def _shortened(lines: list[Text], noun: str) -> list[Text]:
    """The first lines, and how many more there are."""
    left = len(lines) - ROWS_SHOWN
    return [*lines[:ROWS_SHOWN], dim(f"and {plural(left, noun)} more")] if left > 0 else lines


def _outcome(report: FuseReport) -> Text:
    """One line that sums up: regions, error against noise, speed, file; empty where the first line says it all."""
    written = printable(report.after.path) if report.after.path else ""
    match report.verdict:
        case Verdict.FUSED:
            return Text(f"{achieved(report)}, wrote {written}", style=GOOD)
        case Verdict.NOTHING_TO_FOLD:
            how = "with nothing folded" if report.notes else "a copy of the input"
            return Text(f"{achieved(report)}, wrote {written}, {how}" if written else "")
        case Verdict.FOLDABLE:
            return Text(f"{achieved(report)}; {remedy(report)}")
        case Verdict.PARITY_FAILED | Verdict.REGION_FAILED | Verdict.TOO_SLOW | Verdict.UNFIT:
            return Text(f"{achieved(report)}, nothing was written", style=BAD)


def _stages(report: FuseReport) -> str:
    """What each stage took, in seconds; what rounds to nothing is left out."""
    parts = [f"{name} {seconds:.1f}" for name, seconds in report.seconds.items() if seconds >= 0.05]
    total = f"took {sum(report.seconds.values()):.1f} s"
    return f"{total}: {', '.join(parts)}" if len(parts) > 1 else total
