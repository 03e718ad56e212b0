"""Every ONNX file of a folder through ``fuse``: what folds, how far outputs move, and how noisy the networks are.

    python samples/benchmarks/real_files.py FOLDER [--markdown]

Exits with 1 if a file that onnxruntime runs is not fused, a region is thrown away, or an output has an error above the
tolerance and above 3 times the own noise of its network.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
from rich.console import Console
from rich.table import Table

MOST_OF_NOISE = 3.0
HEADINGS = ("file", "regions", "rolled back", "error", "own noise", "ratio", "decided by", "seconds")


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Attributes:
        name: of the file.
        code: exit code of ``fuse``.
        report: its JSON report; empty where there is none.
        said: the last line on stderr.
        seconds: wall time.
    """

    name: str
    code: int
    report: dict[str, Any]
    said: str
    seconds: float

    @property
    def worst(self) -> dict[str, Any] | None:
        """The output with the largest error of those that were compared."""
        parity = self.report.get("parity")
        return max(parity["outputs"], key=lambda output: output["error"] or 0.0) if parity else None

    @property
    def ratio(self) -> float:
        """Its error in units of the network's own noise; 0 where it is within the tolerance or decided inside."""
        worst = self.worst
        if worst is None or not worst["error"] or worst["decided_by"] == "inner tensors":
            return 0.0
        return worst["error"] / worst["noise"] if worst["noise"] else float("inf")

    @property
    def row(self) -> tuple[str, ...]:
        """The cells of the table."""
        worst = self.worst
        if self.code or worst is None:
            told = self.said if self.code else "nothing to fold" if not self.report.get("rolled_back") else "kept"
            return (
                self.name,
                "–",
                str(len(self.report.get("rolled_back", []))),
                told,
                "",
                "",
                "",
                f"{self.seconds:.1f}",
            )
        error = "not finite" if worst["error"] is None else f"{worst['error']:.1e}"
        return (
            self.name,
            str(len(self.report["regions"])),
            str(len(self.report["rolled_back"])),
            error,
            f"{worst['noise']:.1e}",
            f"{self.ratio:.2f}" if self.ratio else "–",
            worst["decided_by"],
            f"{self.seconds:.1f}",
        )


def fused(path: Path, folder: Path) -> Outcome:
    """``repvgg-onnx fuse`` on one file, without measuring latency."""
    command = [
        sys.executable,
        "-m",
        "repvgg_onnx",
        "fuse",
        str(path),
        "-o",
        str(folder / path.name),
        "--no-bench",
        "--json",
    ]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    report = json.loads(done.stdout) if done.stdout.strip() else {}
    return Outcome(path.name, done.returncode, report, (done.stderr.strip().splitlines() or [""])[-1], seconds)


def runs(path: Path) -> bool:
    """Whether onnxruntime loads the file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's exceptions have no common base
        return False
    return True


def is_wrong(path: Path, outcome: Outcome) -> bool:
    """Whether a file shows a fault of this project."""
    if outcome.code:
        return runs(path)
    worst = outcome.worst
    above = worst is not None and (worst["error"] or 0.0) > worst["tolerance"]
    return bool(outcome.report.get("rolled_back")) or (above and outcome.ratio > MOST_OF_NOISE)


def main() -> int:
    """Prints a row for each file, and how many are wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    paths = sorted(arguments.folder.glob("**/*.onnx"))
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [fused(path, Path(folder)) for path in paths]
    if arguments.markdown:
        for cells in (HEADINGS, ("---",) * len(HEADINGS), *(outcome.row for outcome in outcomes)):
            print(f"| {' | '.join(cells)} |")
    else:
        table = Table(*HEADINGS, box=None)
        for outcome in outcomes:
            table.add_row(*outcome.row)
        Console().print(table)
    wrong = [outcome.name for path, outcome in zip(paths, outcomes, strict=True) if is_wrong(path, outcome)]
    print(
        f"{len(wrong)} of {len(outcomes)} files show a fault{': ' if wrong else ''}{', '.join(wrong)}", file=sys.stderr
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
