"""The layers of the architecture page, and what a bare import gives; each test names the modules that offend."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

import pytest

import repvgg_onnx

PACKAGE = Path(repvgg_onnx.__file__).parent
LONGEST = 400  # lines of a module
HEAVY = ("numpy", "onnx", "onnxruntime", "torch", "matplotlib")


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def layer(module: str) -> str:
    """The second component of a module's name; empty for the package itself."""
    return [*module.split("."), ""][1]


def table() -> dict[str, set[str]]:
    """The layers that each layer imports, as the page has them."""
    section = (PACKAGE / "README.md").read_text(encoding="utf-8").split("\n## Layers\n")[1].split("\n## ")[0]
    cells = [line.split("|") for line in section.splitlines() if line.startswith("| `")]
    return {name.strip(" `"): set(re.findall(r"`(\w+)`", below)) for _, name, below, *_ in cells}


def imported(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Every module that statements import, and the packages of names that are no modules."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else node.module for name in names)


def at_import(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, those inside functions and for type checkers left out."""
    for node in body:
        if isinstance(node, ast.If):
            yield from () if ast.unparse(node.test) == "TYPE_CHECKING" else at_import(node.body)
            yield from at_import(node.orelse)
        elif isinstance(node, ast.Try):
            yield from at_import([*node.body, *node.orelse, *node.finalbody])
            yield from at_import(statement for handler in node.handlers for statement in handler.body)
        else:
            yield node


TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
IMPORTS = {name: set(imported(ast.walk(tree))) for name, tree in TREES.items()}
ARROWS = {
    (layer(name), layer(other)): f"{name} imports {other}"
    for name, others in IMPORTS.items()
    for other in sorted(others & MODULES.keys())
    if layer(name) and layer(other) and layer(name) != layer(other)
}


def test_the_table_of_layers_has_every_arrow_and_no_other():
    drawn = {(name, below) for name, those in table().items() for below in those}

    assert {what for arrow, what in ARROWS.items() if arrow not in drawn} == set()
    assert {f"{name} imports {below}, which nothing does" for name, below in drawn - ARROWS.keys()} == set()


def test_the_table_has_every_layer_and_the_root_has_four_modules():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}

    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "__main__", "errors", "extras"}
    assert table().keys() == folders | {"__main__", "errors", "extras"}


def test_no_imports_run_in_a_circle():
    """A circle is named by the error. The package itself, which everyone may ask for its version, stands for itself."""
    TopologicalSorter(table()).prepare()
    TopologicalSorter(
        {name: set(imported(at_import(tree.body))) & MODULES.keys() - {name} for name, tree in TREES.items()}
    ).prepare()


def test_the_referee_knows_nothing_of_the_compiler_nor_by_way_of_others():
    layers, reached = table(), {"checks"}
    while grown := {below for name in reached for below in layers[name]} - reached:
        reached |= grown

    assert "compiler" not in reached
    assert {what for (name, below), what in ARROWS.items() if name in reached and below == "compiler"} == set()


def test_the_algebra_knows_numpy_and_nothing_of_onnx():
    used = {(name, other.split(".")[0]) for name, others in IMPORTS.items() for other in others}
    known = {"numpy", "repvgg_onnx", *sys.stdlib_module_names}

    assert {(name, other) for name, other in used if layer(name) == "affine" and other not in known} == set()


def test_results_and_codes_are_all_that_reports_know_of_the_compiler():
    known = {(name, other) for name, others in IMPORTS.items() for other in others if layer(name) == "report"}
    allowed = {"repvgg_onnx.compiler.codes", "repvgg_onnx.compiler.results"}

    assert {pair for pair in known if layer(pair[1]) == "compiler" and pair[1] not in allowed} == set()


def test_torch_is_imported_by_the_zoo_only():
    importers = {name for name, others in IMPORTS.items() for other in others if other.split(".")[0] == "torch"}

    assert importers
    assert {name for name in importers if layer(name) != "zoo"} == set()


@pytest.mark.parametrize("statement", ["import repvgg_onnx", "import repvgg_onnx.cli", "import repvgg_onnx.zoo"])
def test_a_bare_import_loads_nothing_heavy(statement):
    heavy = HEAVY if statement != "import repvgg_onnx.zoo" else ("torch",)
    code = f"import sys; {statement}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_found_under_its_name():
    """Which names there are, ``__all__`` alone says; the reference is held to it in ``test_readme``."""
    assert repvgg_onnx.__all__ == sorted(repvgg_onnx.__all__)
    assert {name for name in repvgg_onnx.__all__ if getattr(repvgg_onnx, name).__name__ != name} == set()
    assert dir(repvgg_onnx) == sorted([*repvgg_onnx.__all__, "__version__"])


def test_tools_that_do_not_run_the_package_see_the_same_names():
    block = next(node for node in TREES["repvgg_onnx"].body if isinstance(node, ast.If))
    seen = {alias.asname: node.module for node in block.body for alias in node.names}

    assert sorted(seen) == repvgg_onnx.__all__
    homes = {name: getattr(import_module(module), name) for name, module in seen.items()}
    assert {name for name, home in homes.items() if home is not getattr(repvgg_onnx, name)} == set()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'unfuse'"):
        repvgg_onnx.unfuse  # noqa: B018


def test_a_module_stays_readable():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in MODULES.items()}

    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}
