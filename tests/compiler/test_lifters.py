"""Each operator folds in every form that ONNX gives it."""

import numpy as np
import pytest

from repvgg_onnx import fuse
from tests.models import WORST, assert_fuses, assert_same_outputs, batch_norm, build, weights_of

SHAPES = {
    "scalar": (),
    "one": (1,),
    "ones": (1, 1, 1, 1),
    "column": (4, 1, 1),
    "row-of-columns": (1, 4, 1, 1),
}


def after_conv(steps: str, *, opset: int = 17, signature: str = "float[2,6,5,7] x", **weights):
    """A Conv from 6 to 4 channels, ``a``, and steps from there to ``y``."""
    text = f"net ({signature}) => (float[2,4,5,7] y) {{ a = Conv<pads=[1,0,1,2]>(x, w, b)  {steps} }}"
    return build(text, opset=opset, **{"w": (4, 6, 3, 3), "b": (4,), **weights})


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    "step", ["Mul(a, c)", "Mul(c, a)", "Div(a, c)", "Add(a, c)", "Add(c, a)", "Sub(a, c)", "Sub(c, a)"]
)
def test_a_constant_on_either_side_in_every_per_channel_shape(step, shape):
    signed = np.random.default_rng(0).uniform(0.5, 2.0, shape) * -1.0
    assert_fuses(after_conv(f"y = {step}", c=np.asarray(signed, np.float32)), ["Conv"])


@pytest.mark.parametrize(
    "steps",
    [
        "y = Neg(a)",
        "e = Identity(a)  y = Neg(e)",
        "y = Sum(a)",
        "y = Sum(a, c, d)",
        "y = Sum(c, a, d)",
        "y = Mean(a)",
        "y = Mean(a, c, d)",
        "y = Cast<to=1>(a)",
        "n = Neg(a)  f = Sub(c, n)  g = Div(f, d)  y = Add(g, g)",
        "y = Add(a, a)",
    ],
)
def test_other_element_wise_operators(steps):
    constants = {
        name: shape for name, shape in {"c": (4, 1, 1), "d": (1,)}.items() if f"{name}," in steps or f"{name})" in steps
    }
    assert_fuses(after_conv(steps, **constants), ["Conv"])


def test_a_difference_of_equals_is_zero():
    fusion = assert_fuses(after_conv("y = Sub(a, a)"), ["Conv"])
    assert not any(np.any(array) for array in weights_of(fusion.model).values())


@pytest.mark.parametrize(
    ("opset", "attributes"),
    [
        (7, ""),
        (7, "<spatial=1>"),
        (9, "<epsilon=0.01>"),
        (13, "<momentum=0.5>"),
        (14, ""),
        (15, "<training_mode=0, epsilon=0.5>"),
        (22, ""),
        (23, ""),
    ],
)
def test_batch_normalization_of_every_opset(opset, attributes):
    steps = f"y = BatchNormalization{attributes}(a, gamma, beta, mean, var)"
    assert_fuses(after_conv(steps, opset=opset, **batch_norm(4)), ["Conv"])


@pytest.mark.parametrize("opset", [7, 8])
@pytest.mark.parametrize("spatial", [0, 1])
def test_old_batch_normalization_without_positions(opset, spatial):
    """What MXNet writes behind a dense layer: one statistic per position is one per channel."""
    text = f"""net (float[3,6] x) => (float[3,4] y) {{
        a = Gemm<transB=1>(x, w, b)  y = BatchNormalization<spatial={spatial}>(a, gamma, beta, mean, var)
    }}"""
    assert_fuses(build(text, opset=opset, w=(4, 6), b=(4,), **batch_norm(4)), ["Gemm"])


RATIO, NOT_TRAINING = {"r": np.array(0.5, np.float32)}, {"t": np.array(False)}


@pytest.mark.parametrize(
    ("opset", "step", "constants"),
    [
        (7, "Dropout(a)", {}),
        (7, "Dropout<ratio=0.25>(a)", {}),
        (10, "Dropout(a)", {}),
        (12, "Dropout<seed=3>(a)", {}),
        (12, "Dropout(a, r)", RATIO),
        (13, "Dropout(a, r, t)", RATIO | NOT_TRAINING),
        (22, "Dropout(a, r, t)", RATIO | NOT_TRAINING),
        (22, 'Dropout(a, "", t)', NOT_TRAINING),
    ],
)
def test_dropout_of_every_opset(opset, step, constants):
    assert_fuses(after_conv(f"d = {step}  y = Neg(d)", opset=opset, **constants), ["Conv"])


def test_dropout_with_a_mask_that_nothing_reads():
    model = after_conv("d, mask = Dropout(a)  y = Neg(d)")
    assert_fuses(model, ["Conv"])


@pytest.mark.parametrize("opset", [7, 11, 13, 22])
def test_a_convolution_of_every_opset(opset):
    assert_fuses(after_conv("y = Mul(a, c)", opset=opset, c=(4, 1, 1)), ["Conv"])


def test_a_batch_normalization_before_an_unpadded_convolution():
    text = """net (float[2,6,9,11] x) => (float[2,4,7,10] y) {
        a = BatchNormalization(x, gamma, beta, mean, var)  y = Conv(a, w)
    }"""
    assert_fuses(build(text, w=(4, 6, 3, 2), **batch_norm(6)), ["Conv"])


def test_a_gain_before_a_padded_grouped_convolution_keeps_its_groups():
    text = """net (float[2,6,9,11] x) => (float[2,4,9,11] y) {
        a = Mul(x, c)  y = Conv<group=2, pads=[1,1,1,1]>(a, w, b)
    }"""
    fusion = assert_fuses(build(text, w=(4, 3, 3, 3), b=(4,), c=(6, 1, 1)), ["Conv"])
    assert fusion.regions[0].group == 2


@pytest.mark.parametrize("first", [True, False], ids=["pointwise-first", "pointwise-last"])
def test_a_bottleneck_of_two_convolutions_becomes_one(first):
    steps = (
        "a = Conv(x, w1)  y = Conv<pads=[1,1,1,1]>(a, w3)"
        if first
        else "a = Conv<pads=[1,1,1,1]>(x, w3)  y = Conv(a, w1)"
    )
    shapes = {"w1": (6, 4, 1, 1), "w3": (2, 6, 3, 3)} if first else {"w3": (6, 4, 3, 3), "w1": (2, 6, 1, 1)}
    model = build(f"net (float[2,4,9,11] x) => (float[2,2,9,11] y) {{ {steps} }}", **shapes)
    fusion = assert_fuses(model, ["Conv"])
    assert fusion.regions[0].kernel_shape == (3, 3)


def test_one_axis_each_of_a_strip_pair():
    text = """net (float[2,2,9,11] x) => (float[2,2,9,11] y) {
        a = Conv<pads=[0,1,0,1], group=2>(x, v)  b = Conv<pads=[1,0,1,0], group=2>(a, w)  y = Mul(b, s)
    }"""
    assert_fuses(build(text, v=(2, 1, 1, 3), w=(2, 1, 3, 1), s=(1,)), ["Conv"])


@pytest.mark.parametrize("channels", [1, 2, 6])
def test_channel_counts(channels):
    text = f"""net (float[1,{channels},5,7] x) => (float[1,{channels},5,7] y) {{
        a = Conv<group={channels}, pads=[1,1,1,1]>(x, w)  y = BatchNormalization(a, gamma, beta, mean, var)
    }}"""
    fusion = assert_fuses(build(text, w=(channels, 1, 3, 3), **batch_norm(channels)), ["Conv"])
    assert fusion.regions[0].group == channels


@pytest.mark.parametrize("rank", [1, 3])
def test_other_numbers_of_spatial_axes(rank):
    size = ",".join(["9", "5", "7"][:rank])
    outside = ",".join("PQR"[:rank])
    text = f"""net (float[2,4,{size}] x) => (float[2,4,{outside}] y) {{
        a = Conv<pads={[1] * (2 * rank)}>(x, w3)  b = BatchNormalization(a, gamma, beta, mean, var)
        c = Conv(x, w1)  d = Add(b, c)  e = Mul(x, s)  y = Sub(d, e)
    }}"""
    kernels = {"w3": (4, 4, *[3] * rank), "w1": (4, 4, *[1] * rank), "s": (1, 4, *[1] * rank)}
    fusion = assert_fuses(build(text, **kernels, **batch_norm(4)), ["Conv"])
    assert fusion.regions[0].kernel_shape == (3,) * rank


@pytest.mark.parametrize("size", ["5,7", "H,W"])
def test_dynamic_axes(size):
    text = f"""net (float[N,4,{size}] x) => (float[N,4,P,Q] y) {{
        a = Conv<pads=[1,1,1,1]>(x, w3)  b = Conv(x, w1)  c = Add(a, b)  y = Add(c, x)
    }}"""
    model = build(text, w3=(4, 4, 3, 3), w1=(4, 4, 1, 1))
    assert_fuses(model, ["Conv"], x=(3, 4, 5, 7))


def test_one_kernel_is_rounded_once():
    """The folded kernel is the float64 result rounded to float32, to the last bit."""
    model = after_conv("y = BatchNormalization(a, gamma, beta, mean, var)", **batch_norm(4))
    given = {name: array.astype(np.float64) for name, array in weights_of(model).items()}
    gain = given["gamma"] / np.sqrt(given["var"] + np.float64(np.float32(1e-5)))
    expected = (given["w"] * gain[:, None, None, None]).astype(np.float32)
    folded = weights_of(fuse(model).model)
    kernel = next(array for array in folded.values() if array.ndim == 4)
    assert np.array_equal(kernel, expected)


def test_no_tolerance_is_looser_than_it_needs_to_be():
    """A kernel that is off by 1e-5 would be noticed by the comparison that these tests use."""
    model = after_conv("y = Mul(a, c)", c=(4, 1, 1))
    fused = fuse(model).model
    index = next(i for i, tensor in enumerate(fused.graph.initializer) if len(tensor.dims) == 4)
    kernel = np.frombuffer(fused.graph.initializer[index].raw_data, np.float32).copy()
    fused.graph.initializer[index].raw_data = (kernel * (1 + 1e-5)).tobytes()
    with pytest.raises(AssertionError):
        assert_same_outputs(model, fused, WORST)
