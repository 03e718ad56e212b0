"""What was found in a model, as text: briefly for ``fuse``, in detail for ``inspect``."""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from repvgg_onnx.compiler.results import Refusal, Region
from repvgg_onnx.report.groups import (
    RefusalGroup,
    RegionGroup,
    group_advice,
    group_refusals,
    group_regions,
    region_group,
)
from repvgg_onnx.report.layout import HEAD, QUIET, dim, grid, section, shortened
from repvgg_onnx.report.model import FuseReport, Verdict
from repvgg_onnx.report.units import count, names, plural, printable, size

Row = tuple[Text, Text]


def title(report: FuseReport) -> Text:
    """The first line: what was found in which file."""
    found = f"{regions_found(report)}{overridable_words(report)}"
    return Text.assemble((printable(report.before.path or "model"), HEAD), f": {found}")


def regions_found(report: FuseReport) -> str:
    """How many regions are folded, or could be.

    Example: ``22 regions to fold`` before they are, ``22 regions folded`` afterwards.
    """
    if not report.regions and report.rolled_back:
        return f"nothing is kept: {plural(len(report.rolled_back), 'region')} failed a check and stayed as it was"
    if not report.regions:
        return "nothing to fold"
    return f"{plural(len(report.regions), 'region')} {'folded' if report.verdict is Verdict.FUSED else 'to fold'}"


def overridable_words(report: FuseReport | None) -> str:
    """What the first line adds where callers may feed weights; empty where they may not."""
    if report is None or report.overridable is None:
        return ""
    found = report.overridable
    counted = f"{found.convolutions:,} of {plural(found.total, 'convolution')} have weights that a caller may override"
    return f"; {counted}; run again with --freeze-initializers ({plural(found.regions, 'region')})"


def size_lines(sizes: Mapping[str, Sequence[int]] | None) -> Iterator[RenderableType]:
    """On which sizes the model was run, where they are not the usual ones."""
    if sizes:
        shown = names([f"{name}={'x'.join(map(str, shape))}" for name, shape in sizes.items()])
        yield dim(f"run on {shown}, since onnxruntime does not run the model on the usual sizes; --shape sets others")


def note_lines(notes: Sequence[str], *, compared: bool) -> Iterator[RenderableType]:
    """What was taken for granted, and that comparisons are with the input so changed."""
    lines = [printable(note) for note in notes]
    if compared:
        lines.append("Outputs and latency are compared with the input so changed, not with the file.")
    if notes:
        yield from section("Taken for granted", Text("\n".join(lines)))


def region_lines(regions: Sequence[Region]) -> Iterator[RenderableType]:
    """What the regions were and became, alike ones on one line."""
    if regions:
        rows = [(_times(group.regions), change(group)) for group in group_regions(regions)]
        yield from section(_heading(regions), grid(shortened(rows, "kind", see="--json")))


def region_details(regions: Sequence[Region], *, every: bool) -> Iterator[RenderableType]:
    """The regions with their nodes and costs, alike ones together or every one by itself."""
    if not regions:
        return
    groups = [region_group([region]) for region in regions] if every else group_regions(regions)
    rows = [_region_details(group, every=every) for group in groups]
    yield from section(_heading(regions), grid(rows if every else shortened(rows, "kind", see="--all")))


def refusal_lines(report: FuseReport, *, every: bool) -> Iterator[RenderableType]:
    """Why other nodes were not folded, one entry a code, and where to learn more.

    Args:
        report: what has them.
        every: list those too for which nothing can be done, which are only counted otherwise.
    """
    listed = _listed(report, every=every)
    if listed:
        rows = [_refusal_row(group) for group in group_refusals(listed)]
        yield from section("Not folded", grid(rows if every else shortened(rows, "reason", see="--all")))
        yield dim("  'repvgg-onnx explain CODE' says what a code means and what to do.")
    yield from _left_out_lines(report, listed)


def refusal_details(report: FuseReport, *, every: bool) -> Iterator[RenderableType]:
    """Why other nodes were not folded, and what can be done about it, once for each code.

    Args:
        report: what has them.
        every: list every one, and those too for which nothing can be done; otherwise one entry a code, and a count.
    """
    listed = _listed(report, every=every)
    if listed:
        groups = group_refusals(listed)
        single = [
            (Text("-"), Text(f"{printable(it.sentence)}\n").append_text(dim(f"{it.code}: {printable(it.node)}")))
            for group in groups
            for it in group.refusals
        ]
        yield from section("Not folded", grid(single if every else list(map(_refusal_row, groups))))
    yield from _left_out_lines(report, listed)
    if listed:
        advice = group_advice({refusal.code: refusal.long_form.advice for refusal in listed})
        lines = [Text.assemble((", ".join(codes), QUIET), ": ", text) for text, codes in advice.items()]
        yield from section("What to do", Text("\n").join(lines))


def _listed(report: FuseReport, *, every: bool) -> list[Refusal]:
    return [refusal for refusal in report.refusals if every or refusal.long_form.actionable]


def _left_out_lines(report: FuseReport, listed: Sequence[Refusal]) -> Iterator[RenderableType]:
    """How many nodes have refusals that are not listed, since nothing can be done."""
    left = len({refusal.node for refusal in report.refusals} - {refusal.node for refusal in listed})
    if left:
        yield Text()
        yield dim(f"{plural(left, 'node')} cannot be folded, and nothing can be done about it; --all lists why")


def _heading(regions: Sequence[Region]) -> str:
    """How many nodes become how many."""
    return f"{plural(sum(len(region.members) for region in regions), 'node')} become {len(regions):,}"


def _times(items: Sequence[object]) -> Text:
    """How many there are of a kind."""
    return Text(f"{len(items):,} x")


def change(group: RegionGroup) -> Text:
    """What regions were and became, or what moved where, and what it multiplies before and after."""
    if group.regions[0].moved:
        before, after = count(group.cost_before.macs), count(group.cost_after.macs)
        return Text.assemble(printable(group.branches), f": {before} ", ("->", QUIET), f" {after} multiply-adds")
    return Text.assemble(printable(group.branches), (" -> ", QUIET), printable(group.folded))


def _region_details(group: RegionGroup, *, every: bool) -> Row:
    """What regions were and became, where they are and what they cost."""
    nodes = [region.name for region in group.regions]
    where = f"{plural(group.members, 'node')}: {printable(nodes[0]) if every else names(nodes)}"
    before, after = group.cost_before, group.cost_after
    macs = f"{count(before.macs)} -> {count(after.macs)} MACs"
    moved = f"{size(before.bytes)} -> {size(after.bytes)} moved"
    costs = f"{macs}, {moved}, saves {1 - after.total / before.total:.0%}"
    return _times(group.regions), Text("\n").join([change(group), dim(where), dim(costs)])


def _refusal_row(group: RefusalGroup) -> Row:
    """How often a code was given, its first sentence and its first nodes."""
    where = dim(f"{group.code}: {names(group.nodes)}")
    return _times(group.refusals), Text("\n").join([Text(printable(group.sentence)), where])
