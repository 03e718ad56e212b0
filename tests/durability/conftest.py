import onnx
import pytest

from tests.cli.conftest import run
from tests.durability.models import training_model

__all__ = ["run"]

OLD = b"what was there before"


@pytest.fixture
def source(tmp_path):
    """A model to fuse, alone in its folder."""
    (tmp_path / "from").mkdir()
    onnx.save(training_model(), tmp_path / "from" / "net.onnx")
    return tmp_path / "from" / "net.onnx"


@pytest.fixture
def target(tmp_path):
    """An old output, alone in its folder."""
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "out.onnx").write_bytes(OLD)
    return tmp_path / "to" / "out.onnx"
