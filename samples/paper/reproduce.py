"""The RepVGG paper's tables 4, 5, 6 and 8, made again from ONNX files under onnxruntime on this machine.

Usage: python samples/paper/reproduce.py [--quick] [--tables 4,5,6,8] [--models 'RepVGG-A*'] [--output FOLDER]

Parameters, multiply-adds and Winograd multiplications are counted in the fused files and held against the paper's.
Speeds are measured in pairs with a reference, each pair in a process of its own. Every row is kept as soon as it is
measured, and the same command goes on where the last one stopped. The tables come on stdout, too. The exit code is 0; 1
if a count is not the paper's, beside the one of which that is known, or a row cannot be measured; 2 on a usage
error. Needs ``pip install 'repvgg-onnx[export]'``, for four rows torchvision, and for the plot
``repvgg-onnx[report]``.
"""

import argparse
import datetime
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import rendering
from measures import count, race
from networks import Unavailable, write
from published import DEVIATIONS, SCENE, Comparison, Network, comparisons
from results import OtherConditions, Result, Results
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from repvgg_onnx import RepvggOnnxError, __version__
from repvgg_onnx.checks.environment import describe_environment
from repvgg_onnx.checks.latency import LEVEL

TABLES = (4, 5, 6, 8)
PRESETS: dict[bool, dict[str, Any]] = {
    False: {"seconds": 20.0, "scene": SCENE, "models": ["*"]},
    True: {
        "seconds": 4.0,
        "scene": 96,
        "models": ["RepVGG-A[012]", "RepVGG-B0", "RepVGG-B1g4", "ResNet-??", "3x3*", "PSPNet*B1g2*"],
    },
}
"""What ``--quick`` changes."""


def parsed(given: Sequence[str] | None) -> argparse.Namespace:
    """The options, those that were not given from the preset."""
    parser = argparse.ArgumentParser(description="Tables 4, 5, 6 and 8 of the RepVGG paper, made again.")
    add = parser.add_argument
    add("--quick", action="store_true", help="fewer rows, 4 seconds each, small scenes: a few minutes in all")
    add("--tables", type=_tables, default=TABLES, metavar="N,N", help="which of 4, 5, 6 and 8")
    add("--models", action="append", metavar="GLOB", help="rows by their labels, such as 'RepVGG-A*'; repeatable")
    add("--seconds", type=_positive(float), help="bound of the measured part of a row (20); six pairs are always run")
    add("--batch", type=_positive(int), default=1, help="images at a time (1)")
    add("--threads", type=int, default=1, help="threads inside an operator (1); 0 lets onnxruntime decide")
    add("--size", type=_positive(int), help="of the images of tables 4 to 6 when measured (224, one row 300)")
    add("--scene", type=_positive(int, of=48), help=f"size of the images of table 8, a multiple of 48 ({SCENE})")
    add("--output", type=Path, default=Path(__file__).with_name("results"), metavar="FOLDER", help="for the results")
    add("--fresh", action="store_true", help="forget the rows that FOLDER has")
    options = parser.parse_args(given)
    for name, value in PRESETS[options.quick].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def _tables(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(","))
    if not set(numbers) <= set(TABLES):
        raise ValueError
    return numbers


def _positive(kind: type, of: int = 1) -> Any:
    def positive(text: str) -> Any:
        number = kind(text)
        if not 0 < number < float("inf") or (kind is int and number % of):
            raise ValueError
        return number

    return positive


def conditions(options: argparse.Namespace) -> dict[str, Any]:
    """What the speeds depend on besides the networks."""
    machine = describe_environment()
    return {
        "cpu": machine.cpu,
        "cores": machine.cores,
        "platform": machine.platform,
        "onnxruntime": machine.onnxruntime,
        "optimization": LEVEL,
        "repvgg_onnx": __version__,
        "threads": options.threads,
        "batch": options.batch,
        "seconds": options.seconds,
        "size": options.size,
        "scene": options.scene,
    }


def measured(comparison: Comparison, options: argparse.Namespace, folder: Path) -> Result:
    """One row, its ONNX files in ``folder``."""
    network, reference, cost = comparison.network, comparison.reference, comparison.cost
    row = Result(comparison.table, comparison.label, comparison.ratio, reference.name, cost)
    try:
        counts = count(write(network, folder), network.size) if cost else None
        pair = [(write(each, folder), each.size) for each in (resized(reference, options), resized(network, options))]
    except Unavailable as error:
        return replace(row, unavailable=str(error))
    speed = race(*pair, batch=options.batch, threads=options.threads, seconds=options.seconds)
    differs = tuple(counts.differences(cost)) if counts and cost else ()
    return replace(row, counts=counts, differs=differs, speed=speed, date=datetime.date.today().isoformat())


def resized(network: Network, options: argparse.Namespace) -> Network:
    """The network for images of the size asked for; scenes have their own option."""
    if options.size is None or network.name.startswith("pspnet"):
        return network
    return replace(network, size=options.size)


def described(row: Result) -> str:
    """One line about a row just measured."""
    if row.speed is None:
        return f"{row.label}: not measured: {row.unavailable}"
    speed = row.speed
    line = f"{row.label}: {speed.ratio:.2f} (95% CI {speed.low:.2f}-{speed.high:.2f}), paper {row.paper_ratio:.2f}"
    return f"{line}; NOT as in the paper: {', '.join(row.differs)}" if row.differs else line


def measure_all(chosen: Sequence[Comparison], options: argparse.Namespace, results: Results, console: Console) -> None:
    """Every row that ``results`` does not have yet is measured and kept."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    missing = [comparison for comparison in chosen if not results.has(comparison)]
    if len(missing) < len(chosen):
        console.print(f"{len(chosen) - len(missing)} rows are in {results.folder} already")
    references = {resized(comparison.reference, options) for comparison in chosen}
    with tempfile.TemporaryDirectory() as scratch, Progress(*columns, console=console) as progress:
        folder = Path(scratch)
        for comparison in progress.track(missing):
            row = named(comparison, options, folder)
            results.add(row)
            progress.console.print(described(row), soft_wrap=True)
            keep = {folder / f"{reference.stem}.onnx" for reference in references}
            for path in set(folder.iterdir()) - keep:
                path.unlink()


def named(comparison: Comparison, options: argparse.Namespace, folder: Path) -> Result:
    """``measured``, with the row's label in front of every error.

    Raises:
        RepvggOnnxError: the row cannot be measured.
    """
    try:
        return measured(comparison, options, folder)
    except BrokenProcessPool as error:
        raise RepvggOnnxError(f"{comparison.label}: the measuring process ended, perhaps for want of memory") from error
    except RepvggOnnxError as error:
        raise RepvggOnnxError(f"{comparison.label}: {error}") from error


def publish(results: Results, console: Console) -> None:
    """The tables on stdout and in a file, and the plot if there is something to show and matplotlib to draw it."""
    text = rendering.markdown(results)
    (results.folder / "results.md").write_text(text, encoding="utf-8")
    print(text, end="")
    console.print(f"wrote {results.folder}", soft_wrap=True)
    if not any(row.speed for row in results.rows.values()):
        return
    try:
        rendering.plot(results, results.folder / "results.svg")
    except ImportError:
        console.print("the plot is left out: pip install 'repvgg-onnx[report]'", soft_wrap=True)


def main(given: Sequence[str] | None = None) -> int:
    options = parsed(given)
    console = Console(stderr=True, highlight=False, markup=False)
    rows = [row for row in comparisons(options.scene) if row.table in options.tables]
    chosen = [row for row in rows if any(fnmatchcase(row.label, pattern) for pattern in options.models)]
    if not chosen:
        console.print(f"error: no label of these rows is like that; there are {', '.join(row.label for row in rows)}")
        return 2
    try:
        results = Results.open(options.output, conditions(options), fresh=options.fresh)
    except OtherConditions as error:
        console.print(f"error: {error}", soft_wrap=True)
        return 2
    try:
        measure_all(chosen, options, results, console)
    except RepvggOnnxError as error:
        console.print(f"error: {error}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on with the next row")
        return 130
    finally:
        if results.rows:
            publish(results, console)
    found = {(row.label, column) for row in results.rows.values() for column in row.differs}
    return 0 if found <= DEVIATIONS.keys() else 1


if __name__ == "__main__":
    sys.exit(main())
