"""Random graphs of the operators that fold: the same outputs, and nothing more to find the second time."""

from collections import Counter
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import onnx
import pytest
from hypothesis import given, settings

from repvgg_onnx.affine import conv, expressions, geometry
from repvgg_onnx.errors import GeometryError
from tests.compiler.generator import LONGEST, random_model
from tests.compiler.trial import assert_holds, kinds, widened
from tests.models import build, ops

PART = 250  # graphs of one slow test
EXPECTED = (
    *("emitted Conv", "emitted ConvTranspose", "emitted Gemm", "emitted MatMul"),
    *("regions with branches", "regions with chains", "grouped kernels"),
)


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, LONGEST))
def test_a_random_graph_computes_what_it_did(seed, length):
    model, feeds = random_model(seed, length)
    onnx.checker.check_model(model, full_check=True)
    assert_holds(model, feeds)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 2000, PART))
def test_two_thousand_random_graphs_compute_what_they_did(first):
    seen = examine(range(first, first + PART))
    assert seen["graphs that fold"] > PART / 2
    assert all(seen[kind] > 2 for kind in EXPECTED)


def test_the_same_seed_gives_the_same_graph():
    (first, one), (second, other) = random_model(7), random_model(7)
    assert first == second
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_fewer_steps_give_the_beginning_of_the_graph():
    nodes = [[node.SerializeToString() for node in random_model(9, length)[0].graph.node] for length in (2, LONGEST)]
    assert 0 < len(nodes[0]) < len(nodes[1])
    assert nodes[1][: len(nodes[0])] == nodes[0]


def no_border_rule(monkeypatch):
    """What stands at the border is composed as if nothing were padded, and padded then."""
    right = conv.compose_geometry

    def careless(outer, inner, *, inner_has_bias):
        try:
            return right(outer, inner, inner_has_bias=inner_has_bias)
        except GeometryError as error:
            if error.code not in ("border-bias", "border-taps") or outer.has_unknown_pads:
                raise
        bare = right(replace(outer, pads=(0,) * len(outer.pads)), inner, inner_has_bias=inner_has_bias)
        strides = inner.strides * 2
        pads = zip(bare.pads, outer.pads, strides, strict=True)
        return replace(bare, pads=tuple(under + over * stride for under, over, stride in pads))

    monkeypatch.setattr(conv, "compose_geometry", careless)


def no_bias_through_kernels(monkeypatch):
    monkeypatch.setattr(expressions, "carry_bias", lambda outer, bias: np.zeros(outer.geometry.c_out))


def taps_by_centre(monkeypatch):
    by_position = geometry.Lattice.slots_of

    def slots(whole, part):
        right = by_position(whole, part)
        first = (whole.count - (right.stop - right.start)) // 2
        return slice(first, first + right.stop - right.start, right.step)

    monkeypatch.setattr(geometry.Lattice, "slots_of", slots)


@pytest.mark.parametrize("mistake", [no_border_rule, no_bias_through_kernels, taps_by_centre])
def test_a_compiler_that_forgets_a_rule_is_found_out(mistake, monkeypatch):
    mistake(monkeypatch)
    with pytest.raises(AssertionError):
        examine(range(60))


def examine(seeds):
    seen = Counter()
    for seed in seeds:
        seen += kinds(assert_holds(*random_model(seed), twice=seed % 4 == 0))
    return seen


def test_where_all_cancels_the_graph_itself_sets_the_measure():
    """What is left of two equal branches is rounding in the graph, and zero or nearly so in the fold."""
    text = """net (float[1,2,5,7] x) => (float[1,2,5,7] y) {
        a = Conv(x, w)  b = Mul(a, s)  c = Mul(x, s)  d = Conv(c, w)  y = Sub(b, d)
    }"""
    model = build(text, w=(2, 2, 1, 1), s=np.float32([3.3]))
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 2, 5, 7)).astype(np.float32)}
    assert ops(assert_holds(model, feeds).model) == ["Conv"]
    assert {tensor.data_type for tensor in widened(model).graph.initializer} == {onnx.TensorProto.DOUBLE}
