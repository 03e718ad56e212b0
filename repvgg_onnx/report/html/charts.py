"""Charts as SVG to stand inside a page, by matplotlib; colours are the page's own, so that they follow its scheme."""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from repvgg_onnx.census import Profile
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.compiler.results import Region
from repvgg_onnx.extras import import_extra
from repvgg_onnx.report.units import printable, size, time_unit

Draw = Callable[[Any], None]

_INK, _BEFORE, _AFTER, _LIMIT = "#010101", "#020202", "#030303", "#040404"  # stand for colours of the page
_COLOURS = {_INK: "currentColor", _BEFORE: "var(--before)", _AFTER: "var(--after)", _LIMIT: "var(--bad)"}
_SETTINGS = {
    "svg.hashsalt": "repvgg-onnx",  # names inside an SVG are random without a salt
    "svg.fonttype": "none",
    "font.size": 10.0,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,
}
_WIDTH = 7.2  # inches
_SHOWN = 95  # percentile up to which latencies are drawn, as in plot_latencies
ROWS, OPERATORS = 60, 16
"""Most regions and most operators of a chart."""
_NAME = 34


def operators_chart(before: Mapping[str, int], after: Mapping[str, int]) -> str:
    """How many nodes of each operator there are, before and after; the most frequent ones only."""
    ordered = sorted({*before, *after}, key=lambda op: (before.get(op, 0), after.get(op, 0), op))[-OPERATORS:]

    def draw(axes: Any) -> None:
        places = np.arange(len(ordered))
        for counts, colour, at, label in ((before, _BEFORE, 0.2, "before"), (after, _AFTER, -0.2, "after")):
            numbers = [counts.get(op, 0) for op in ordered]
            bars = axes.barh(places + at, numbers, height=0.38, color=colour, label=label)
            axes.bar_label(bars, padding=3, fontsize=8)
        axes.set_yticks(places, [_shortened(op) for op in ordered])
        axes.set_xlabel("nodes")
        axes.legend(frameon=False, loc="lower right")

    return _chart(draw, 0.9 + 0.42 * len(ordered), "Nodes of each operator, before and after")


def latency_chart(samples: Mapping[str, Sequence[int]]) -> str:
    """The distribution of each model's latencies with a bar at its median.

    Args:
        samples: latencies in nanoseconds, by what to call the model.
    """
    factor, unit = time_unit(max(float(np.median(some)) for some in samples.values()))
    values = [np.array(some) / factor for some in samples.values()]
    colours = [_BEFORE, *[_AFTER] * (len(values) - 1)]

    def draw(axes: Any) -> None:
        shown = [some[some <= np.percentile(some, _SHOWN)] for some in values]
        places = range(len(values))
        violins = axes.violinplot(shown, places, orientation="horizontal", widths=0.8, showextrema=False)
        for body, colour in zip(violins["bodies"], colours, strict=True):
            body.set(facecolor=colour, alpha=0.75)
        medians = [float(np.median(some)) for some in values]
        axes.vlines(medians, [at - 0.4 for at in places], [at + 0.4 for at in places], color=_INK)
        axes.set_yticks(places, [_shortened(name) for name in samples])
        axes.invert_yaxis()
        axes.set_xlabel(f"latency, {unit}; bar: median; without the slowest {100 - _SHOWN} %")

    return _chart(draw, 1.0 + 0.6 * len(values), "Distributions of latency")


def memory_chart(before: Profile, after: Profile, regions: Sequence[Region]) -> str:
    """Bytes of live activations along the network, both over the nodes of the original."""
    places = _places(before, after, regions)
    unit = size(max(before.peak_activation_bytes, after.peak_activation_bytes)).split()[-1]
    factor = {"GB": 10**9, "MB": 10**6, "kB": 10**3}.get(unit, 1)

    def draw(axes: Any) -> None:
        live = [layer.live_bytes / factor for layer in before.layers]
        axes.fill_between(range(len(live)), live, step="post", color=_BEFORE, alpha=0.35, linewidth=0)
        axes.step(range(len(live)), live, where="post", color=_BEFORE, label="before")
        axes.step(
            places, [layer.live_bytes / factor for layer in after.layers], where="post", color=_AFTER, label="after"
        )
        axes.set_xlabel("node of the original, in the order of the file")
        axes.set_ylabel(f"live activations, {unit}")
        axes.set_ylim(bottom=0)
        axes.margins(x=0.01)
        axes.legend(frameon=False, loc="upper right")

    return _chart(draw, 2.9, "Live activations along the network, before and after")


def error_chart(parities: Sequence[RegionParity]) -> str:
    """The error of each region, its a-priori bound and the tolerance, on a logarithmic scale; the worst ones only."""
    worst = sorted(parities, key=lambda parity: parity.error, reverse=True)[:ROWS]
    chosen = [parity for parity in parities if parity in worst][::-1]

    def draw(axes: Any) -> None:
        places = np.arange(len(chosen))
        finite = [parity.error for parity in chosen if np.isfinite(parity.error)]
        largest = max([chosen[0].tolerance, *finite])
        # The bar of a region that could not be compared ends beyond all others.
        errors = [max(parity.error if np.isfinite(parity.error) else 10 * largest, 1e-9) for parity in chosen]
        bounds = [
            (place, parity.bound) for place, parity in zip(places, chosen, strict=True) if np.isfinite(parity.bound)
        ]
        axes.barh(places, errors, height=0.6, color=_AFTER, label="error")
        if bounds:
            at, limit = zip(*bounds, strict=True)
            axes.plot(limit, at, linestyle="", marker="|", markersize=9, markeredgewidth=2, color=_INK, label="bound")
        axes.axvline(chosen[0].tolerance, color=_LIMIT, linestyle="--", linewidth=1, label="tolerance")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
        axes.xaxis.set_minor_formatter(lambda _value, _at: "")
        axes.set_xlim(left=min(errors) / 3)
        axes.set_yticks(places, [_shortened(parity.name) for parity in chosen])
        axes.set_ylim(-0.7, len(chosen) - 0.3)
        axes.set_xlabel("normalized error")
        axes.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)

    return _chart(draw, 1.3 + 0.24 * len(chosen), "Error of each region against its bound")


def _places(before: Profile, after: Profile, regions: Sequence[Region]) -> list[int]:
    """Where each node of the fused model stands in the original: at itself, or where what it stands for begins."""
    index = {layer.name: number for number, layer in enumerate(before.layers)}
    starts = {
        region.name: min((index.get(member.name, 0) for member in region.members), default=0) for region in regions
    }
    return list(accumulate((starts.get(layer.name, index.get(layer.name, 0)) for layer in after.layers), max))


def _chart(draw: Draw, height: float, title: str) -> str:
    """One chart as SVG text; same data, same text."""
    matplotlib = import_extra("matplotlib", extra="report")
    figures = import_extra("matplotlib.figure", extra="report")
    picture = io.StringIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = figures.Figure(figsize=(_WIDTH, height), layout="constrained", facecolor="none")
        axes = figure.subplots()
        axes.set_facecolor("none")
        axes.grid(axis="x", alpha=0.15)
        axes.set_axisbelow(True)
        draw(axes)
        figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    return _inline(picture.getvalue(), title)


def _inline(text: str, title: str) -> str:
    """The SVG without its own document, with the colours of the page, and with names that no other one has."""
    svg = text[text.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    for stand_in, colour in _COLOURS.items():
        svg = svg.replace(stand_in, colour)
    own = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{own}-", svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"<>]+", r"font-size: \1; font-family: inherit", svg)
    return svg.replace("<svg ", '<svg role="img" class="chart" ', 1)


def _shortened(name: str) -> str:
    shown = printable(name)
    return shown if len(shown) <= _NAME else "…" + shown[1 - _NAME :]
