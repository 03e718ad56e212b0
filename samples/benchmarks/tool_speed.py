"""What the tool itself costs: its start-up, memory and time over the size of the file, and a whole run on RepVGG-A0.

Usage: python samples/benchmarks/tool_speed.py [--models NAME ...] [--rounds 3] [--starts 11] [--no-whole]

Start-up is user plus system time of ``--help`` and ``--version``, the process that watches included, the median of
several runs. Networks of the zoo are exported with every BatchNormalization and fused with ``--no-verify --no-bench``,
in turns; times and memory are medians over the rounds. ``resident`` counts the pages of mapped files, ``anonymous``
does not. The whole run is ``fuse`` with its defaults: fold, compare outputs, check regions, measure, write.

Needs ``pip install 'repvgg-onnx[export]'``. Linux only. It exits with 1 if start-up takes 150 ms of CPU time or more,
or the whole run 15 s or more.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from processes import Run, run
from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx import save_model
from samples import zoo

AS_SHIPPED = (sys.executable, "-m", "repvgg_onnx")  # the process that works and the one that watches it
COMMAND = (sys.executable, "-c", "from repvgg_onnx.cli import cli; cli.main()")  # in the process that is looked at
MODELS = ("repvgg-a0", "repvgg-b1", "repvgg-b3", "repvgg-d2se")
WHOLE = "repvgg-a0"
START_LIMIT_S = 0.150  # of CPU time
WHOLE_LIMIT_S = 15.0
COLUMNS = (
    "model",
    "file\nMB",
    "wall\ns",
    "CPU\ns",
    "CPU s\nper GB",
    "resident\nMB",
    "resident\n/ file",
    "anonymous\n/ file",
)


def export(name: str, folder: Path) -> Path:
    """A network of the zoo in a file, as exported with every normalization."""
    path = folder / f"{name}.onnx"
    save_model(zoo.export(zoo.build(name), shape=zoo.architecture(name).input_shape, fold=False), path)
    return path


def checked(*arguments: str | Path, command: Sequence[str] = COMMAND) -> Run:
    """The command line, run to its end.

    Raises:
        SystemExit: it failed.
    """
    done = run([*command, *arguments])
    if done.code:
        raise SystemExit(f"repvgg-onnx {arguments[0]}: {done.last_line}")
    return done


def start_up(starts: int) -> dict[str, float]:
    """Seconds of CPU time of what needs no model."""
    return {
        option: median(checked(option, command=AS_SHIPPED).cpu_s for _ in range(starts))
        for option in ("--help", "--version")
    }


def fold_in_turns(sources: Sequence[Path], rounds: int) -> dict[Path, list[Run]]:
    """Each model fused once a round, without any check."""
    runs: dict[Path, list[Run]] = {source: [] for source in sources}
    for _ in range(rounds):
        for source in sources:
            target = source.with_suffix(".fused.onnx")
            runs[source].append(checked("fuse", source, "-o", target, "--no-verify", "--no-bench", "--quiet"))
            target.unlink()
    return runs


def cells(name: str, size_bytes: int, runs: Sequence[Run]) -> list[str]:
    """A row of the table: medians over the runs of one model."""
    wall_s, cpu_s = median(each.wall_s for each in runs), median(each.cpu_s for each in runs)
    resident = median(each.resident_bytes for each in runs)
    anonymous = median(each.anonymous_bytes for each in runs)
    return [
        name,
        f"{size_bytes / 1e6:.1f}",
        f"{wall_s:.2f}",
        f"{cpu_s:.2f}",
        f"{cpu_s / size_bytes * 1e9:.1f}",
        f"{resident / 1e6:,.0f}",
        f"{resident / size_bytes:.2f}",
        f"{anonymous / size_bytes:.2f}",
    ]


def table(runs: Mapping[Path, Sequence[Run]]) -> Table:
    """One row per model."""
    made = Table(box=box.SIMPLE, pad_edge=False)
    for number, column in enumerate(COLUMNS):
        made.add_column(column, justify="left" if not number else "right")
    for source, each in runs.items():
        made.add_row(*cells(source.stem, source.stat().st_size, each))
    return made


def whole_run(folder: Path) -> Run:
    """``fuse`` on RepVGG-A0 with its defaults."""
    return checked("fuse", export(WHOLE, folder), "-o", folder / "whole.onnx", "--quiet")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=MODELS, choices=zoo.names(), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="runs on each model")
    parser.add_argument("--starts", type=int, default=11, help="processes that only start up")
    parser.add_argument("--no-whole", action="store_true", help="leave out the whole run")
    options = parser.parse_args(arguments)
    console = Console(width=80, highlight=False, markup=False)
    passed = True
    for option, cpu_s in start_up(options.starts).items():
        passed &= cpu_s < START_LIMIT_S
        console.print(f"{option:<12}{cpu_s * 1e3:4.0f} ms of CPU time (limit {START_LIMIT_S * 1e3:.0f})")
    with tempfile.TemporaryDirectory() as folder:
        sources = [export(name, Path(folder)) for name in options.models]
        if sources:
            console.print(table(fold_in_turns(sources, options.rounds)))
        if not options.no_whole:
            whole = whole_run(Path(folder))
            passed &= whole.wall_s < WHOLE_LIMIT_S
            sentence = f"{whole.wall_s:.1f} s, {whole.cpu_s:.1f} s of CPU time (limit {WHOLE_LIMIT_S:.0f} s)"
            console.print(f"{WHOLE}, folded, verified, measured and written: {sentence}")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
