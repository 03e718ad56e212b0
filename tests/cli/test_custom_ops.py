"""Code of others runs only where the user has named its library."""

import shutil
import subprocess

import onnx
import pytest

from repvgg_onnx import CheckError, benchmark, verify
from tests.cli.models import BLOCK, filled

LIBRARY = r"""
#include <stdio.h>
#include <stdlib.h>
void *RegisterCustomOps(void *options, const void *api) {
    FILE *file = fopen(getenv("REGISTERED"), "a");
    fputs("registered\n", file);
    fclose(file);
    return 0;
}
"""


@pytest.fixture
def bogus(tmp_path):
    path = tmp_path / "bogus.so"
    path.write_bytes(b"no library")
    return path


def commands(block):
    return {
        "fuse": ["fuse", block, "--no-bench"],
        "fuse bench": ["fuse", block, "--no-verify", "--bench-seconds", "0.1"],
        "verify": ["verify", block, block],
        "verify bisect": ["verify", block, block, "--bisect"],
        "bench": ["bench", block, block, "--seconds", "0.1"],
    }


COMMANDS = list(commands(None))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_library_that_is_missing_is_misuse(run, block, tmp_path, name):
    ran = run(*commands(block)[name], "--custom-ops", tmp_path / "none.so")

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert f"'{tmp_path / 'none.so'}' does not exist" in ran.err
    assert sorted(tmp_path.iterdir()) == [block]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_library_that_is_none_is_misuse(run, block, bogus, tmp_path, name):
    ran = run(*commands(block)[name], "--custom-ops", bogus)

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "custom operators cannot be loaded: " in ran.err
    assert "bogus.so" in ran.err
    assert sorted(tmp_path.iterdir()) == sorted([block, bogus])


@pytest.mark.parametrize("check", [verify, benchmark])
def test_the_calls_take_libraries_too(block, bogus, check):
    with pytest.raises(CheckError, match="custom operators cannot be loaded"):
        check(block, block, custom_ops=[bogus])


@pytest.fixture
def library(tmp_path, monkeypatch):
    """A library beside the model that leaves a line in a file when onnxruntime takes it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    (tmp_path / "ops.c").write_text(LIBRARY)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", tmp_path / "ops.so", tmp_path / "ops.c"], check=True)
    monkeypatch.setenv("REGISTERED", str(tmp_path / "registered"))
    return tmp_path / "ops.so"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_library_runs_only_where_it_is_named(run, block, library, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    arguments = commands(block)[name]

    assert run(*arguments).code == 0
    assert not (tmp_path / "registered").exists()
    assert run(*arguments, "--custom-ops", "ops.so").code == 0
    assert (tmp_path / "registered").exists()


def test_a_model_cannot_name_a_library(run, library, tmp_path):
    model = filled(BLOCK)
    for key in ("custom_ops", "custom_op_library", "ort_config"):
        model.metadata_props.add(key=key, value=str(library))
    onnx.save(model, tmp_path / "asking.onnx")

    assert run("fuse", tmp_path / "asking.onnx", "--bench-seconds", "0.1").code == 0
    assert not (tmp_path / "registered").exists()
