import json

import pytest

from repvgg_onnx.compiler.codes import CODES
from tests.cli.reading import words


def test_every_code_is_explained_in_80_columns(run):
    shown = {code: run("explain", code) for code in CODES}
    expected = {code: f"{code} {entry.meaning} What to do {entry.advice}" for code, entry in CODES.items()}

    assert {code: words(ran.out) for code, ran in shown.items()} == {code: words(expected[code]) for code in CODES}
    assert [code for code, ran in shown.items() if (ran.code, ran.err) != (0, "")] == []
    assert [code for code, ran in shown.items() if max(map(len, ran.out.splitlines())) > 80] == []


def test_without_a_code_all_are_listed_on_one_line_each(run):
    ran = run("explain")

    assert [line.split()[0] for line in ran.out.splitlines()] == list(CODES)
    assert max(map(len, ran.out.splitlines())) <= 80
    assert all(
        CODES[line.split()[0]].meaning.startswith(line.split("  ", 1)[1].strip(" …")) for line in ran.out.splitlines()
    )


@pytest.mark.parametrize(
    ("code", "hint"),
    [("two-rots", "did you mean 'two-roots'?"), ("xyzzy", "'repvgg-onnx explain' lists all")],
)
def test_an_unknown_code_is_misuse(run, code, hint):
    ran = run("explain", code)

    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"error: unknown code '{code}': {hint}")
    assert ran.err.count("\n") == 1


def test_one_code_as_json(run):
    document = json.loads(run("explain", "overflow", "--json").out)

    assert document["schema_version"] == 1
    assert document["codes"] == {"overflow": {"meaning": CODES["overflow"].meaning, "advice": CODES["overflow"].advice}}


def test_all_codes_as_json_in_a_file(run, tmp_path):
    ran = run("explain", f"--json={tmp_path / 'codes.json'}")

    assert list(json.loads((tmp_path / "codes.json").read_text())["codes"]) == list(CODES)
    assert len(ran.out.splitlines()) == len(CODES)


def test_a_code_after_json_is_a_code(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    ran = run("explain", "--json", "overflow")

    assert list(json.loads(ran.out)["codes"]) == ["overflow"]
    assert list(tmp_path.iterdir()) == []
