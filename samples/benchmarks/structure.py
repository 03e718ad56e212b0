"""How the package is built, beside another revision: modules, lines, imports, functions, and what one command does.

Usage: python samples/benchmarks/structure.py [REV] [--model samples/digits/digits.onnx]

Counted are modules and lines of Python, pairs of a module and a module of the package that it imports, the longest
function in lines, functions with 8 parameters or more, and, for one ``fuse`` and one ``fuse --autotune`` of a model,
how often a model file is read into messages and how often shapes are inferred. The other revision's package is taken
out of git into a temporary folder and runs with the installed packages. Needs a git checkout.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

from samples.benchmarks.same_bytes import ROOT, package_of

MANY = 8  # parameters
CHILD = """
import collections, json, sys
import onnx
from repvgg_onnx.cli import cli
count = collections.Counter()
def counted(name, function):
    def call(*arguments, **options):
        count[name] += 1
        return function(*arguments, **options)
    return call
from repvgg_onnx.graph import load
load._parse = counted("reads", load._parse)
onnx.shape_inference.infer_shapes = counted("inferences", onnx.shape_inference.infer_shapes)
try:
    cli.main(sys.argv[1:], standalone_mode=False)
except SystemExit:
    pass
print(json.dumps(count))
"""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function in a module, however deep."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Number of parameters by name, without ``self`` and ``cls``."""
    named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([each for each in named if each.arg not in ("self", "cls")])


def imports(tree: ast.AST) -> set[str]:
    """Modules of the package that a module imports from, inside functions too."""
    froms = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return {name for name in froms if name.split(".")[0] == "repvgg_onnx"}


def shape_of(package: Path) -> dict[str, int]:
    """What the source of a package is counted as."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted((package / "repvgg_onnx").rglob("*.py"))}
    trees = {path: ast.parse(text) for path, text in texts.items()}
    every = [function for tree in trees.values() for function in functions(tree)]
    return {
        "modules": len(texts),
        "at the root": len([path for path in texts if path.parent == package / "repvgg_onnx"]),
        "lines": sum(text.count("\n") for text in texts.values()),
        "imports": sum(len(imports(tree)) for tree in trees.values()),
        "longest function": max((function.end_lineno or 0) - function.lineno + 1 for function in every),
        f"functions of {MANY} parameters or more": len([each for each in every if parameters(each) >= MANY]),
    }


def done_by(package: Path, model: Path, *options: str) -> dict[str, int]:
    """What ``fuse`` of a package does with a model, as counts."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", CHILD, "fuse", str(model.absolute()), "-o", f"{folder}/out.onnx", "--quiet"]
        environment = {**os.environ, "PYTHONPATH": str(package)}
        ran = subprocess.run([*command, *options], cwd=folder, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, int] = json.loads(ran.stdout.splitlines()[-1])
    return found


def rows_of(package: Path, model: Path) -> dict[str, int]:
    """All counts of a package."""
    rows = shape_of(package)
    for words, options in (("fuse", ()), ("fuse --autotune", ("--autotune", "--autotune-seconds", "0.5"))):
        found = done_by(package, model, *options, "--bench-seconds", "0.2")
        rows |= {f"{words}: model files read": found["reads"], f"{words}: shape inferences": found["inferences"]}
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revision", nargs="?", help="of this repository, to stand beside this checkout")
    parser.add_argument("--model", type=Path, default=ROOT / "samples" / "digits" / "digits.onnx")
    options = parser.parse_args(arguments)
    columns = {"here": rows_of(ROOT, options.model)}
    if options.revision:
        with tempfile.TemporaryDirectory() as folder:
            package_of(options.revision, Path(folder))
            columns = {options.revision: rows_of(Path(folder), options.model), **columns}
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right")
    for row in columns["here"]:
        table.add_row(row, *(f"{column[row]:,}" for column in columns.values()))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
