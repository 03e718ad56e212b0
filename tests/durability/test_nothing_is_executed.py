"""Nothing that a model or its folder holds is unpickled or run."""

import ast
from pathlib import Path

import pytest

import repvgg_onnx

SOURCES = sorted(Path(repvgg_onnx.__file__).parent.rglob("*.py"))
RUNNING = {"pickle", "marshal", "shelve", "subprocess", "dill", "cloudpickle", "joblib", "runpy", "code"}
OWN_PROCESSES = [("checks", "latency", "isolation.py"), ("repvgg_onnx", "doctor", "examination.py")]
"""The only module that starts processes: this interpreter, without the working folder, on a program of its own."""
SAFE = {("np", "load"): ("allow_pickle", False), ("torch", "load"): ("weights_only", True)}


def calls(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def names(assignment):
    return [target.id for target in assignment.targets if isinstance(target, ast.Name)]


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
    allowed = {"subprocess"} if path.parts[-3:] in OWN_PROCESSES else set()
    assert not {name.split(".")[0] for name in imported} & RUNNING - allowed
    assert not {owner_and_name(call) for call in calls(tree)} & {("", "eval"), ("", "exec"), ("os", "system")}


@pytest.mark.parametrize("parts", OWN_PROCESSES, ids=lambda parts: parts[-1])
def test_the_only_process_that_is_started_is_this_interpreter_isolated(parts):
    (path,) = (path for path in SOURCES if path.parts[-3:] == parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (call,) = (call for call in calls(tree) if owner_and_name(call)[0] == "subprocess")
    assert owner_and_name(call) == ("subprocess", "run")
    assert [ast.unparse(argument) for argument in call.args] == ["command"]
    (command,) = (node.value for node in ast.walk(tree) if isinstance(node, ast.Assign) and "command" in {*names(node)})
    assert [ast.unparse(element) for element in command.elts[:4]] == ["sys.executable", "'-I'", "'-c'", "_PROGRAM"]


def test_both_ways_of_loading_are_there_to_be_judged():
    found = {owner_and_name(call) for path in SOURCES for call in calls(ast.parse(path.read_text(encoding="utf-8")))}
    assert found >= SAFE.keys()
