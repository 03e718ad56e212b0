"""Results as a Markdown document and as a plot."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from published import COLUMNS, DEVIATIONS
from results import Result, Results

TITLES = {
    4: "Table 4: ImageNet, 120 epochs",
    5: "Table 5: ImageNet, 200 epochs",
    6: "Table 6: RepVGG-B0 with fewer branches, fused over as trained",
    8: "Table 8: PSPNet",
}
_HEADINGS = dict(zip(COLUMNS, ("Params (M)", "Theo FLOPs (B)", "Wino MULs (B)"), strict=True))
_HERE, _PAPER, _MUTED = "#1f6fb2", "#d1622b", "#999999"


def markdown(results: Results) -> str:
    """Every table that has rows, each figure beside the paper's."""
    conditions = ", ".join(f"{name} {value}" for name, value in results.conditions.items() if value is not None)
    lines = [
        "# Results",
        "",
        f"{conditions}.",
        "",
        "Costs are written here / in the paper. Speeds are examples per second over those of the reference, measured",
        "in pairs in one process; the paper's are of a 1080Ti at batch 128, 16 in table 8.",
    ]
    for table, title in TITLES.items():
        if rows := results.of_table(table):
            lines += ["", f"## {title}", "", *_table(rows), *_notes(rows)]
    return "\n".join(lines) + "\n"


def plot(results: Results, path: Path) -> None:
    """Speed ratios here and in the paper, one panel a table, as an SVG file that depends on the results alone.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib
    from matplotlib.figure import Figure

    panels = {table: rows for table in TITLES if (rows := [row for row in results.of_table(table) if row.speed])}
    heights = [len(rows) + 1 for rows in panels.values()]
    with matplotlib.rc_context({"svg.hashsalt": "repvgg-onnx", "svg.fonttype": "none"}):
        figure = Figure(figsize=(8, 0.27 * sum(heights) + 0.8 * len(panels) + 0.5), layout="constrained")
        axes = figure.subplots(len(panels), squeeze=False, height_ratios=heights)
        for (table, rows), panel in zip(panels.items(), axes[:, 0], strict=True):
            _draw(panel, TITLES[table], rows)
        figure.savefig(path, format="svg", metadata={"Date": None})


def _table(rows: Sequence[Result]) -> Iterator[str]:
    costs = _HEADINGS if any(row.paper_cost for row in rows) else {}
    reference = "as trained" if rows[0].table == 6 else rows[0].reference
    head = ["", *costs.values(), f"Speed over {reference}", "95 % interval", "Paper", "Examples/s"]
    yield from (_line(head), _line(["---"] * len(head)))
    for row in rows:
        yield _line([row.label, *(_cost(row, column) for column in costs), *_speed(row)])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cost(row: Result, column: str) -> str:
    """Ours / the paper's, with a mark where they differ."""
    digits = 2 if column == "params_M" else 1
    paper = row.paper_cost[column] if row.paper_cost else None
    published = "–" if paper is None else f"{paper:.{digits}f}"
    if row.counts is None:
        return f"not counted / {published}"
    mark = " ≠" if column in row.differs else ""
    return f"{row.counts.as_printed()[column]:.{digits}f} / {published}{mark}"


def _speed(row: Result) -> list[str]:
    paper = f"{row.paper_ratio:.2f}"
    if row.speed is None:
        return ["not measured", "", paper, ""]
    speed = row.speed
    return [f"{speed.ratio:.2f}", f"{speed.low:.2f}–{speed.high:.2f}", paper, f"{speed.examples_per_second:.1f}"]


def _notes(rows: Sequence[Result]) -> Iterator[str]:
    """What the cells have no room for."""
    notes = [f"{row.label}: {row.unavailable}." for row in rows if row.unavailable]
    for row in rows:
        reasons = (DEVIATIONS.get((row.label, column), "not known why") for column in row.differs)
        notes += [f"{row.label} ≠: {reason}." for reason in reasons]
    if notes:
        yield ""
        yield from (f"- {note}" for note in notes)


def _draw(panel: Any, title: str, rows: Sequence[Result]) -> None:
    """One line a row, the fastest of the paper on top: the paper's ratio, and ours with its interval."""
    from matplotlib.ticker import LogLocator

    ordered = sorted(rows, key=lambda row: row.paper_ratio)
    speeds = [row.speed for row in ordered if row.speed]
    heights = range(len(ordered))
    ratios = [speed.ratio for speed in speeds]
    errors = [[speed.ratio - speed.low for speed in speeds], [speed.high - speed.ratio for speed in speeds]]
    panel.hlines(heights, [row.paper_ratio for row in ordered], ratios, color=_MUTED, linewidth=1, zorder=1)
    panel.axvline(1, color=_MUTED, linewidth=0.8, linestyle=":", zorder=0)
    panel.scatter([row.paper_ratio for row in ordered], heights, color=_PAPER, s=22, label="paper (GPU)", zorder=3)
    panel.errorbar(ratios, heights, xerr=errors, color=_HERE, fmt="s", markersize=4, label="here", zorder=2)
    panel.set_yticks(heights, [row.label for row in ordered], fontsize=8)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_locator(LogLocator(base=2, subs=(1, 1.25, 1.5)))
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.minorticks_off()
    panel.set_ylim(-0.6, len(ordered) - 0.4)
    panel.set_title(title, fontsize=9, loc="left")
    panel.set_xlabel("examples per second over the reference's", fontsize=8)
    panel.tick_params(axis="x", labelsize=8)
    panel.legend(fontsize=8, loc="lower right")
