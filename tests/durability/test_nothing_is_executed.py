"""Nothing that a model or its folder holds is unpickled or run."""

import ast
from pathlib import Path

import pytest

import repvgg_onnx

SOURCES = sorted(Path(repvgg_onnx.__file__).parent.rglob("*.py"))
RUNNING = {"pickle", "marshal", "shelve", "subprocess", "dill", "cloudpickle", "joblib", "runpy", "code"}
OWN_PROCESSES = [("checks", "latency", "isolation.py"), ("workflows", "doctor", "examination.py")]
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


def unsafe_loads(source):
    """Lines that load arrays or checkpoints and do not refuse pickles."""
    return [
        call.lineno
        for call in calls(ast.parse(source))
        if owner_and_name(call) in SAFE and SAFE[owner_and_name(call)] not in literals(call).items()
    ]


def literals(call):
    return {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}


def running(source):
    """What a module imports or calls by which it could run something."""
    tree = ast.parse(source)
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    called = {owner_and_name(call) for call in calls(tree)} & {("", "eval"), ("", "exec"), ("os", "system")}
    return {name.split(".")[0] for name in imported} & RUNNING | {name for _, name in called}


def test_arrays_and_checkpoints_are_loaded_without_pickles():
    found = {path: unsafe_loads(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert [f"{path}:{line}" for path, lines in found.items() for line in lines] == []


def test_nothing_is_run():
    allowed = {path: {"subprocess"} for path in SOURCES if path.parts[-3:] in OWN_PROCESSES}
    found = {path: running(path.read_text(encoding="utf-8")) - allowed.get(path, set()) for path in SOURCES}
    assert {str(path): names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "source", ["import pickle", "from subprocess import run", "def f(): import code.x", "eval('1')", "os.system(a)"]
)
def test_what_could_run_something_is_seen(source):
    assert running(source)


@pytest.mark.parametrize(
    "source", ["np.load(a)", "np.load(a, allow_pickle=True)", "np.load(a, allow_pickle=b)", "torch.load(a, b)"]
)
def test_an_unsafe_load_is_seen(source):
    assert unsafe_loads(f"\n{source}") == [2]


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
