"""What ``bench`` found, as text for one screen of 80 columns."""

import string
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from repvgg_onnx.checks.environment import Environment
from repvgg_onnx.checks.latency import Latencies
from repvgg_onnx.checks.statistics import Ratio
from repvgg_onnx.report.layout import BAD, GOOD, HEAD, dim, grid, noisy_lines
from repvgg_onnx.report.units import plural, printable, time_unit

UNKNOWN = "n/a"
"""What stands where the system does not tell."""

_MEGABYTE = 10**6


@dataclass(frozen=True)
class BenchReport:
    """Everything about a run of ``bench``.

    Attributes:
        version: of this program.
        models: the files, in the order given; ratios refer to the first.
        environment: the machine before the start.
        warnings: what spoke against measuring on it then.
        blocks: one measurement for each batch and number of threads.
    """

    version: str
    models: tuple[str, ...]
    environment: Environment
    warnings: tuple[str, ...]
    blocks: tuple[Latencies, ...]


def bench_report(report: BenchReport) -> Group:
    """Which letter is which model, the machine, and for each block its conditions, a table, and doubts."""
    letters = [(Text(letter(index), style=HEAD), Text(printable(name))) for index, name in enumerate(report.models)]
    parts: list[RenderableType] = [grid(letters), Text(), dim(str(report.environment)), *noisy_lines(report.warnings)]
    for block in report.blocks:
        rounds = plural(block.rounds, "round" if len(block.models) > 1 else "run")
        conditions = Text(f"{block.conditions}, {rounds} in {block.conditions.opened}", style=HEAD)
        parts += [Text(), conditions, _table(block), *noisy_lines(block.warnings)]
    return Group(*parts)


def letter(index: int) -> str:
    """What a model is called in a table: A, B, …, and from the 27th on its number.

    Example:
        >>> letter(0), letter(25), letter(26)
        ('A', 'Z', '27')
    """
    return string.ascii_uppercase[index] if index < len(string.ascii_uppercase) else str(index + 1)


def _table(block: Latencies) -> Table:
    """A row for each model, and a column for each figure; latencies in one unit."""
    factor, unit = time_unit(max(model.timing.median_ns for model in block.models))
    opening, opening_unit = time_unit(max(model.creation_median_ns for model in block.models))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=HEAD)
    table.add_column("", style=HEAD)
    for title in (f"median\n{unit}", f"IQR\n{unit}", f"p95\n{unit}", "examples\nper s"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(f"open\n{opening_unit}", justify="right", no_wrap=True)
    table.add_column("memory\nMB", justify="right", no_wrap=True)
    if len(block.models) > 1:
        table.add_column("against A", no_wrap=True)
        table.add_column("95% CI", no_wrap=True)
    for index, model in enumerate(block.models):
        timing = model.timing
        times = (_number(ns / factor) for ns in (timing.median_ns, timing.iqr_ns, timing.p95_ns))
        opened = _number(model.creation_median_ns / opening)
        verdict = _verdict(model.ratio) if index else ()
        memory = UNKNOWN if model.footprint is None else f"{model.footprint.added_bytes / _MEGABYTE:.1f}"
        table.add_row(letter(index), *times, _number(model.throughput), opened, memory, *verdict)
    return table


def _verdict(ratio: Ratio) -> tuple[Text, str]:
    """How many times faster or slower than the first model, and the interval of that number."""
    factor, low, high = ratio.stated
    word, style = {"faster": ("faster", GOOD), "slower": ("slower", BAD)}.get(ratio.verdict, ("as fast", ""))
    return Text(f"{factor:.2f}x {word}", style=style), f"{low:.2f}-{high:.2f}"


def _number(number: float) -> str:
    """A figure that is readable in any size.

    Example:
        >>> _number(0.0123), _number(12.3), _number(12345.6)
        ('0.012', '12.30', '12,346')
    """
    if number >= 1000:
        return f"{number:,.0f}"
    return f"{number:.2f}" if number >= 1 else f"{number:.3f}"
