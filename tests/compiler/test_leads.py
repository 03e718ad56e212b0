"""A gain and an offset before a padded convolution of unknown size: the gain goes into the kernel, the offset ahead."""

import numpy as np
import pytest

from repvgg_onnx import prove
from tests.models import assert_fuses, assert_refuses, batch_norm, build, weights_of

SIZES = ((2, 6, 5, 7), (2, 6, 9, 4))
COLUMN = (6, 1, 1)
PADDED = "y = Conv<pads=[1,1,1,1]>(b, w)"


def before_padding(steps: str, end: str = PADDED, *, opset: int = 17, x: str = "2,6,H,W", **weights):
    """Steps from ``x`` to ``b``, and a padded convolution."""
    text = f"net (float[{x}] x) => (float[2,4,P,Q] y) {{ {steps}  {end} }}"
    return build(text, opset=opset, **{"w": (4, 6, 3, 3), **weights})


AFFINE = {
    "mul-add": ("a = Mul(x, s)  b = Add(a, o)", {"s": COLUMN, "o": COLUMN}),
    "scalars": ("a = Mul(s, x)  b = Add(o, a)", {"s": (), "o": (1,)}),
    "div-sub": ("a = Div(x, d)  b = Sub(a, o)", {"o": COLUMN, "d": np.float32([2, -4, 0.5, 1, 3, -1]).reshape(COLUMN)}),
    "minus": ("a = Neg(x)  b = Sub(a, o)", {"o": COLUMN}),
    "bn": ("b = BatchNormalization(x, gamma, beta, mean, var)", batch_norm(6)),
    "twice": (
        "a = BatchNormalization(x, gamma, beta, mean, var)  c = Mul(a, s)  b = Add(c, o)",
        {**batch_norm(6), "s": (), "o": COLUMN},
    ),
}


@pytest.mark.parametrize(("steps", "weights"), AFFINE.values(), ids=AFFINE)
@pytest.mark.parametrize("size", SIZES)
def test_an_affine_step_before_a_padded_convolution(steps, weights, size):
    fusion = assert_fuses(before_padding(steps, **weights), ["Add", "Conv"], x=size)
    assert [node.op_type for node in fusion.model.graph.node] == ["Add", "Conv"]


@pytest.mark.parametrize("opset", [7, 13, 14, 22])
@pytest.mark.parametrize(
    "end",
    [
        "c = Conv<pads=[1,1,1,1]>(b, w)  y = BatchNormalization(c, gamma, beta, mean, var)",
        "c = Conv<pads=[1,1,1,1]>(b, w)  d = Conv<pads=[1,1,1,1]>(b, v)  y = Add(c, d)",
        'c = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(b, w)  y = Mul(c, g)',
        "c = Conv<pads=[1,1,1,1]>(b, w)  y = Conv(c, p)",
    ],
    ids=["bn", "branches", "auto-pad", "pointwise"],
)
def test_what_follows_the_convolution_goes_into_its_kernel(end, opset):
    known = {"v": (4, 6, 3, 3), "g": (4, 1, 1), "p": (4, 4, 1, 1)} | batch_norm(4)
    weights = {name: shape for name, shape in known.items() if f"{name}," in end or f"{name})" in end}
    model = before_padding("a = Mul(x, s)  b = Add(a, o)", end, opset=opset, s=COLUMN, o=COLUMN, **weights)
    assert_fuses(model, ["Add", "Conv"], x=SIZES[0])


def test_a_depthwise_convolution_stays_one():
    end = "y = Conv<group=6, pads=[2,2,2,2]>(b, w)"
    text = f"net (float[2,6,H,W] x) => (float[2,6,P,Q] y) {{ a = Mul(x, s)  b = Add(a, o)  {end} }}"
    model = build(text, s=(), o=(), w=(6, 1, 5, 5))
    fusion = assert_fuses(model, ["Add", "Conv"], x=SIZES[0])
    assert fusion.regions[0].group == 6


def test_the_region_is_proven_under_its_bound():
    model = before_padding("a = Mul(x, s)  b = Add(a, o)", s=COLUMN, o=COLUMN)
    proof = prove(model, shapes={"x": SIZES[0]})
    assert not proof.failed
    assert 0 < proof.regions[0].used <= 1


def test_a_channel_with_gain_zero_and_no_offset_stays_empty():
    gain, offset = np.float32([2, 0, -1, 3, 0, 1]), np.float32([1, 0, 2, 0, 0, -3])
    model = before_padding("a = Mul(x, s)  b = Add(a, o)", s=gain.reshape(COLUMN), o=offset.reshape(COLUMN))
    fusion = assert_fuses(model, ["Add", "Conv"], x=SIZES[0])
    lead = next(array for array in weights_of(fusion.model).values() if array.shape == COLUMN)
    assert lead.reshape(-1).tolist() == [0.5, 0, -2, 0, 0, -3]


def test_a_channel_with_gain_zero_and_an_offset_is_refused():
    gain, offset = np.float32([2, 0, -1, 3, 0, 1]), np.float32([1, 5, 2, 0, 0, -3])
    model = before_padding("a = Mul(x, s)  b = Add(a, o)", s=gain.reshape(COLUMN), o=offset.reshape(COLUMN))
    assert_refuses(model, "border-bias")


def test_an_offset_alone_stays_where_it_is():
    assert_refuses(before_padding("b = Add(x, o)", o=COLUMN), "border-bias")


def test_an_offset_that_half_precision_cannot_hold_is_refused():
    text = f"net (float16[2,6,H,W] x) => (float16[2,4,P,Q] y) {{ a = Mul(x, s)  b = Add(a, o)  {PADDED} }}"
    model = build(text, dtype=np.float16, w=(4, 6, 3, 3), s=np.float16([1e-4]), o=np.float16([100]))
    assert_refuses(model, "overflow")


def test_branches_with_other_offsets_or_without_one_are_not_summed():
    steps = "a = Mul(x, s)  b = Add(a, o)"
    other = "c = Conv<pads=[1,1,1,1]>(b, w)  d = Mul(x, g)  e = Conv<pads=[1,1,1,1]>(d, w)  y = Add(c, e)"
    assert_fuses(before_padding(steps, other, s=(), o=(), g=()), ["Add", "Conv", "Conv", "Add"], x=SIZES[0])


@pytest.mark.parametrize("outside", ["z = Relu(b)", "z = Relu(a)"])
def test_a_gain_that_something_else_reads_stays(outside):
    text = f"""net (float[2,6,H,W] x) => (float[2,4,P,Q] y, float[2,6,R,S] z) {{
        a = Mul(x, s)  b = Add(a, o)  {PADDED}  {outside}
    }}"""
    model = build(text, w=(4, 6, 3, 3), s=(), o=())
    assert_refuses(model, "shared")
