from dataclasses import dataclass, replace

import onnx
import pytest
from click.testing import CliRunner

from repvgg_onnx.cli import candidates, cli
from repvgg_onnx.compiler.fuse import compiled
from repvgg_onnx.workflows.prove import Proof
from tests.cli.models import BLOCK, PLAIN, filled
from tests.models import perturbed
from tests.workflows.test_autotune import races

__all__ = ["races"]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def run():
    """The command line in this process; an unexpected exception would be exit code 3, never a traceback."""

    def run(*arguments):
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
        return Ran(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def block(tmp_path):
    """A RepVGG block: 3x3, 1x1 and BN identity, with a dynamic batch."""
    path = tmp_path / "block.onnx"
    onnx.save(filled(BLOCK), path)
    return path


@pytest.fixture
def plain(tmp_path):
    """A model with nothing to fold."""
    path = tmp_path / "plain.onnx"
    onnx.save(filled(PLAIN), path)
    return path


@pytest.fixture
def wrong(tmp_path):
    """The block with a kernel that is off by a thousandth."""
    path = tmp_path / "wrong.onnx"
    onnx.save(perturbed(filled(BLOCK)), path)
    return path


@pytest.fixture
def wrong_fuse(monkeypatch):
    """The compiler makes a mistake."""

    def wrong(request, _):
        right = compiled(request.prepared(), request.decisions, {})
        return Proof(replace(right, model=perturbed(right.model)), (), ())

    monkeypatch.setattr(candidates, "proved", wrong)
