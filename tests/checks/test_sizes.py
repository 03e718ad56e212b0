"""Sizes of dynamic axes: independent where they have no name, and others than the usual ones where those do not run."""

import numpy as np
import onnx
import pytest

from repvgg_onnx import CheckError, autotune, benchmark, prove, verify
from repvgg_onnx.checks.options import RunOptions
from repvgg_onnx.checks.sizes import is_open, option, runnable_shapes
from repvgg_onnx.errors import LoadError, RunError
from repvgg_onnx.graph.shapes import alternatives, bind_shapes
from tests.models import build

# One row is left of a kernel as high as the image, and squeezed away, so that only one height runs.
HEIGHT = """net (float[N,3,H,W] x) => (float[N,4,V] y) {
    a = Conv(x, w)  b = Mul(a, s)  y = Squeeze(b, axes)
}"""


def of_height(height):
    """A network that runs on images of one height and any width."""
    return build(HEIGHT, w=(4, 3, height, 1), s=(4, 1, 1), axes=indices(2))


def indices(*numbers):
    return np.array(numbers, np.int64)


@pytest.mark.parametrize("name", ["?", "", "None", "none", "*", "-1", "unknown"])
def test_axes_without_a_name_are_independent(name):
    declared = {"x": (name, 3, name, name), "state": (2, name, 128)}

    assert bind_shapes(declared, {}) == {"x": (1, 3, 224, 224), "state": (2, 64, 128)}
    assert bind_shapes(declared, {"x": (2, 3, 48, 320)})["x"] == (2, 3, 48, 320)


def test_axes_of_one_name_are_one_size():
    with pytest.raises(CheckError, match="axis 'S' is"):
        bind_shapes({"x": ("N", 3, "S", "S")}, {"x": (1, 3, 48, 320)})


def test_a_batch_is_known_by_its_name_wherever_it_stands():
    assert bind_shapes({"x": ("batch", "T"), "h": (2, "batch", 128)}, {}) == {"x": (1, 64), "h": (2, 1, 128)}


def test_alternatives_begin_with_the_usual_sizes_and_never_repeat():
    declared = {"x": ("N", 3, "?", "?")}
    found = list(alternatives(declared, {}))

    assert found[0] == bind_shapes(declared, {})
    assert all(found.count(bound) == 1 for bound in found)
    sizes = {bound["x"][2:] for bound in found}
    assert {(32, 32), (48, 320), (320, 320), (640, 640), (64, 128)} <= sizes
    assert {bound["x"][0] for bound in found} > {1, 2, 8}


def test_what_is_given_or_fixed_never_varies():
    declared = {"x": (1, 3, "H", 96), "y": ("H", 7), "z": ("N", "L")}
    found = list(alternatives(declared, {"z": (4, 5)}))

    assert all(bound["x"][:2] == (1, 3) and bound["x"][3] == 96 and bound["z"] == (4, 5) for bound in found)
    assert all(bound["y"] == (bound["x"][2], 7) for bound in found)
    assert list(alternatives({"x": (1, 4)}, {})) == [{"x": (1, 4)}]


@pytest.mark.parametrize(
    ("declared", "given", "expected"),
    [
        ({"x": (1, 3)}, {}, False),
        ({"x": ("N", 3)}, {}, True),
        ({"x": ("N", 3)}, {"x": (1, 3)}, False),
        ({"x": ("N", 3), "y": ("N", 2)}, {"x": (1, 3)}, False),
        ({"x": ("?", 3), "y": ("?", 2)}, {"x": (1, 3)}, True),
        ({"x": (None, 3)}, {}, True),
        ({"x": (-1, 3)}, {}, True),
        ({"x": (0,)}, {}, False),
        ({}, {}, False),
    ],
)
def test_whether_anything_is_left_to_choose(declared, given, expected):
    assert is_open(declared, given) is expected


def test_the_usual_sizes_are_kept_where_they_run():
    assert runnable_shapes(build("net (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Relu(x) }"), RunOptions()) is None


@pytest.mark.parametrize("height", [32, 48, 64])
def test_sizes_that_run_are_found(height):
    found = runnable_shapes(of_height(height), RunOptions())

    assert found is not None
    assert found["x"][2] == height


def test_other_axes_batches_and_channels_vary_too():
    grouped = build("net (float[N,C,L] x) => (float[N,L] y) { y = Squeeze(x, axes) }", axes=indices(1))
    eighths = build("net (float[N,3] x) => (float[M,8,3] y) { y = Reshape(x, to) }", to=indices(-1, 8, 3))
    gray = build("net (float[N,C,H,W] x) => (float[N,2,H,W] y) { y = Conv(x, w) }", w=(2, 1, 1, 1))

    assert runnable_shapes(grouped, RunOptions()) == {"x": (1, 1, 1)}
    assert runnable_shapes(eighths, RunOptions()) == {"x": (8, 3)}
    assert runnable_shapes(gray, RunOptions()) == {"x": (1, 1, 224, 224)}


def test_a_state_that_holds_its_batch_inside():
    text = """net (float[A,L] x, float[2,B,4] state) => (float[2,A,4] y) {
        s = ReduceMean<axes=[1], keepdims=0>(x)  c = Reshape(s, to)  t = Concat<axis=1>(c, c, c, c)
        u = Unsqueeze(t, axes)  v = Concat<axis=0>(u, u)  y = Concat<axis=0>(v, state)
    }"""
    model = build(text, to=indices(-1, 1), axes=indices(0))

    found = runnable_shapes(model, RunOptions())

    assert found is not None
    assert found["state"] == (2, found["x"][0], 4)


def test_nothing_huge_is_tried():
    wide = build("net (float[N,A,B,C,D,E] x) => (float[N,A,B,C,D,E] y) { y = Relu(x) }")  # usually 64 to the power of 5
    huge = build("net (float[N,100000,1000] x) => (float[N,100000,1000] y) { y = Relu(x) }")

    assert runnable_shapes(wide, RunOptions()) == {"x": (1, 16, 16, 16, 16, 16)}
    assert runnable_shapes(huge, RunOptions()) is None


def test_a_model_that_runs_on_nothing_names_the_option():
    model = build("net (float[N,3,H,W] x) => (float[N,3,H,W] y) { y = Reshape(x, to) }", to=indices(7, 11, 13, 17))

    with pytest.raises(RunError, match=r"onnxruntime cannot run the model: .*sizes .*--shape x=1,3,224,224$"):
        runnable_shapes(model, RunOptions())


def test_a_model_with_indices_names_the_option_for_them_too():
    model = build("net (int64[N] token) => (float[N,2] y) { y = Gather(table, token) }", table=(3, 2))

    with pytest.raises(RunError, match="--range token=0,1"):
        runnable_shapes(model, RunOptions())
    assert runnable_shapes(model, RunOptions(ranges={"token": (0, 2)})) is None


def test_what_the_runtime_cannot_load_is_another_error():
    model = build("net (double[N,4,5,7] x) => (double[N,2,5,7] y) { y = Conv(x, w) }", w=(2, 4, 1, 1), dtype="float64")

    with pytest.raises(LoadError):
        runnable_shapes(model, RunOptions())


def test_an_option_as_one_types_it():
    assert option({"x": (1, 3, 48, 320), "rate": ()}) == "--shape x=1,3,48,320"


def test_every_check_finds_sizes_by_itself(tmp_path):
    model = of_height(48)
    fused = prove(model).fusion.model
    onnx.save(model, tmp_path / "model.onnx")

    assert [node.op_type for node in fused.graph.node] == ["Conv", "Squeeze"]
    assert verify(before=tmp_path / "model.onnx", after=fused).passed
    assert benchmark(model, fused, seconds=0.02).pairs
    assert autotune(model, seconds=0.02).races  # what they show is up to the machine


def test_the_shapes_of_a_caller_are_tried_alone():
    with pytest.raises(RunError, match="cannot run the model"):
        prove(of_height(48), shapes={"x": (1, 3, 49, 320)})


def test_indices_out_of_bounds_of_a_model_of_fixed_sizes_name_the_range():
    text = "g (float[2,3] x, int64[4] at) => (float[2,4] y) { y = Gather<axis = 1>(x, at) }"
    net = build(text)
    with pytest.raises(RunError, match=r"if 'at' holds indices, say with --range at=0,1"):
        verify(net, net)
    assert verify(net, net, ranges={"at": (0, 2)}).passed
