"""The architecture page says what is there, and its worked example works."""

import pkgutil
import re
from pathlib import Path

import pytest

import repvgg_onnx
from repvgg_onnx.compiler.lifters import LIFTERS

PACKAGE = Path(repvgg_onnx.__file__).parent
CHECKOUT = PACKAGE.parent
PAGE = (PACKAGE / "README.md").read_text(encoding="utf-8")
LIFTER, POSITIVE, TWIN = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def rows(heading: str) -> list[list[str]]:
    """Cells of the first table after a heading, without its head."""
    lines = PAGE.split(f"\n## {heading}\n")[1].splitlines()
    table = [line for line in lines[: lines.index("", lines.index("|---|---|---|"))] if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_stage_has_its_function():
    stages = [names(cells[1])[0] for cells in rows("The way of a model")]

    assert len(stages) >= 10
    assert [stage for stage in stages if not callable(pkgutil.resolve_name(f"repvgg_onnx.{stage}"))] == []


def test_the_table_of_operators_is_the_registry():
    table = {(op_type, names(module)[0]) for operators, module, _ in rows("Operators") for op_type in names(operators)}
    registry = {(op_type, f"{lifter.lift.__module__.split('.')[-1]}.py") for op_type, lifter in LIFTERS.items()}

    assert table == registry


def test_every_file_that_is_named_is_there():
    named = {name for name in re.findall(r"`([\w./]+)`", PAGE) if "/" in name or name.endswith((".py", ".md"))}
    places = (CHECKOUT, PACKAGE, PACKAGE / "compiler" / "lifters")

    assert len(named) > 10
    assert {name for name in named if not any((place / name).exists() for place in places)} == set()


def test_docstrings_say_things_themselves_and_refer_to_no_other():
    referring = re.compile(r": as (?:for|of) |\b[Aa]s (?:for|of) ``")
    texts = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}

    assert sorted(str(path) for path, text in texts.items() if referring.search(text)) == []


@pytest.fixture
def example(registry):
    """Runs code blocks of the page one after the other."""
    scope = {}

    def run(*blocks):
        for block in blocks:
            exec(compile(block, "repvgg_onnx/README.md", "exec"), scope)
        return scope

    return run


def test_the_operator_of_the_example_is_new():
    assert set(re.findall(r'@lifter\("(\w+)"', LIFTER)).isdisjoint(LIFTERS)


def test_following_the_example_adds_an_operator(example):
    scope = example(LIFTER, POSITIVE, TWIN)

    tests = [scope[name] for name in scope if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


def test_the_positive_test_of_the_example_needs_the_lifter(example):
    scope = example(POSITIVE)

    with pytest.raises(AssertionError):
        scope["test_clip_without_bounds"]()


def test_the_no_op_twin_of_the_example_needs_the_refusal(example):
    scope = example(re.sub(r"    if .*\n        raise .*\n", "", LIFTER), POSITIVE, TWIN)

    with pytest.raises(AssertionError):
        scope["test_clip_with_a_bound"]()


def test_a_release_has_one_version():
    version = repvgg_onnx.__version__
    changes = re.findall(r"^## (.+)$", (CHECKOUT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    texts = [
        path.read_text(encoding="utf-8") for path in sorted((CHECKOUT / "samples" / "ci").rglob("*")) if path.is_file()
    ]
    tags = [tag for text in texts for tag in re.findall(r"(?:@|rev: )v(\d+\.\d+\.\d+)", text)]

    assert next(title for title in changes if title != "Unreleased") == version
    assert tags
    assert set(tags) == {version}
    assert set(re.findall(r"\bv?(\d+\.\d+\.\d+)\b", PAGE)) == {version}
