"""The smallest models that fold, for tests that break them."""

import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx

from tests.cli.conftest import Ran
from tests.models import build

TEXT = "net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv(x, w)  y = Mul(a, s) }"
BYTES = 64  # of the kernel w
MEMORY = 400 * 2**20  # bytes that Python and numpy may hold at once


@contextmanager
def little_memory() -> Iterator[None]:
    """What happens inside takes less than MEMORY at any time."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


def scaled(text: str = TEXT, **weights) -> onnx.ModelProto:
    """A Conv and a Mul."""
    return build(text, **{"w": (4, 4, 1, 1), "s": (1,), **weights})


def outside(tensor: onnx.TensorProto, *entries: tuple[str, str]) -> bytes:
    """Moves a tensor to the place that the entries name, and returns its bytes; nothing is written."""
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries:
        tensor.external_data.add(key=key, value=value)
    return data


def placed(folder: Path, *entries: tuple[str, str]) -> Path:
    """A model file whose kernel lies where the entries say."""
    model = scaled()
    outside(model.graph.initializer[0], *entries)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def assert_refused(ran: Ran, path: Path, sentence: str, left: Sequence[Path]) -> None:
    """Exit 3, one line that names the file and says why, nothing on stdout, and no file that was not there."""
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(f"error: {path}: ")
    assert sentence in ran.err
    assert ran.err.count("\n") == 1
    assert "internal error" not in ran.err
    assert sorted(path.parent.iterdir()) == sorted(left)
