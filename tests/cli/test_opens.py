"""How often one command opens its input, and infers shapes: both take time that grows with the model."""

from collections import Counter

import onnx
import pytest

from repvgg_onnx.graph import load
from tests.models import build

LONG = """net (float[N,3,9,11] x) => (float[N,4,9,11] y) {
    a = Conv<pads=[1,1,1,1]>(x, w)  b = Mul(a, s)  c = Relu(b)  d = Conv(c, v)  y = Add(d, t)
}"""


@pytest.fixture
def net(tmp_path):
    path = tmp_path / "net.onnx"
    onnx.save(build(LONG, w=(4, 3, 3, 3), s=(4, 1, 1), v=(4, 4, 1, 1), t=(4, 1, 1)), path)
    return path


@pytest.fixture
def counted(monkeypatch):
    """Opened files by name and inferences, as they are counted."""
    count = Counter()
    open_file, infer = load.mmap.mmap, onnx.shape_inference.infer_shapes

    def opening(number, *arguments, **options):
        count[load.os.readlink(f"/proc/self/fd/{number}").rpartition("/")[2]] += 1
        return open_file(number, *arguments, **options)

    def inferring(*arguments, **options):
        count["inferences"] += 1
        return infer(*arguments, **options)

    monkeypatch.setattr(load.mmap, "mmap", opening)
    monkeypatch.setattr(onnx.shape_inference, "infer_shapes", inferring)
    return count


@pytest.mark.parametrize(
    ("command", "inferences"),
    [
        (("fuse", "--bench-seconds", "0.05"), 5),
        (("fuse", "--no-verify", "--no-bench"), 5),
        (("fuse", "--autotune", "--autotune-seconds", "0.05", "--bench-seconds", "0.05"), 8),
        (("check",), 5),
        (("inspect",), 5),
    ],
)
def test_a_command_opens_its_input_once(run, net, counted, command, inferences):
    name, *options = command
    assert run(name, net, *options).code in (0, 1)

    assert counted["net.onnx"] == 1
    assert counted["inferences"] <= inferences


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_a_command_of_two_models_opens_each_once(run, net, tmp_path, counted, command):
    other = tmp_path / "other.onnx"
    other.write_bytes(net.read_bytes())

    assert run(command, net, other, *(["--seconds", "0.05"] if command == "bench" else [])).code == 0
    assert (counted["net.onnx"], counted["other.onnx"]) == (1, 1)
