"""The README says what there is: its two commands, every option, every public name, every refusal code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click

import repvgg_onnx
from repvgg_onnx.cli import cli
from repvgg_onnx.compiler.codes import CODES

PACKAGE = Path(repvgg_onnx.__file__).parent
README = (PACKAGE.parent / "README.md").read_text(encoding="utf-8")
SOURCES = sorted(PACKAGE.rglob("*.py"))
CARRIERS = {"LiftError", "GeometryError", "Refusal"}
OPTIONS = {
    name: [
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
    ]
    for name, command in cli.commands.items()
}


def section(title: str) -> str:
    """The README from the one heading that starts so to the next one."""
    parts = re.split(r"^(?=#)", README, flags=re.MULTILINE)
    found = [part for part in parts if part.startswith((f"{title}\n", f"{title} ", f"{title}`"))]
    assert len(found) == 1, f"{len(found)} sections are called {title}"
    return found[0]


def blocks(language: str) -> list[list[str]]:
    """Lines of every fenced block of a language."""
    return [text.splitlines() for text in re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)]


def rows(table: str) -> list[list[str]]:
    """Cells of a table, without its head."""
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def called(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def returned(tree: ast.AST, name: str) -> Iterator[ast.expr]:
    """First elements of the tuples that a function returns."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and function.name == name:
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                    yield node.value.elts[0]


def codes_given(path: Path) -> set[str]:
    """Code literals that a module raises or reports, those that a helper function returns to the call too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    given: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node.func) in CARRIERS and node.args:
            first = node.args[0]
            if isinstance(first, ast.Starred) and isinstance(first.value, ast.Call):
                given += returned(tree, called(first.value.func))
            else:
                given.append(first)
    return {node.value for node in given if isinstance(node, ast.Constant)}


def test_the_first_two_commands_are_one_line_each():
    (install_and_fuse,), (install_and_test,) = blocks("bash")[:2]

    assert re.fullmatch(
        r"python -m pip install \S+ && repvgg-onnx fuse samples/digits/digits\.onnx .*", install_and_fuse
    )
    assert re.fullmatch(r"python -m pip install \S+ '\.\[test\]' && python -m pytest.*", install_and_test)


def test_the_files_of_the_first_command_are_there():
    files = re.findall(r"samples/\S+", blocks("bash")[0][0])

    assert len(files) == 2
    assert all((PACKAGE.parent / file).is_file() for file in files)


def test_every_option_is_in_the_section_of_its_command():
    sections = {command: section(f"### `repvgg-onnx {command}") for command in OPTIONS}
    missing = [
        f"{command} {option}"
        for command, options in OPTIONS.items()
        for option in options
        if not re.search(rf"`{option}[` ]", sections[command])
    ]

    assert missing == []


def test_the_readme_names_no_option_that_is_not_there():
    known = {"--help", "--version"}.union(*OPTIONS.values())

    assert set(re.findall(r"`(--[a-z-]+)", README)) <= known


def test_every_public_name_is_in_the_reference():
    cells = " ".join(" ".join(row) for row in rows(section("## Python")))

    assert [name for name in repvgg_onnx.__all__ if not re.search(rf"`{name}\b", cells)] == []


def test_the_table_of_refusals_is_the_text_that_explain_prints():
    table = [(code.strip("`"), meaning, advice) for code, meaning, advice in rows(section("## Refusals"))]

    assert table == [(code, entry.meaning, entry.advice) for code, entry in sorted(CODES.items())]


def test_the_codes_that_are_given_are_those_with_a_long_form():
    given = {code: path for path in SOURCES for code in codes_given(path)}

    assert {code: str(path) for code, path in given.items() if code not in CODES} == {}
    assert CODES.keys() - given == set()
