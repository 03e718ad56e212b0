"""A bias behind zero padding: a term that differs by position, or a plain bias again where the border is its own."""

import inspect
import sys

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from repvgg_onnx import AffineConv, fuse
from repvgg_onnx.affine.field import convolve, reached
from tests.models import assert_fuses, assert_same_outputs, batch_norm, build, ops
from tests.oracle import apply, error

BN = "BatchNormalization(x, gamma, beta, mean, var)"


@st.composite
def convolutions(draw, rank):
    group = draw(st.sampled_from([1, 2]))
    kernel_shape = [draw(st.integers(1, 3)) for _ in range(rank)]
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    return AffineConv(
        rng.normal(size=(4, 2 // group, *kernel_shape)),
        strides=[draw(st.integers(1, 3)) for _ in range(rank)],
        pads=[draw(st.integers(0, 3)) for _ in range(2 * rank)],
        dilations=[draw(st.integers(1, 2)) for _ in range(rank)],
        group=group,
    )


@given(st.integers(1, 3).flatmap(convolutions))
def test_a_field_is_convolved_as_the_runtime_would(conv):
    values = np.random.default_rng(0).normal(size=(1, 2, *(5, 7, 6)[: conv.geometry.rank])).astype(np.float32)
    assume(all(length > 0 for length in conv.geometry.output_size(values.shape[2:])))
    assert error(apply(conv, values), convolve(conv, values[0].astype(np.float64))[None]) < 1e-6


@given(st.integers(1, 3).flatmap(convolutions))
def test_positions_are_reached_where_ones_give_something(conv):
    size = (5, 7, 6)[: conv.geometry.rank]
    assume(all(length > 0 for length in conv.geometry.output_size(size)))
    geometry = conv.geometry
    ones = AffineConv(
        np.ones(geometry.kernel_dims),
        strides=geometry.strides,
        pads=geometry.pads,
        dilations=geometry.dilations,
        group=geometry.group,
    )
    assert np.array_equal(reached(geometry, size), convolve(ones, np.ones((2, *size)))[0] > 0)


PADDED = {
    "same": ("pads=[1,1,1,1]", (4, 4, 3, 3), "1,4,5,7"),
    "strided": ("pads=[1,1,1,1], strides=[2,2]", (4, 4, 3, 3), "1,4,3,4"),
    "uneven": ("pads=[0,2,1,0]", (2, 4, 2, 3), "1,2,5,7"),
    "dilated": ("pads=[2,2,2,2], dilations=[2,2]", (4, 4, 3, 3), "1,4,5,7"),
    "grouped": ("pads=[1,1,1,1], group=2", (4, 2, 3, 3), "1,4,5,7"),
}


@pytest.mark.parametrize(("attributes", "shape", "out"), PADDED.values(), ids=PADDED)
def test_a_normalization_before_a_padded_convolution_becomes_a_field(attributes, shape, out):
    steps = f"net (float[1,4,5,7] x) => (float[{out}] y) {{ a = {BN}  y = Conv<{attributes}>(a, w) }}"
    model = build(steps, w=shape, **batch_norm(4))
    fused = fuse(model).model
    if fused is not model:  # the cost decides: a strided convolution writes less than the normalization does
        assert ops(fused) == ["Conv", "Add"]
    assert_same_outputs(model, fused)


def test_at_least_the_strided_one_pays():
    model = build(
        f"net (float[1,8,15,17] x) => (float[1,2,8,9] y) {{ a = {BN}  y = Conv<pads=[1,1,1,1], strides=[2,2]>(a, w) }}",
        w=(2, 8, 3, 3),
        **batch_norm(8),
    )
    fused = assert_fuses(model, ["Conv", "Add"])
    assert fused.model.graph.initializer[-1].dims == [1, 2, 8, 9]


def test_fields_are_scaled_summed_and_joined_to_plain_branches():
    model = build(
        """net (float[1,4,5,7] x) => (float[1,4,5,7] y) {
            a = Conv(x, k, b)  c = Conv<pads=[1,1,1,1]>(a, w)  d = Conv(x, k, b)  e = Conv<pads=[1,1,1,1]>(d, v)
            f = Mul(e, s)  g = Sub(c, f)  y = Add(g, x)
        }""",
        k=(8, 4, 1, 1),
        b=(8,),
        w=(4, 8, 3, 3),
        v=(4, 8, 3, 3),
        s=(4, 1, 1),
    )
    assert_fuses(model, ["Conv", "Add"], 2e-6)


def test_a_dynamic_size_has_no_field():
    model = build(
        f"net (float[1,4,H,W] x) => (float[1,4,H,W] y) {{ a = {BN}  y = Conv<pads=[1,1,1,1]>(a, w) }}",
        w=(4, 4, 3, 3),
        **batch_norm(4),
    )
    assert_fuses(model, ["Add", "Conv"], x=(1, 4, 5, 7))


BORDER = {  # rows and columns of a 7 x 9 image
    "rows": (np.array([[0], [6]]), (2, 6, 1, 9), [2, 1, 0, 3]),
    "columns": (np.array([[0], [8]]), (2, 6, 7, 1), [3, 1, 2, 0]),
}


def bordered(values, *, inside=False):
    """Pointwise, padded, the border written as index assignments are exported, and a 3x3 convolution."""
    weights = {"k": (6, 4, 1, 1), "w": (4, 6, 3, 3), "p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    text = """net (float[1,4,5,7] x) => (float[1,4,5,7] y) {
        a = Conv(x, k, b)  c = Pad(a, p)
        d = Transpose<perm=[2,1,0,3]>(c)  e = ScatterND(d, rows, top)  f = Transpose<perm=[2,1,0,3]>(e)
        g = Transpose<perm=[3,1,2,0]>(f)  h = ScatterND(g, columns, left)  i = Transpose<perm=[3,1,2,0]>(h)
        y = Conv(i, w)
    }"""
    for (name, (indices, shape, _)), target in zip(BORDER.items(), ("top", "left"), strict=True):
        weights[name] = indices - 1 if inside and name == "rows" else indices
        weights[target] = np.broadcast_to(values.reshape(6, 1, 1), shape).astype(np.float32)
    return build(text, b=values.astype(np.float32), **weights)


def test_a_border_of_the_bias_is_padding_before_the_bias():
    fused = assert_fuses(bordered(np.random.default_rng(0).normal(size=6)), ["Conv"])
    assert fused.regions[0].kernel_shape == (3, 3)


def test_a_border_of_another_value_stays_a_field():
    model = bordered(np.random.default_rng(0).normal(size=6))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "b")
    bias.raw_data = np.zeros(6, np.float32).tobytes()
    assert_fuses(model, ["Conv", "Add"])


def test_what_overwrites_the_image_itself_is_refused():
    model = bordered(np.random.default_rng(0).normal(size=6), inside=True)
    fusion = fuse(model)
    assert "not-affine" in {refusal.code for refusal in fusion.refusals}
    assert_same_outputs(model, fusion.model)
    assert ops(fusion.model).count("ScatterND") >= 1


def test_a_chain_behind_a_field_may_be_longer_than_the_stack_is_deep():
    steps = " ".join(f"t{i} = Mul(t{i - 1}, s)  " for i in range(1, 120))
    text = f"""net (float[1,4,9,11] x) => (float[1,4,9,11] y) {{
        a = Conv(x, p, t)  t0 = Conv<pads=[1,1,1,1]>(a, w)  {steps}  y = Add(t119, t0)
    }}"""
    model = build(text, p=(4, 4, 1, 1), w=(4, 4, 3, 3), t=(4,), s=np.full((4, 1, 1), 1.01, np.float32))
    limit = sys.getrecursionlimit()
    fuse(model)
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        fusion = fuse(model)
    finally:
        sys.setrecursionlimit(limit)

    assert "field" in str(fusion.model.graph.node)
    assert_same_outputs(model, fusion.model)
