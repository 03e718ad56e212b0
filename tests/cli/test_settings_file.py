"""Files of settings: where they are looked for, which sections hold, and what is wrong with them."""

import os
from pathlib import Path

import pytest

from repvgg_onnx.cli.settings_file import find_configuration, read_configuration, require_known
from repvgg_onnx.errors import CheckError

TWO = """
tolerance = 1e-3
[models."models/rep*.onnx"]
threads = 1
[models."*.onnx"]
threads = 2
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The working folder, which is two folders below the one that tests write to."""
    folder = tmp_path / "deep" / "deeper"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


def write(folder, text, name="repvgg-onnx.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def project(text):
    return f"[project]\nname = 'x'\n[tool.repvgg-onnx]\n{text}"


def test_the_nearest_file_counts(tmp_path, here):
    write(tmp_path, "threads = 1")
    assert find_configuration(here).values == {"threads": 1}

    write(tmp_path / "deep", project("threads = 2"), "pyproject.toml")
    assert find_configuration(here).values == {"threads": 2}

    write(tmp_path / "deep", "threads = 3")
    assert find_configuration(here).values == {"threads": 3}


def test_folders_that_one_may_not_enter_have_no_settings(tmp_path, here, monkeypatch):
    write(here, "threads = 1")
    write(tmp_path, "threads = 2")
    stat = os.stat

    def forbidden(path, **options):
        if Path(path).parent == here:
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", forbidden)
    assert find_configuration(here).values == {"threads": 2}


def test_a_project_without_settings_is_passed_over(tmp_path, here):
    write(here, "[tool.other]\nx = 1", "pyproject.toml")
    assert find_configuration(here) is None

    path = write(tmp_path, "threads = 1")
    assert find_configuration(here).path == path


def test_a_file_that_is_named_needs_settings(tmp_path):
    path = write(tmp_path, "[project]\nname = 'x'", "pyproject.toml")

    with pytest.raises(CheckError, match=r"has no table \[tool\.repvgg-onnx\]"):
        read_configuration(path)


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("threads = ", "repvgg-onnx.toml", "is not TOML"),
        ("[tool]\nrepvgg-onnx = 3", "pyproject.toml", "tool.repvgg-onnx: must be a table"),
        ("models = 3", "repvgg-onnx.toml", "models: must be a table of sections"),
        ("[models]\nthreads = 3", "repvgg-onnx.toml", "models: must be a table of sections"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, text, name, sentence):
    path = write(tmp_path, text, name)

    with pytest.raises(CheckError) as caught:
        find_configuration(tmp_path)

    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(CheckError, match="cannot be read: No such file"):
        read_configuration(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("model", "globs"),
    [
        ("models/rep1.onnx", ["models/rep*.onnx", "*.onnx"]),
        ("models/deep/rep1.onnx", ["*.onnx"]),
        ("rep1.onnx", ["*.onnx"]),
        ("../models/rep1.onnx", ["*.onnx"]),
        ("rep1.pb", []),
    ],
)
def test_sections_match_by_path_or_by_name(tmp_path, model, globs):
    found = read_configuration(write(tmp_path, TWO)).sections(tmp_path / model)

    assert [glob for glob, _ in found] == globs


def test_a_glob_from_the_root_is_about_the_whole_path(tmp_path):
    text = "".join(f'[models."{folder.as_posix()}/*.onnx"]\nthreads = 1\n' for folder in (tmp_path, tmp_path / "other"))
    found = read_configuration(write(tmp_path, text)).sections(tmp_path / "net.onnx")

    assert [glob for glob, _ in found] == [f"{tmp_path.as_posix()}/*.onnx"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tolerence = 1", "tolerence: unknown key; did you mean 'tolerance'?"),
        ("max_foldable = 1", "max_foldable: unknown key; did you mean 'max-foldable'?"),
        ("xyzzy = 1", "xyzzy: unknown key; keys are the long names of options"),
        ('[models."*.onnx"]\ntreads = 1', "models.\"*.onnx\".treads: unknown key; did you mean 'threads'?"),
        ('[models."*.onnx"]\njobs = 1', 'models."*.onnx".jobs: is about a whole run and cannot be set for some models'),
    ],
)
def test_keys_that_are_wrong_are_named_and_put_right(tmp_path, text, sentence):
    configuration = read_configuration(write(tmp_path, text))

    with pytest.raises(CheckError) as caught:
        require_known(configuration, {"tolerance", "max-foldable", "threads", "jobs"}, {"jobs"})

    assert str(caught.value) == f"{configuration.path}: {sentence}"


def test_keys_of_a_project_have_their_table(tmp_path):
    configuration = read_configuration(write(tmp_path, project("treads = 1"), "pyproject.toml"))

    with pytest.raises(CheckError, match=r"pyproject\.toml: tool\.repvgg-onnx\.treads: unknown key"):
        require_known(configuration, {"threads"}, set())
