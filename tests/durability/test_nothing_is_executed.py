"""Nothing that a model or its folder holds is unpickled or run."""

import ast
from pathlib import Path

import pytest

import repvgg_onnx

SOURCES = sorted(Path(repvgg_onnx.__file__).parent.rglob("*.py"))
RUNNING = {"pickle", "marshal", "shelve", "subprocess", "dill", "cloudpickle", "joblib", "runpy", "code"}
SAFE = {("np", "load"): ("allow_pickle", False), ("torch", "load"): ("weights_only", True)}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def owner_and_name(call):
    match call.func:
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            return owner, name
        case ast.Name(id=name):
            return "", name
    return "", ""


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_arrays_and_checkpoints_are_loaded_without_pickles(path):
    for call in calls(ast.parse(path.read_text(encoding="utf-8"))):
        if owner_and_name(call) in SAFE:
            given = {
                keyword.arg: ast.literal_eval(keyword.value)
                for keyword in call.keywords
                if isinstance(keyword.value, ast.Constant)
            }
            name, value = SAFE[owner_and_name(call)]
            assert given.get(name) is value, f"line {call.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_nothing_is_run(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name.split(".")[0] for name in imported} & RUNNING
    assert not {owner_and_name(call) for call in calls(tree)} & {("", "eval"), ("", "exec"), ("os", "system")}


def test_both_ways_of_loading_are_there_to_be_judged():
    found = {owner_and_name(call) for path in SOURCES for call in calls(ast.parse(path.read_text(encoding="utf-8")))}
    assert found >= SAFE.keys()
