"""The import table of the design, and the names that users import."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import repvgg_onnx

PACKAGE = Path(repvgg_onnx.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST = 400  # lines of a module

BELOW = {
    "errors": set(),
    "stages": set(),
    "pointers": set(),
    "extras": {"errors"},
    "shapes": {"errors"},
    "geometry": {"errors"},
    "kernels": {"geometry"},
    "expressions": {"geometry", "kernels"},
    "algebra": {"errors", "geometry", "kernels", "expressions"},
    "field": {"errors", "geometry", "kernels", "algebra"},
    "graph": {"errors", "pointers", "shapes", "geometry", "algebra"},
    "fusion": {"errors", "geometry", "kernels", "algebra", "field", "graph"},
    "checks": {"errors", "pointers", "shapes", "graph"},
    "census": {"errors", "shapes", "graph"},
    "pipeline": {"errors", "stages", "shapes", "geometry", "algebra", "graph", "fusion", "checks"},
    "proof": {"errors", "graph", "fusion", "checks", "pipeline"},
    "fleet": {"errors", "graph", "fusion", "checks", "pipeline", "proof"},
    "config": {"errors"},
    "isolation": {"errors", "graph", "fusion", "pipeline"},
    "tuning": {"errors", "graph", "fusion", "checks", "pipeline", "isolation"},
    "report": {"errors", "extras", "fusion", "checks", "census", "pipeline", "tuning", "serving", "doctor"},
    "serving": {"errors", "extras", "shapes", "graph"},
    "zoo": {"errors", "extras", "pointers"},
    "doctor": {"errors", "graph", "checks", "pipeline", "serving", "zoo"},
    "cli": {
        "errors",
        "stages",
        "extras",
        "shapes",
        "graph",
        "fusion",
        "checks",
        "census",
        "pipeline",
        "proof",
        "fleet",
        "config",
        "tuning",
        "report",
        "serving",
        "zoo",
        "doctor",
    },
    "__main__": {"cli"},
}
PUBLIC = [
    "AffineConv",
    "CheckError",
    "Decisions",
    "ExtraMissingError",
    "FusedFile",
    "Fusion",
    "GeometryError",
    "Latencies",
    "Latency",
    "LiftError",
    "ModelError",
    "Parity",
    "Proof",
    "Refusal",
    "Region",
    "RepvggOnnxError",
    "Tuning",
    "autotune",
    "benchmark",
    "benchmark_models",
    "fuse",
    "fuse_many",
    "load_model",
    "prove",
    "save_model",
    "verify",
]
HEAVY = ("numpy", "onnx", "onnxruntime", "torch", "matplotlib")


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> str:
    """The second component of a module's name; empty for the package itself."""
    return [*module.split("."), ""][1]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", [path for path in MODULES if layer(dotted(path))], ids=dotted)
def test_a_module_imports_only_what_stands_below_it(path):
    own = layer(dotted(path))
    internal = {layer(name) for name in imports(path) if name.startswith("repvgg_onnx.")}
    assert internal & BELOW.keys() <= BELOW[own] | {own}


def test_every_module_has_a_layer():
    assert {layer(dotted(path)) for path in MODULES} - {""} <= BELOW.keys()


def test_the_results_and_their_codes_are_all_that_reports_know_of_the_compiler():
    known = {name for path in (PACKAGE / "report").rglob("*.py") for name in imports(path)}
    of_fusion = {name for name in known if name.startswith("repvgg_onnx.fusion")}
    assert {".".join(name.split(".")[:3]) for name in of_fusion} == {
        "repvgg_onnx.fusion.codes",
        "repvgg_onnx.fusion.results",
    }


def test_torch_is_imported_by_the_zoo_only():
    importers = {layer(dotted(path)) for path in MODULES for name in imports(path) if name.split(".")[0] == "torch"}
    assert importers == {"zoo"}


@pytest.mark.parametrize("statement", ["import repvgg_onnx", "import repvgg_onnx.cli", "import repvgg_onnx.zoo"])
def test_a_bare_import_loads_nothing_heavy(statement):
    heavy = HEAVY if statement != "import repvgg_onnx.zoo" else ("torch",)
    code = f"import sys; {statement}; print(sorted(set({heavy!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names():
    assert repvgg_onnx.__all__ == PUBLIC
    assert all(getattr(repvgg_onnx, name).__name__ == name for name in PUBLIC)
    assert dir(repvgg_onnx) == sorted([*PUBLIC, "__version__"])


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'unfuse'"):
        repvgg_onnx.unfuse  # noqa: B018


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_a_module_stays_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST
