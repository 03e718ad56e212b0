"""What the page says of a run."""

from collections.abc import Iterator

from repvgg_onnx.compiler.results import Region
from repvgg_onnx.report.cases import outcome_line
from repvgg_onnx.report.census import profile_rows
from repvgg_onnx.report.groups import RefusalGroup, branch_sum, folded_node, group_refusals, group_regions
from repvgg_onnx.report.html.charts import OPERATORS, ROWS, error_chart, latency_chart, memory_chart, operators_chart
from repvgg_onnx.report.html.drawing import after_picture, before_picture
from repvgg_onnx.report.html.values import Card, Cell, Change, Chart, Part, Table
from repvgg_onnx.report.latency import BenchReport, letter
from repvgg_onnx.report.model import FuseReport, Outcome, Verdict
from repvgg_onnx.report.remedy import remedy
from repvgg_onnx.report.run import Run, Verification
from repvgg_onnx.report.summary import verdict_of
from repvgg_onnx.report.terminal import decisions_of, remarks_of
from repvgg_onnx.report.units import count, duration, names, plural, printable, size


def parts(run: Run) -> tuple[Part, ...]:
    """The parts of the page, one for each model of ``fuse`` and ``check``."""
    match run.subject:
        case tuple() as outcomes:
            return tuple(_outcome(outcome, run) for outcome in outcomes)
        case Verification() as verified:
            return (_verification(verified),)
        case _:
            return (_bench(run.subject),)


def _outcome(outcome: Outcome, run: Run) -> Part:
    report = outcome.report
    tone = "bad" if outcome.error else "good" if report else "plain"
    several = isinstance(run.subject, tuple) and len(run.subject) > 1
    sentences: tuple[str, ...] = (outcome_line(outcome),) if several else ()
    if report is None:
        return Part(printable(outcome.path), tone, verdict_of(outcome), sentences)
    sentences += (*report.notes, *(f"Noisy: {sentence}." for sentence in report.warnings))
    if outcome.error and report.verdict is Verdict.FOLDABLE:
        sentences += (f"What mends it: {remedy(report)}",)
    return Part(
        title=printable(outcome.path),
        tone=tone,
        verdict=verdict_of(outcome),
        sentences=sentences,
        cards=tuple(_cards(report)),
        changes=tuple(_changes(report)),
        charts=tuple(_charts(report)),
        tables=tuple(_tables(report)),
    )


def _cards(report: FuseReport) -> Iterator[Card]:
    """The figures that a reader looks for first."""
    before, after = report.before, report.after
    folded = sum(len(region.members) for region in report.regions)
    yield Card("Regions", f"{len(report.regions):,}", f"stand for {plural(folded, 'node')}" if folded else "to fold")
    if report.latency:
        stated = f"95 % interval {report.latency.low:.2f}–{report.latency.high:.2f}; {report.latency.conditions}"
        yield Card("Speedup", f"{report.latency.speedup:.2f}×", stated)
    if report.parity:
        tolerance = max((output.tolerance for output in report.parity.outputs), default=0.0)
        allowed = f"{tolerance:.0e} allowed; the network's own noise is {report.parity.noise:.1e}"
        yield Card("Worst error", f"{report.parity.error:.1e}", allowed)
    yield Card("Nodes", _change(*(f"{sum(model.running.values()):,}" for model in (before, after))))
    yield Card("Parameters", _change(count(before.census.parameters), count(after.census.parameters)))
    if before.profile and after.profile:
        peaks = [size(profile.peak_activation_bytes) for profile in (before.profile, after.profile)]
        yield Card("Peak activations", _change(*peaks))


def _change(before: str, after: str) -> str:
    return f"{before} → {after}" if before != after else before


def _changes(report: FuseReport) -> Iterator[Change]:
    """Alike regions once, with their number; what is alike has the same picture."""
    for group in group_regions(report.regions):
        first = group.regions[0]
        pictures = before_picture(first, report.before.topology), after_picture(first)
        where = tuple(printable(region.name) for region in group.regions)
        yield Change(len(group.regions), printable(group.branches), printable(group.folded), pictures, where)


def _charts(report: FuseReport) -> Iterator[Chart]:
    """What can be seen better than read."""
    if not report.regions:
        return
    if report.latency:
        samples = {"before": report.latency.before.samples_ns, "after": report.latency.after.samples_ns}
        yield Chart("Latency", report.latency.sentence, latency_chart(samples))
    kinds = len({*report.before.running, *report.after.running})
    left_out = f"The {OPERATORS} most frequent of {kinds} operators." if kinds > OPERATORS else ""
    yield Chart("Operators", left_out, operators_chart(report.before.running, report.after.running))
    if report.before.profile and report.after.profile:
        note = "Bytes of all activations that exist while a node runs."
        yield Chart(
            "Activation memory", note, memory_chart(report.before.profile, report.after.profile, report.regions)
        )
    if checked := (*report.region_parities, *report.rolled_back):
        note = "Each region on the values that arrive there, against its a-priori bound on rounding errors."
        left_out = f" The {ROWS} largest errors of {len(checked):,}." if len(checked) > ROWS else ""
        yield Chart("Error of each region", note + left_out, error_chart(checked))


def _tables(report: FuseReport) -> Iterator[Table]:
    """All changes, all regions, all refusals."""
    rows = tuple(tuple(map(Cell, row)) for row in _figures(report)) if report.regions else ()
    yield Table("Before and after", ("", "before", "after"), rows)
    errors = {parity.name: parity.error for parity in (*report.region_parities, *report.rolled_back)}
    yield Table(
        "Regions",
        ("region", "before", "after", "channels", "MACs before", "MACs after", "error"),
        tuple(_region_row(region, errors.get(region.name)) for region in report.regions),
    )
    yield Table(
        "Left as they were",
        ("region", "error", "feed"),
        tuple((_code(parity.name), _scientific(parity.error), Cell(parity.feed)) for parity in report.rolled_back),
    )
    yield Table(
        "Not folded",
        ("refusal", "nodes", "where", "why", "what to do"),
        tuple(_refusal_row(group) for group in group_refusals(report.refusals)),
    )


def _figures(report: FuseReport) -> Iterator[tuple[str, str, str]]:
    """Rows of the table of changes."""
    before, after = report.before, report.after
    yield "nodes", f"{sum(before.running.values()):,}", f"{sum(after.running.values()):,}"
    yield "parameters", f"{before.census.parameters:,}", f"{after.census.parameters:,}"
    if before.size_bytes is not None and after.size_bytes is not None:
        yield "file size", size(before.size_bytes), size(after.size_bytes)
    if before.profile and after.profile:
        yield from profile_rows(before.profile, after.profile)


def _region_row(region: Region, error: float | None) -> tuple[Cell, ...]:
    return (
        _code(region.name),
        Cell(printable(branch_sum(region))),
        Cell(printable(folded_node(region))),
        Cell(f"{region.c_in} → {region.c_out}", region.c_out),
        Cell(count(region.cost_before.macs), region.cost_before.macs),
        Cell(count(region.cost_after.macs), region.cost_after.macs),
        Cell("–", -1.0) if error is None else _scientific(error),
    )


def _refusal_row(group: RefusalGroup) -> tuple[Cell, ...]:
    return (
        Cell(group.code, code=True),
        Cell(f"{len(group.nodes):,}", len(group.nodes)),
        Cell(names(group.nodes), code=True),
        Cell(printable(group.sentence)),
        Cell(group.long_form.advice),
    )


def _verification(verified: Verification) -> Part:
    """Two models that were compared: every output, the worst first, and where they begin to differ."""
    parity = verified.parity
    outputs = sorted(parity.outputs, key=lambda output: output.error, reverse=True)
    rows = [
        (
            _code(output.name),
            Cell(f"{output.dtype} {'×'.join(map(str, output.shape))}"),
            _scientific(output.error),
            _scientific(output.noise),
            _scientific(output.tolerance),
            Cell("–", 0.0) if output.range is None else Cell(f"{output.range:g}", output.range),
            Cell(f"{output.worst_feed}, {output.worst_level}"),
            Cell(f"passed by {output.decided_by}" if output.passed else printable(output.reason) or "differs"),
        )
        for output in outputs
    ]
    return Part(
        title=f"{printable(verified.before)} and {printable(verified.after)}",
        tone="good" if parity.passed else "bad",
        verdict="same outputs" if parity.passed else "different outputs",
        sentences=(f"tolerance: {parity.tolerance_reason}", *decisions_of(parity), *remarks_of(parity)),
        cards=(
            Card("Worst error", f"{parity.error:.1e}", f"the network's own noise is {parity.noise:.1e}"),
            Card("Outputs", f"{len(outputs):,}"),
            Card("Feeds", f"{len(parity.feeds):,}", " and ".join(parity.levels)),
        ),
        tables=(
            Table(
                "Outputs",
                ("output", "type", "error", "own noise", "tolerance", "range", "worst on", "verdict"),
                tuple(rows),
            ),
            *_differences(verified),
        ),
    )


def _differences(verified: Verification) -> tuple[Table, ...]:
    """The tensors inside that differ, and those at which the models begin to."""
    inner = [
        (_code(tensor.name), *map(_scientific, (tensor.error, tensor.noise, tensor.limit)), Cell(tensor.feed))
        for tensor in verified.parity.inner
        if not tensor.passed
    ]
    origins = [
        (_code(tensor.name), _code(tensor.node), _scientific(tensor.error))
        for tensor in (verified.bisection.origins if verified.bisection else ())
    ]
    return (
        Table("Tensors inside that differ", ("tensor", "error", "own noise", "limit", "feed"), tuple(inner)),
        Table("Where they begin to differ", ("tensor", "node", "error"), tuple(origins)),
    )


def _bench(report: BenchReport) -> Part:
    """Models that were measured: a picture and a table for each condition."""
    labels = [f"{letter(index)} {printable(name)}" for index, name in enumerate(report.models)]
    charts, tables = [], []
    for block in report.blocks:
        conditions = f"{block.conditions}, {plural(block.rounds, 'round')}"
        samples = {label: model.timing.samples_ns for label, model in zip(labels, block.models, strict=True)}
        charts.append(Chart(conditions, "", latency_chart(samples)))
        rows = [
            (
                Cell(label),
                *(Cell(duration(ns), ns) for ns in (model.timing.median_ns, model.timing.iqr_ns, model.timing.p95_ns)),
                Cell(f"{model.throughput:,.0f}", model.throughput),
                Cell(f"{model.ratio.speedup:.2f} ({model.ratio.low:.2f}–{model.ratio.high:.2f})", model.ratio.speedup),
            )
            for label, model in zip(labels, block.models, strict=True)
        ]
        head = ("model", "median", "IQR", "95th percentile", "examples per s", "times as fast as A (95 % CI)")
        tables.append(Table(conditions, head, tuple(rows)))
    warnings = (*report.warnings, *(sentence for block in report.blocks for sentence in block.warnings))
    noisy = tuple(f"noisy: {sentence}" for sentence in warnings)
    title = ", ".join(map(printable, report.models))
    return Part(title, "plain", "measured", (str(report.environment), *noisy), (), (), tuple(charts), tuple(tables))


def _code(name: str) -> Cell:
    return Cell(printable(name), code=True)


def _scientific(number: float) -> Cell:
    return Cell(f"{number:.2g}", number)
