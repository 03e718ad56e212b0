"""Tests go through public seams: none of them patches a private name."""

import ast
from pathlib import Path

import pytest

TESTS = sorted(Path(__file__).parent.rglob("*.py"))
PATCHING = {"setattr", "delattr", "object", "patch"}


def private_names_patched(source: str) -> list[str]:
    """Private names among the texts that are given to ``setattr``, ``patch.object`` and alike."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    patching = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr in PATCHING]
    names = [
        argument.value
        for call in patching
        for argument in call.args[:2]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    return [name for name in names if name.split(".")[-1].startswith("_") and not name.endswith("__")]


def test_no_test_patches_a_private_name() -> None:
    found = {path: private_names_patched(path.read_text(encoding="utf-8")) for path in TESTS}
    assert {str(path): names for path, names in found.items() if names} == {}


@pytest.mark.parametrize("call", ["p.setattr(m, '_x', 1)", "p.setattr('a.b._x', 1)", "patch.object(m, '_x')"])
def test_a_private_name_that_is_patched_is_seen(call: str) -> None:
    assert private_names_patched(call)
