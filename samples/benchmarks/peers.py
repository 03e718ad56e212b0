"""The compiler beside other optimizers of ONNX models: what is left, how fast it runs, what the tool itself takes.

Usage: python samples/benchmarks/peers.py [--models NAME ...] [--rounds 3] [--seconds 5] [--big] [--output table.md]

Networks of the zoo are exported with every BatchNormalization. Each tool turns file into file in a process of its own,
by the command that its documentation gives; the tools take turns, in random order in every round. Times and memory are
medians over the rounds: ``resident`` counts the pages of mapped files, ``anonymous`` does not. Then each result is
compared with the input: do the outputs agree, and what is the ratio of the latencies under onnxruntime with all of its
own optimizations (below 1: faster than the input)? Tools that are not installed are left out by name.

Needs ``pip install 'repvgg-onnx[bench,export]'``. Linux only. It exits with 1 if repvgg-onnx itself fails or changes an
output.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import onnx
from processes import Run, run
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx import RepvggOnnxError, benchmark, save_model, verify
from samples import zoo

OURS = "repvgg-onnx"
MODELS = ("repvgg-a0", "repvgg-b0", "mobileone-block", "repmixer-block", "repvit-block")
BIG = ("repvgg-b3",)
COLUMNS = ("tool", "nodes", "latency / input", "wall\ns", "CPU\ns", "resident\nMB", "anonymous\nMB")
LONGEST_REASON = 100  # characters
SOURCE, TARGET = "{source}", "{target}"
_ONNXSCRIPT = """
import sys, onnx, onnxscript.optimizer
onnx.save(onnxscript.optimizer.optimize(onnx.load(sys.argv[1])), sys.argv[2])
"""


@dataclass(frozen=True)
class Tool:
    """An optimizer, file in and file out.

    Attributes:
        name: what it is called.
        module: what has to be installed.
        arguments: what Python is given, with SOURCE and TARGET where the files stand.
    """

    name: str
    module: str
    arguments: tuple[str, ...]

    def command(self, source: Path, target: Path) -> list[str]:
        """The command that turns one file into another."""
        files = {SOURCE: str(source), TARGET: str(target)}
        return [sys.executable, *(files.get(argument, argument) for argument in self.arguments)]


PROGRAM = "from repvgg_onnx.cli import cli; cli.main()"  # in the process that is looked at, not in one of its own
TOOLS = (
    Tool(
        OURS,
        "repvgg_onnx",
        ("-c", PROGRAM, "fuse", SOURCE, "-o", TARGET, "--no-verify", "--no-bench", "--quiet"),
    ),
    Tool("onnxsim", "onnxsim", ("-m", "onnxsim", SOURCE, TARGET)),
    Tool("onnxslim", "onnxslim", ("-m", "onnxslim", SOURCE, TARGET)),
    Tool("onnxoptimizer", "onnxoptimizer", ("-m", "onnxoptimizer", SOURCE, TARGET)),
    Tool("onnxscript", "onnxscript", ("-c", _ONNXSCRIPT, SOURCE, TARGET)),
)


@dataclass(frozen=True)
class Row:
    """How one tool did on one model.

    Attributes:
        tool: its name.
        runs: of the tool, one per round.
        nodes: that are left; None where there is no result.
        latency: median ratio to the input's, with its interval; None where it was not measured.
        problem: why there is no result, or what is wrong with it; empty for nothing.
    """

    tool: str
    runs: tuple[Run, ...]
    nodes: int | None = None
    latency: tuple[float, float, float] | None = None
    problem: str = ""

    def cells(self) -> list[str]:
        """The row as text, one cell per column."""
        if self.nodes is None:
            return [self.tool, "", "failed", *[""] * (len(COLUMNS) - 3)]
        return [
            self.tool,
            str(self.nodes),
            self._latency,
            f"{median(each.wall_s for each in self.runs):.2f}",
            f"{median(each.cpu_s for each in self.runs):.2f}",
            f"{median(each.resident_bytes for each in self.runs) / 1e6:,.0f}",
            f"{median(each.anonymous_bytes for each in self.runs) / 1e6:,.0f}",
        ]

    @property
    def _latency(self) -> str:
        if self.latency is not None:
            return "{:.2f} ({:.2f}-{:.2f})".format(*self.latency)
        return "not the same" if self.problem else "not measured"


def installed(tools: Sequence[Tool]) -> tuple[list[Tool], list[str]]:
    """The tools that are there, and the names of the others."""
    there = [tool for tool in tools if find_spec(tool.module) is not None]
    return there, [tool.name for tool in tools if tool not in there]


def export(name: str, folder: Path) -> Path:
    """A network of the zoo in a file, as exported with every normalization; those have statistics."""
    path = folder / f"{name}.onnx"
    module = zoo.perturb_statistics(zoo.build(name))
    save_model(zoo.export(module, shape=zoo.architecture(name).input_shape, fold=False), path)
    return path


def compare(source: Path, tools: Sequence[Tool], *, rounds: int, seconds: float, seed: int = 0) -> list[Row]:
    """One row per tool, in their order, for one model.

    Args:
        source: the model.
        tools: what to run on it.
        rounds: how often, each time in another order.
        seconds: bound of each measurement of latency; 0 for none.
        seed: of the orders.
    """
    rng = random.Random(seed)
    runs: dict[str, list[Run]] = {tool.name: [] for tool in tools}
    for _ in range(rounds):
        for tool in rng.sample(list(tools), len(tools)):
            target = _target(source, tool)
            target.unlink(missing_ok=True)
            runs[tool.name].append(run(tool.command(source, target)))
    return [judged(tool.name, source, _target(source, tool), runs[tool.name], seconds=seconds) for tool in tools]


def judged(name: str, source: Path, target: Path, runs: Sequence[Run], *, seconds: float) -> Row:
    """The row of a tool that was run: its result, compared with what it was made from."""
    failed = next((each for each in runs if each.code), None)
    if failed is not None or not target.exists():
        return Row(name, tuple(runs), problem=_shortened((failed or runs[-1]).last_line))
    nodes = len(onnx.load(target, load_external_data=False).graph.node)
    try:
        parity = verify(source, target, seeds=(0,))
        if not parity.passed:
            return Row(name, tuple(runs), nodes, problem=f"changes the outputs: normalized error {parity.error:.1e}")
        if not seconds:
            return Row(name, tuple(runs), nodes)
        found = benchmark(source, target, seconds=seconds)
    except RepvggOnnxError as error:
        return Row(name, tuple(runs), nodes, problem=_shortened(f"its result cannot be compared: {error}"))
    return Row(name, tuple(runs), nodes, (1 / found.speedup, 1 / found.high, 1 / found.low))


def _target(source: Path, tool: Tool) -> Path:
    return source.with_name(f"{source.stem}.{tool.name}.onnx")


def _shortened(reason: str) -> str:
    line = " ".join(reason.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"


def table(title: str, rows: Sequence[Row]) -> Table:
    """The rows for a terminal."""
    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False)
    for number, column in enumerate(COLUMNS):
        made.add_column(column, justify="left" if not number else "right")
    for row in rows:
        made.add_row(*row.cells())
    return made


def problems(rows: Sequence[Row]) -> list[str]:
    """A line for each tool that failed or changed what the model computes."""
    return [f"{row.tool}: {row.problem}" for row in rows if row.problem]


def markdown(results: Mapping[str, Sequence[Row]], remarks: Sequence[str]) -> str:
    """All tables as Markdown, and what has to be said beside them."""
    heading = f"| {' | '.join(column.replace(chr(10), ', ') for column in COLUMNS)} |"
    lines = []
    for title, rows in results.items():
        lines += [f"### {title}", "", heading, f"|{'---|' * len(COLUMNS)}"]
        lines += [*(f"| {' | '.join(row.cells())} |" for row in rows), ""]
        lines += [f"- {line}" for line in problems(rows)]
    return "\n".join([*lines, "", *remarks, ""])


def conditions(rounds: int, seconds: float, missing: Sequence[str]) -> list[str]:
    """How it was measured, and what was left out."""
    remarks = [f"{rounds} rounds, latencies of at most {seconds:g} s each, 1 thread"]
    if missing:
        remarks.append(f"skipped, because they are not installed: {', '.join(missing)}")
    return remarks


def main(arguments: Sequence[str] | None = None, tools: Sequence[Tool] = TOOLS) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS, choices=zoo.names(), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each tool on each model")
    parser.add_argument("--seconds", type=float, default=5.0, help="bound of each measurement of latency; 0 for none")
    parser.add_argument("--big", action="store_true", help="RepVGG-B3 as well: 0.5 GB, minutes, 4 GB of memory")
    parser.add_argument("--output", type=Path, help="Markdown file to write")
    options = parser.parse_args(arguments)
    there, missing = installed(tools)
    results: dict[str, list[Row]] = {}
    remarks = conditions(options.rounds, options.seconds, missing)
    console = Console(width=80, highlight=False, markup=False)
    with tempfile.TemporaryDirectory() as folder:
        for name in (*options.models, *(BIG if options.big else ())):
            source = export(name, Path(folder))
            title = f"{name}: {len(onnx.load(source).graph.node)} nodes, {source.stat().st_size / 1e6:,.1f} MB"
            results[title] = compare(source, there, rounds=options.rounds, seconds=options.seconds)
            console.print(table(title, results[title]), *problems(results[title]), sep="\n")
            for file in Path(folder).iterdir():
                file.unlink()
    console.print(*remarks, sep="\n")
    if options.output is not None:
        options.output.write_text(markdown(results, remarks), encoding="utf-8")
    return int(any(row.problem for rows in results.values() for row in rows if row.tool == OURS))


if __name__ == "__main__":
    sys.exit(main())
