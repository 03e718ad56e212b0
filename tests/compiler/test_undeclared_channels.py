"""Channels that no type declares are read from the weights of whatever reads the tensor."""

import pytest

from repvgg_onnx import fuse
from tests.models import assert_fuses, assert_refuses, assert_same_outputs, batch_norm, build

BN = "BatchNormalization({}, gamma, beta, mean, var)"
READERS = {
    "Conv": ("N,C,H,W", "y = Conv(m, w)", {"w": (4, 6, 3, 3)}, (2, 6, 5, 7), ["Conv"]),
    "grouped Conv": ("N,C,H,W", "y = Conv<group=2>(m, w)", {"w": (4, 3, 1, 1)}, (2, 6, 5, 7), ["Conv"]),
    "ConvTranspose": (
        "N,C,H,W",
        "y = ConvTranspose<strides=[2,2]>(m, w)",
        {"w": (6, 4, 2, 2)},
        (2, 6, 5, 7),
        ["ConvTranspose"],
    ),
    "Gemm": ("N,C", "y = Gemm(m, w)", {"w": (6, 4)}, (2, 6), ["Gemm"]),
    "turned Gemm": ("N,C", "y = Gemm<transB=1>(m, w)", {"w": (4, 6)}, (2, 6), ["Gemm"]),
    "MatMul": ("N,C", "y = MatMul(m, w)", {"w": (6, 4)}, (2, 6), ["Gemm"]),
    "MatMul on rows": ("N,T,C", "y = MatMul(m, w)", {"w": (6, 4)}, (2, 5, 6), ["MatMul"]),
    "MatMul from the left": ("N,C,T", "y = MatMul(w, m)", {"w": (4, 6)}, (2, 6, 5), ["Conv"]),
}


@pytest.mark.parametrize(("x", "step", "weights", "size", "expected"), READERS.values(), ids=READERS)
def test_a_gain_before_a_kernel(x, step, weights, size, expected):
    outside = ",".join("PQRS"[: x.count(",") + 1])
    text = f"net (float[{x}] x) => (float[{outside}] y) {{ m = Mul(x, s)  {step} }}"
    assert_fuses(build(text, s=(1,), **weights), expected, x=size)


def test_a_gain_for_each_channel_may_make_many_of_one():
    text = "net (float[N,C,H,W] x) => (float[N,D,P,Q] y) { m = Mul(x, s)  y = Conv(m, w) }"
    model = build(text, s=(6, 1, 1), w=(4, 6, 1, 1))
    assert_refuses(model)
    assert_same_outputs(model, fuse(model).model, x=(2, 1, 5, 7))


def test_an_identity_branch_beside_a_kernel():
    """The Add itself does not say how many channels it adds."""
    text = """net (float[N,C,H,W] x) => (float[N,D,P,Q] y) { a = Conv<pads=[1,1,1,1]>(x, w)  y = Add(a, x) }"""
    assert_fuses(build(text, w=(4, 4, 3, 3)), ["Conv"], x=(2, 4, 5, 7))


def test_the_statistics_of_a_batch_norm():
    text = f"""net (float[N,C,H,W] x, float[4,4,1,1] w) => (float[N,D,P,Q] y) {{
        b = {BN.format("x")}  c = Identity(b)  d = Conv(c, v)  y = Add(d, x)
    }}"""
    model = build(text, v=(4, 4, 1, 1), **batch_norm(4))
    del model.graph.input[1]
    assert_fuses(model, ["Conv"], x=(2, 4, 5, 7))


def test_weights_that_contradict_each_other_are_not_believed():
    text = """net (float[N,C,H,W] x) => (float[N,D,P,Q] y, float[N,E,F,G] z) {
        m = Mul(x, s)  y = Conv(m, w)  n = Mul(x, s)  z = Conv(n, v)  q = Conv(x, w)  r = Conv(x, v)
    }"""
    assert_refuses(build(text, s=(1,), w=(4, 4, 1, 1), v=(4, 6, 1, 1)))
