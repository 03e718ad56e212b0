"""Ranges that values lie in and jumps that they make, read from the operators that lead to them."""

import numpy as np
import pytest

from repvgg_onnx.checks.kinds import WIDEST, kinds_of
from tests.checks.models import model

FLOATS = "g (float[2,3,5] x) => (float y) {{ {} }}"


def kind(body: str, **weights):
    """The kind of ``y``."""
    return kinds_of(model(FLOATS.format(body), weights).graph)["y"]


def scalars(**values: float) -> dict[str, np.ndarray]:
    return {name: np.array(value, np.float32) for name, value in values.items()}


@pytest.mark.parametrize(
    ("body", "width"),
    [
        ("y = Sigmoid(x)", 1),
        ("y = HardSigmoid(x)", 1),
        ("y = Softmax<axis = 1>(x)", 1),
        ("l = LogSoftmax(x) y = Exp(l)", 1),
        ("y = Exp(x)", None),
        ("y = LogSoftmax(x)", None),
        ("y = Tanh(x)", None),
        ("y = Clip(x, low, high)", 6),
        ("k = Constant<value_float = 6.0>() y = Clip(x, low, k)", 6),
        ("k = Constant<value = float {6}>() y = Clip(x, low, k)", 6),
        ("y = Clip(x, low, byte)", WIDEST),
        ("y = Clip(x, low, large)", None),
        ("y = Clip(x, low)", None),
        ("y = Clip(x, , high)", None),
        ("h = Relu(high) y = Clip(x, low, h)", None),
        ("y = Clip(x, high, low)", None),
        ("s = Sigmoid(x) y = Relu(s)", None),
        ("s = Sigmoid(x) y = Mul(s, high)", None),
    ],
)
def test_the_range_follows_from_the_operator(body, width):
    found = kind(body, **scalars(low=0, high=6, byte=255, large=65504))
    assert (found.range, found.jumps) == (width, False)


def test_the_bounds_of_an_old_clip_are_attributes():
    assert kind("y = Clip<min = -1.0, max = 3.0>(x)").range == 4
    assert kind("y = Clip<max = 3.0>(x)").range is None


@pytest.mark.parametrize(
    "body",
    [
        "y = Reshape(s, shape)",
        "y = Transpose<perm = [2,0,1]>(s)",
        "c = Clip(x, low, high) y = Concat<axis = 1>(s, c)",
        "y = Slice(s, starts, ends)",
        "y = Squeeze(s, shape)",
        "y = Unsqueeze(s, shape)",
        "y = Flatten(s)",
        "y, z = Split<axis = 1, num_outputs = 2>(s)",
        "y = Gather(s, starts)",
        "y = Identity(s)",
        "y = Cast<to = 10>(s)",
    ],
)
def test_what_moves_values_keeps_their_range(body):
    indices = {name: np.array([0]) for name in ("shape", "starts", "ends")}
    assert kind(f"s = Sigmoid(x) {body}", **indices, **scalars(low=0, high=0.5)).range == 1


def test_what_joins_values_without_a_range_has_none():
    assert kind("s = Sigmoid(x) y = Concat<axis = 1>(s, x)").range is None
    assert kind("s = Sigmoid(x) y = Cast<to = 7>(s)").range is None


@pytest.mark.parametrize(
    "body",
    [
        "y = ArgMax(x)",
        "y = ArgMin(x)",
        "v, y = TopK(x, k)",
        "y, i = TopK(x, k)",
        "y = NonMaxSuppression(x, x)",
        "y = Greater(x, zero)",
        "y = LessOrEqual(x, zero)",
        "y = Equal(x, zero)",
        "y = Round(x)",
        "y = Floor(x)",
        "y = Sign(x)",
        "y = Cast<to = 7>(x)",
        "y = Cast<to = 9>(x)",
        "y = QuantizeLinear(x, zero)",
        "i = ArgMax(x) f = Cast<to = 1>(i) y = Mul(f, x)",
        "y = If(c)<then_branch = a () => (float p) { p = Round(x) }, else_branch = b () => (float q) { q = Relu(x) }>",
    ],
)
def test_steps_jump_and_so_does_what_is_computed_from_them(body):
    assert kind(body, k=np.array([2]), **scalars(zero=0), c=np.array(True)).jumps


@pytest.mark.parametrize(
    "body",
    [
        "y = Cast<to = 10>(x)",
        "s = Shape(x) f = Cast<to = 1>(s) r = Floor(f) i = Cast<to = 7>(r) y = Resize(x, , , i)",
        "f = Floor(zero) y = Add(x, f)",
    ],
)
def test_shapes_and_constants_do_not_jump(body):
    assert not kind(body, **scalars(zero=0)).jumps


@pytest.mark.parametrize(
    ("body", "drawn"),
    [
        ("y = RandomNormalLike(x)", True),
        ("y = RandomUniform<shape = [2, 3, 5]>()", True),
        ("r, q = Dropout(x, ratio, yes) y = Identity(r)", False),
        ("y, q = Dropout(x, ratio, yes)", True),
        ("y, q = Dropout(x)", False),
        ("r = RandomNormalLike(x) y = Add(x, r)", False),
    ],
)
def test_what_is_drawn_is_the_result_of_the_node_that_draws(body, drawn):
    assert kind(body, ratio=np.array(0.5, np.float32), yes=np.array(True)).drawn == drawn
