"""The benchmarks that put a checkout beside another revision: what is written, and how the package is built."""

import subprocess

import onnx
import pytest

from samples.benchmarks import same_bytes, structure
from tests.models import repvgg_block


@pytest.fixture
def net(tmp_path):
    (tmp_path / "models").mkdir()
    onnx.save(repvgg_block(), tmp_path / "models" / "net.onnx")
    (tmp_path / "models" / "none.onnx").write_bytes(b"no model")
    return tmp_path / "models" / "net.onnx"


@pytest.fixture
def head():
    """The last commit, where there is a git checkout."""
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=same_bytes.ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def test_a_difference_is_named_and_fails(net, capsys, monkeypatch, head):
    found = same_bytes.fused_by(same_bytes.ROOT, [net])
    assert found[str(net)].keys() == {"model", "regions", "refusals"}
    other = {**found[str(net)], "regions": []}
    answers = iter([found, {str(net): other}])
    monkeypatch.setattr(same_bytes, "fused_by", lambda *_: next(answers))

    assert same_bytes.main([head, str(net.parent), "--no-zoo"]) == 1
    assert capsys.readouterr().out.splitlines() == ["net.onnx: regions", f"0 of 1 files are the same as by {head}"]


@pytest.mark.slow
def test_a_revision_is_the_same_as_itself(net, capsys, head):
    same_bytes.main([head, str(net.parent), "--no-zoo"])
    assert capsys.readouterr().out.endswith(f"of 2 files are the same as by {head}\n")


def test_a_package_is_counted(tmp_path):
    package = tmp_path / "repvgg_onnx"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("from repvgg_onnx.inner import many\n")
    (package / "inner" / "__init__.py").write_text(
        "class Kind:\n    def many(self, a, b, c, d, e, f, g, *, h):\n        return a\n\n\ndef one(a):\n    return a\n"
    )

    assert structure.shape_of(tmp_path) == {
        "modules": 2,
        "at the root": 1,
        "lines": 8,
        "imports": 1,
        "longest function": 2,
        "functions of 8 parameters or more": 1,
    }


def test_the_package_hands_values_on():
    """No function is long, and none takes what belongs in one value as so many parameters."""
    counted = structure.shape_of(structure.ROOT)

    assert counted["longest function"] <= 60
    assert counted["functions of 8 parameters or more"] == 0


@pytest.mark.slow
def test_the_table_of_a_checkout(capsys):
    assert structure.main([]) == 0
    assert "fuse: shape inferences" in capsys.readouterr().out
