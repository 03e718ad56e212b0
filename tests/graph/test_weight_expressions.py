"""Weights that a graph computes from constants: with whatever operator, within the budget, and not where they round."""

import re

import numpy as np
import pytest

from repvgg_onnx import fuse
from repvgg_onnx.graph.budget import Budget
from repvgg_onnx.graph.evaluate import MACS_A_BYTE, run_node
from tests.models import assert_fuses, assert_refuses, assert_same_outputs, batch_norm, build, ops

HEAD = "net (float[1,6,9,11] x) => (float[1,4,P,Q] y)"
NORM = "y = BatchNormalization(a, gamma, beta, mean, var)"
ROWS = {"r": np.int64([1, 4, -1]), "k": np.int64([4, 6, 3, 3])}
ONES = {"u": np.ones(4, np.float32), "z": np.zeros(4, np.float32)}
RUNNING = {"n": np.zeros(4, np.float32), "t": np.ones(4, np.float32)}  # onnxruntime overwrites them

EXPRESSIONS = {
    "standardized by batch norm": (
        15,
        "p = Reshape(v, r)  q, i, j = BatchNormalization<training_mode=1>(p, u, z, n, t)  w = Reshape(q, k)",
        ROWS | ONES | RUNNING,
    ),
    "standardized by instance norm": (
        15,
        "p = Reshape(v, r)  q = InstanceNormalization(p, u, z)  w = Reshape(q, k)",
        ROWS | ONES,
    ),
    "standardized by layer norm": (
        17,
        "w = LayerNormalization<axis=1>(v, s)",
        {"s": np.full((6, 3, 3), 0.5, np.float32)},
    ),
    "standardized by group norm": (21, "w = GroupNormalization<num_groups=2>(v, t, o)", {"t": (6,), "o": (6,)}),
    "scaled by rms norm": (23, "w = RMSNormalization<axis=1>(v, s)", {"s": np.full((6, 3, 3), 0.5, np.float32)}),
    "of length one": (15, "w = LpNormalization<axis=1, p=2>(v)", {}),
    "of mean zero": (13, "w = MeanVarianceNormalization<axes=[1,2,3]>(v)", {}),
    "bent": (15, "p = LeakyRelu(v)  q = Elu(p)  w = HardSigmoid(q)", {}),
    "squashed": (15, "p = Atan(v)  w = Softsign(p)", {}),
    "by blocks": (15, "d = Reshape(v, n)  w = DepthToSpace<blocksize=3>(d)", {"n": np.int64([4, 54, 1, 1])}),
    "resized": (
        15,
        'c = Slice(v, b, e, g)  w = Resize(c, "", "", k)',
        {"k": ROWS["k"], "b": np.int64([0]), "e": np.int64([2]), "g": np.int64([3])},
    ),
    "the largest": (15, "m, i = TopK<axis=1>(f, c)  w = Identity(m)", {"f": (4, 9, 3, 3), "c": np.int64([6])}),
    "convolved": (15, "w = Conv(v, m)", {"m": (6, 6, 1, 1)}),
    "convolved back": (15, "w = ConvTranspose(v, m)", {"m": (6, 6, 1, 1)}),
    "pooled": (15, "w = AveragePool<kernel_shape=[2,2]>(f)", {"f": (4, 6, 4, 4)}),
    "integers": (
        13,
        "w = DequantizeLinear<axis=0>(q, s)",
        {"q": np.arange(-108, 108).astype(np.int8).reshape(4, 6, 3, 3), "s": np.float32([0.1, 0.2, 0.3, 0.05])},
    ),
    "rounded": (13, "q = QuantizeLinear(v, s)  w = DequantizeLinear(q, s)", {"s": np.array(0.05, np.float32)}),
}


def weighing(expression: str, opset: int, after: str = NORM, **weights):
    """A Conv with the kernel ``w`` that the expression makes, of ``v`` if it asks for it."""
    given = {
        **({"v": (4, 6, 3, 3)} if re.search(r"\bv\b", expression) else {}),
        **(batch_norm(4) if "gamma" in after else {}),
    }
    return build(f"{HEAD} {{ {expression}  a = Conv(x, w)  {after} }}", opset=opset, **given, **weights)


@pytest.mark.parametrize(("opset", "expression", "weights"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_weights_computed_by_any_operator(opset, expression, weights):
    assert_fuses(weighing(expression, opset, **weights), ["Conv"], tolerance=2e-6)


def test_standardization_that_leaves_out_the_statistics_nobody_reads():
    """Exporters write it although onnx asks for three outputs; onnxruntime does not load it."""
    expression = "p = Reshape(v, r)  q = BatchNormalization<training_mode=1>(p, u, z, n, t)  w = Reshape(q, k)"
    whole = expression.replace("q = ", "q, i, j = ")
    model, right = (weighing(each, 15, **ROWS, **ONES, **RUNNING) for each in (expression, whole))
    fused = fuse(model).model
    assert ops(fused) == ["Conv"]
    assert_same_outputs(right, fused, tolerance=2e-6)
    assert "computed once" in fuse(model).notes[0]


def test_a_convolution_of_constants_counts_what_it_multiplies():
    arrays = {"k": np.ones((64, 64, 3, 3), np.float32), "v": np.ones((1, 64, 34, 34), np.float32)}
    model = build("net () => (float[1,64,32,32] w) { w = Conv(v, k) }", **arrays)
    node, macs = model.graph.node[0], 64 * 32 * 32 * 64 * 9
    assert not run_node(node, arrays, model.opset_import, Budget(macs // MACS_A_BYTE - 1))
    assert run_node(node, arrays, model.opset_import, Budget(macs // MACS_A_BYTE))["w"].shape == (1, 64, 32, 32)


def test_an_einsum_of_constants_counts_what_it_multiplies():
    arrays = {"m": np.ones((256, 4096), np.float32), "v": np.ones((4096, 64), np.float32)}
    model = build('net () => (float[256,64] w) { w = Einsum<equation="ij,jk->ik">(m, v) }', **arrays)
    node, macs = model.graph.node[0], 256 * 4096 * 64
    assert not run_node(node, arrays, model.opset_import, Budget(macs // MACS_A_BYTE - 1))
    assert run_node(node, arrays, model.opset_import, Budget(macs // MACS_A_BYTE))["w"].shape == (256, 64)


@pytest.mark.parametrize("attribute", ["group=0", "strides=[0,1]", "dilations=[0,1]", "strides=[-1,1]"])
def test_a_convolution_of_constants_that_would_divide_by_zero_is_not_run(attribute):
    arrays = {"k": np.ones((4, 4, 1, 1), np.float32), "v": np.ones((1, 4, 5, 7), np.float32)}
    model = build(f"net () => (float[A,B,C,D] w) {{ w = Conv<{attribute}>(v, k) }}", **arrays)
    assert not run_node(model.graph.node[0], arrays, model.opset_import, Budget())


INTEGERS = {"q": np.arange(-108, 108).astype(np.int8).reshape(4, 6, 3, 3), "s": np.float32([0.1, 0.2, 0.3, 0.05])}
STEP = np.array(0.05, np.float32)


@pytest.mark.parametrize("between", ["", "m = MaxPool<kernel_shape=[2,2]>(d)", "m = Relu(d)"])
def test_weights_of_integer_arithmetic_stay(between):
    """A runtime makes one integer convolution of it, from both scales."""
    source = "m" if between else "d"
    text = f"""{HEAD} {{
        e = QuantizeLinear(x, t)  d = DequantizeLinear(e, t)  {between}
        w = DequantizeLinear<axis=0>(q, s)  a = Conv({source}, w)  {NORM}
    }}"""
    fusion = assert_refuses(build(text, opset=13, t=STEP, **INTEGERS, **batch_norm(4)), "quantized")
    assert not any("Fuse the floating-point model first" in refusal.sentence for refusal in fusion.refusals)


def test_weights_of_a_float_convolution_beside_an_integer_one():
    text = f"""net (float[1,6,9,11] x) => (float[1,4,7,9] y, float[1,4,7,9] z) {{
        e = QuantizeLinear(x, t)  d = DequantizeLinear(e, t)  w = DequantizeLinear<axis=0>(q, s)  z = Conv(d, w)
        v = DequantizeLinear<axis=0>(q, s)  a = Conv(x, v)  {NORM}
    }}"""
    model = build(text, opset=13, t=STEP, **INTEGERS, **batch_norm(4))
    left = ["QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Conv", "Conv"]
    assert_fuses(model, left)


def test_stored_integers_without_anything_to_fold_stay_integers():
    expression = "w = DequantizeLinear<axis=0>(q, s)"
    assert_refuses(weighing(expression, 13, "y = Relu(a)", **INTEGERS))


def test_stored_integers_that_an_output_or_a_body_reads_stay():
    text = f"""net (float[1,6,9,11] x) => (float[1,4,7,9] y, float[4,6,3,3] w) {{
        w = DequantizeLinear<axis=0>(q, s)  a = Conv(x, w)  {NORM}
    }}"""
    assert_refuses(build(text, opset=13, **INTEGERS, **batch_norm(4)))
