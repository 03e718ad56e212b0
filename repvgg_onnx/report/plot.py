"""Distributions of latencies as a picture, by matplotlib."""

import io
from typing import Any

import numpy as np

from repvgg_onnx.checks.latency import Latencies
from repvgg_onnx.extras import import_extra
from repvgg_onnx.report.latency import BenchReport, letter
from repvgg_onnx.report.marks import ENDINGS, PICTURE
from repvgg_onnx.report.units import printable, time_unit

FORMATS = tuple(ending.removeprefix(".") for ending in ENDINGS["plot"])
"""What a picture can be, by the suffix of its file."""

_SETTINGS = {"svg.hashsalt": "repvgg-onnx", "font.size": 9.0}  # names inside an SVG are random without a salt
_NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "png": {}, "pdf": {"CreationDate": None}}
_TITLE = {"Title": PICTURE}  # what an older picture is recognized by when it is to be replaced
_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
"""Told apart by those who see no red or green, and in print.

Source: Paul Tol, Colour Schemes (2021), the bright scheme.
"""
_SHOWN = 95  # percentile up to which latencies are drawn; the rest is so far out that the bulk would be a line
_WIDTH, _HEAD, _ROW = 7.0, 1.0, 0.45  # inches


def require_matplotlib() -> None:
    """Pictures can be drawn.

    Raises:
        ExtraMissingError: matplotlib is not installed, or its installation is broken.
    """
    import_extra("matplotlib", extra="report")


def plot_latencies(report: BenchReport, kind: str) -> bytes:
    """A violin of each model's latencies with a bar at its median, a panel for each block; same report, same bytes.

    Args:
        report: what was measured.
        kind: one of FORMATS.

    Raises:
        ExtraMissingError: matplotlib is missing.
    """
    matplotlib = import_extra("matplotlib", extra="report")
    figures = import_extra("matplotlib.figure", extra="report")
    height = len(report.blocks) * (_HEAD + _ROW * len(report.models))
    picture = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        figure = figures.Figure(figsize=(_WIDTH, height), layout="constrained")
        panels = figure.subplots(len(report.blocks), squeeze=False)[:, 0]
        for axes, block in zip(panels, report.blocks, strict=True):
            _draw(axes, report.models, block)
        figure.savefig(picture, format=kind, dpi=150, metadata=_TITLE | _NO_DATE[kind])
    return picture.getvalue()


def _draw(axes: Any, names: tuple[str, ...], block: Latencies) -> None:
    """One block: models from top to bottom, latency to the right."""
    factor, unit = time_unit(max(model.timing.median_ns for model in block.models))
    places = range(len(block.models))
    samples = [np.array(model.timing.samples_ns) / factor for model in block.models]
    shown = [some[some <= np.percentile(some, _SHOWN)] for some in samples]
    medians = [float(np.median(some)) for some in samples]
    violins = axes.violinplot(shown, places, orientation="horizontal", widths=0.8, showextrema=False)
    for place, body in zip(places, violins["bodies"], strict=True):
        body.set(facecolor=_COLOURS[place % len(_COLOURS)], alpha=0.6)
    axes.vlines(medians, [place - 0.4 for place in places], [place + 0.4 for place in places], color="black")
    axes.set_yticks(places, [f"{letter(place)}  {_name(names[place])}" for place in places])
    axes.invert_yaxis()
    axes.set_title(str(block.conditions), loc="left", fontsize=9)
    axes.set_xlabel(f"latency, {unit}; bar: median; without the slowest {100 - _SHOWN} %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)


def _name(path: str) -> str:
    """The end of a path, and no dollars, which matplotlib takes for formulas."""
    shown = path if len(path) <= 32 else "..." + path[-29:]
    return printable(shown).replace("$", r"\$")
