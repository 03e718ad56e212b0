"""Refusals of single operators, each provoked once: its code is there and the model is what it was."""

from dataclasses import replace

import numpy as np
import pytest

from repvgg_onnx import fuse
from repvgg_onnx.compiler.lifters import LIFTERS
from tests.models import assert_refuses, assert_same_outputs, batch_norm, build, ops

BN = "BatchNormalization(a, gamma, beta, mean, var)"
PADS = np.array([0, 0, 1, 1, 0, 0, 1, 1])
NET = "net (float[1,4,5,7] x) => (float[{out}] y) {{ {steps} }}"

OPERATORS = {
    "reflected": ("pad-mode", 'c = Conv(x, w)  a = Pad<mode="reflect">(c, p)  y = Conv(a, v)', "1,4,5,7", {"p": PADS}),
    "ones": (
        "pad-value",
        "c = Conv(x, w)  a = Pad(c, p, one)  y = Conv(a, v)",
        "1,4,5,7",
        {"p": PADS, "one": np.array(1, np.float32)},
    ),
    "more-channels": (
        "pad-axis",
        "a = Conv(x, w)  y = Pad(a, p)",
        "1,5,5,7",
        {"p": np.array([0, 0, 0, 0, 0, 1, 0, 0])},
    ),
    "border-of-a-pool": (
        "pool-window",
        "a = Conv(x, w)  y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(a)",
        "1,4,5,7",
        {},
    ),
    "rounded-up-pool": (
        "pool-window",
        "a = Conv(x, w)  y = AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(a)",
        "1,4,3,4",
        {},
    ),
    "quantized": (
        "quantized",
        "q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = Conv(d, w)",
        "1,4,5,7",
        {"s": np.array(0.1, np.float32), "z": np.array(128, np.uint8)},
    ),
    "transposed-beside-plain": (
        "transposed",
        "a = Conv(x, w)  b = ConvTranspose(x, w)  y = Add(a, b)",
        "1,4,5,7",
        {},
    ),
    "statistics-of-other-shapes": (
        "bad-attribute",
        f"a = Conv(x, w)  y = {BN}",
        "1,4,5,7",
        {**batch_norm(4), "gamma": np.ones((1, 4), np.float32)},
    ),
    "groups-that-do-not-divide": (
        "bad-geometry",
        "a = Conv<group=3>(x, g)  y = Neg(a)",
        "1,4,5,7",
        {"g": (4, 1, 1, 1)},
    ),
}


@pytest.mark.parametrize(("code", "steps", "out", "weights"), OPERATORS.values(), ids=OPERATORS)
def test_an_operator_that_is_not_a_convolution(code, steps, out, weights):
    model = build(NET.format(out=out, steps=steps), **{"w": (4, 4, 1, 1), "v": (4, 4, 3, 3), **weights})
    assert_refuses(model, code, below=False)


def test_channels_on_another_axis():
    model = build(
        f"net (float[1,4,4] x) => (float[1,4,4] y) {{ a = MatMul(x, w)  y = {BN} }}",
        w=(4, 4),
        **batch_norm(4),
    )
    assert_refuses(model, "layout")


def test_integers_are_no_affine_values():
    model = build(
        "net (int64[2,4] x) => (int64[2,4] y) { a = MatMul(x, w)  y = Add(a, b) }",
        w=np.eye(4, dtype=np.int64),
        b=np.arange(4),
    )
    assert_refuses(model, "type")


def test_an_attribute_that_is_newer_than_the_lifter(monkeypatch):
    monkeypatch.setitem(LIFTERS, "Conv", replace(LIFTERS["Conv"], attributes=frozenset({"pads"})))
    model = build(
        "net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv<group=1>(x, w)  y = Neg(a) }", w=(4, 4, 1, 1)
    )
    assert_refuses(model, "unknown-attribute")


def test_the_body_of_a_scan_folds():
    model = build(
        """net (float[3,1,4,5,7] x) => (float[3,1,4,5,7] y) {
            y = Scan<num_scan_inputs=1, body = step (float[1,4,5,7] p) => (float[1,4,5,7] q) {
                a = Conv(p, w)  q = Mul(a, s)
            }>(x)
        }""",
        w=(4, 4, 1, 1),
        s=(4, 1, 1),
    )
    fused = fuse(model).model
    (body,) = [attribute.g for attribute in fused.graph.node[0].attribute if attribute.name == "body"]
    assert [node.op_type for node in body.node] == ["Conv"]
    assert ops(fused) == ["Scan"]
    assert_same_outputs(model, fused)
