"""Smooth pictures, as bright as the first layer expects."""

import numpy as np
import onnx
import pytest

from repvgg_onnx.checks.inputs import build_feeds
from repvgg_onnx.checks.parity import verify
from repvgg_onnx.checks.pictures import smooth, whites_of
from repvgg_onnx.checks.session import TensorSpec
from tests.checks.models import BFLOAT16, model

SIZES = (2, 3, 48, 80)


def picture() -> np.ndarray:
    return smooth(SIZES, range(2, 4), np.random.default_rng(3))


def test_a_picture_is_from_0_to_1_and_not_the_same_twice():
    made = picture()
    assert made.shape == SIZES
    assert (made.min(), made.max()) == (0, 1)
    assert np.array_equal(made, picture())
    assert not np.array_equal(made, smooth(SIZES, range(2, 4), np.random.default_rng(4)))
    assert not np.array_equal(made[0, 0], made[0, 1])


def test_its_spectrum_falls_with_the_frequency():
    """Of 1/f noise, a band of twice the frequencies has half the magnitude; of white noise, the same."""

    def slope(image: np.ndarray) -> float:
        spectrum = np.abs(np.fft.fft2(image - image.mean(axis=(2, 3), keepdims=True)))
        radius = np.hypot(*np.meshgrid(np.fft.fftfreq(48), np.fft.fftfreq(80), indexing="ij"))
        low, high = (spectrum[..., (radius > at) & (radius < 2 * at)].mean() for at in (0.06, 0.24))
        return float(low / high)

    assert 3.2 < slope(picture()) < 4.8
    assert 0.8 < slope(np.random.default_rng(0).standard_normal(SIZES)) < 1.25


@pytest.mark.parametrize("shape", [(1, 3, 1, 1), (4,), (2, 6), (), (0, 3, 4, 4)])
def test_any_shape_has_a_picture(shape):
    (feed,) = [f for f in build_feeds({"x": TensorSpec("x", "tensor(float)", shape)}, seeds=(0,)) if "pict" in f.label]
    values = feed.values["x"]
    assert values.shape == shape
    assert np.isfinite(values).all()
    assert ((values >= 0) & (values <= 1)).all()


@pytest.mark.parametrize("type_", ["float", "double", "float16", "bfloat16"])
def test_pictures_are_of_every_floating_type_and_keep_to_a_range(type_):
    spec = {"x": TensorSpec("x", f"tensor({type_})", (1, 3, 16, 24))}
    values = build_feeds(spec, seeds=(0,), white={"x": 255.0})[2].values["x"].astype(np.float64)
    assert (values.min(), values.max()) == (0, 255)
    feed = build_feeds(spec, seeds=(0,), ranges={"x": (-2, 2)}, white={"x": 255.0})[2]
    assert (feed.values["x"].astype(np.float64).min(), feed.values["x"].astype(np.float64).max()) == (-2, 2)


def test_the_label_says_how_bright_it_is():
    feeds = build_feeds({"x": TensorSpec("x", "tensor(float)", (1, 3, 5, 7))}, seeds=(6, 7), white={"x": 255.0})
    assert [feed.label for feed in feeds][2:] == ["border, seed 6", "picture 0 to 255, seed 6"]


def test_pixels_of_a_byte_have_a_picture_and_other_integers_have_none():
    image = TensorSpec("x", "tensor(uint8)", (1, 24, 40, 3))
    feeds = build_feeds({"x": image}, seeds=(0,))
    assert feeds[-1].label == "picture 0 to 255, seed 0"
    values = feeds[-1].values["x"]
    assert values.dtype == np.uint8
    assert (values.min(), values.max()) == (0, 255)
    assert np.abs(np.diff(values.astype(int), axis=2)).mean() < 32
    ids = build_feeds({"i": TensorSpec("i", "tensor(int64)", (1, 24, 40))}, seeds=(0,))
    assert [feed.label for feed in ids] == ["normal, seed 0", "border, seed 0"]


# White

FIRST = "g (float[1,3,9,11] x) => (float y) {{ {} }}"


def first_layer(body: str, gain: float = 0.1, dtype=np.float32, **weights) -> onnx.ModelProto:
    """A network whose first kernel has absolute weights of ``gain`` on the average."""
    kernel = np.random.default_rng(0).choice([-1.0, 1.0], (6, 3, 3, 3)) * gain
    arrays = {name: np.asarray(value, np.float32) for name, value in weights.items()}
    return model(FIRST.format(body), {"k": kernel.astype(dtype), **arrays})


def white(body: str, gain: float = 0.1, **weights) -> float:
    return whites_of(first_layer(body, gain, **weights))["x"]


STATISTICS = {name: np.full(6, value) for name, value in (("g", 1.0), ("b", 0.0), ("m", 0.0), ("v", 1.0))}


@pytest.mark.parametrize(
    ("body", "gain", "expected"),
    [
        ("y = Conv(x, k)", 0.1, 1),
        ("y = Conv(x, k)", 0.001, 255),
        ("t = Transpose<perm = [0,3,1,2]>(x) y = Conv(t, k)", 0.001, 255),
        ("n = Div(x, byte) y = Conv(n, k)", 0.1, 255),
        ("n = Mul(x, part) y = Conv(n, k)", 0.1, 255),
        ("n = Sub(x, mean) d = Div(n, deviation) y = Conv(d, k)", 0.1, 255),
        ("n = Sub(x, share) d = Div(n, share) y = Conv(d, k)", 0.1, 1),
        ("c = Conv(x, k) y = BatchNormalization(c, g, b, m, v)", 0.1, 1),
        ("c = Conv(x, k) y = BatchNormalization(c, g, b, m, large)", 0.1, 255),
        ("c = Conv(x, k) y = BatchNormalization(c, g, b, m, small)", 0.001, 1),
        ("y = Relu(x)", 0.001, 1),
        ("r = Relu(x) y = Conv(r, k)", 0.001, 1),
        ("y = Conv(x, x)", 0.001, 1),
    ],
)
def test_white_is_what_the_first_layers_expect(body, gain, expected):
    scalars = {"byte": 255, "part": 1 / 255, "mean": [[[120]], [[110]], [[100]]], "deviation": 58, "share": 0.25}
    spread = {"large": np.full(6, 255.0**2), "small": np.full(6, 1 / 255.0**2)}
    assert white(body, gain, **scalars, **STATISTICS, **spread) == expected


def test_white_of_bfloat16_and_of_external_weights(tmp_path):
    assert whites_of(first_layer("y = Conv(x, k)", 0.001, BFLOAT16))["x"] == 255
    path = tmp_path / "m.onnx"
    onnx.save_model(
        first_layer("y = Conv(x, k)", 0.001), path, save_as_external_data=True, location="w", size_threshold=0
    )
    loaded = onnx.load(path, load_external_data=False)
    assert whites_of(loaded, str(tmp_path))["x"] == 255
    assert whites_of(loaded, str(tmp_path / "elsewhere"))["x"] == 1


def test_models_are_fed_the_picture_that_their_weights_expect(tmp_path):
    path = tmp_path / "m.onnx"
    net = first_layer("y = Conv(x, k)", 0.001)
    onnx.save_model(
        first_layer("y = Conv(x, k)", 0.001), path, save_as_external_data=True, location="w", size_threshold=0
    )
    assert verify(path, net).feeds[-1] == "picture 0 to 255, seed 0"
    assert verify(first_layer("y = Conv(x, k)"), net, tolerance=10).feeds[-1] == "picture 0 to 1, seed 0"
