"""What stays is explained: each BatchNormalization, and each gain or offset beside a kernel, and truly so."""

import numpy as np
import pytest

from repvgg_onnx import Fusion, fuse
from tests.models import assert_explained, batch_norm, build

BN = "BatchNormalization({}, gamma, beta, mean, var)"
SIGNATURE = "net (float[1,4,5,7] x) => (float[1,4,P,Q] y)"


def left_by(steps: str, *, signature: str = SIGNATURE, opset: int = 17, **weights) -> Fusion:
    known = {"w": (4, 4, 1, 1), "v": (4, 4, 3, 3), "s": (4, 1, 1), **batch_norm(4)}
    used = {name: shape for name, shape in known.items() if f"{name}," in steps or f"{name})" in steps}
    fusion = fuse(build(f"{signature} {{ {steps} }}", opset=opset, **used, **weights))
    assert_explained(fusion)
    return fusion


def reason(fusion: Fusion, node: str) -> tuple[str, str]:
    (refusal,) = [refusal for refusal in fusion.refusals if refusal.node == node]
    return refusal.code, refusal.sentence


BETWEEN = {
    "activations": (f"a = Relu(x)  b = {BN.format('a')}  y = Sigmoid(b)", "between Relu and Sigmoid"),
    "ends": (f"y = {BN.format('x')}", "between an input and an output"),
    "readers": (
        f"b = {BN.format('x')}  c = Relu(b)  d = Sigmoid(b)  y = Add(c, d)",
        "between an input and Relu, Sigmoid",
    ),
    "a pool": (f"a = GlobalMaxPool(x)  b = {BN.format('a')}  y = Relu(b)", "between GlobalMaxPool and Relu"),
}


@pytest.mark.parametrize(("steps", "words"), BETWEEN.values(), ids=BETWEEN)
def test_a_batch_norm_without_a_kernel_at_hand(steps, words):
    fusion = left_by(steps)
    name = next(node.output[0] for node in fusion.model.graph.node if node.op_type == "BatchNormalization")
    code, sentence = reason(fusion, name)
    assert code == "no-kernel"
    assert words in sentence


def test_a_batch_norm_behind_a_kernel_that_a_caller_gives():
    signature = "net (float[1,4,5,7] x, float[4,4,1,1] k) => (float[1,4,P,Q] y)"
    fusion = left_by(f"a = Conv(x, k)  y = {BN.format('a')}", signature=signature)
    code, sentence = reason(fusion, "y")
    assert code == "not-constant"
    assert "Conv a beside it is refused" in sentence
    assert "'k'" in sentence


def test_a_batch_norm_whose_statistics_a_caller_gives():
    signature = "net (float[1,4,5,7] x, float[4] k) => (float[1,4,P,Q] y)"
    fusion = left_by("r = Relu(x)  y = BatchNormalization(r, gamma, beta, k, var)", signature=signature)
    assert reason(fusion, "y")[0] == "not-constant"


def test_a_gain_that_an_emitted_kernel_shares():
    fusion = left_by("a = Conv(x, w)  b = Mul(a, s)  c = Relu(b)  z = Neg(c)  y = Add(z, b)")
    again = fuse(fusion.model)
    assert not again.regions
    assert_explained(again)


def test_the_offset_of_a_matrix_product_is_its_bias():
    fusion = left_by("m = MatMul(x, u)  y = Add(m, o)", u=(7, 7), o=(7,))
    code, sentence = reason(fusion, "y")
    assert code == "already-folded"
    assert "MatMul" in sentence


def test_the_offset_before_padding_of_unknown_size():
    signature = "net (float[1,4,H,W] x) => (float[1,4,P,Q] y)"
    fusion = left_by(f"a = {BN.format('x')}  y = Conv<pads=[1,1,1,1]>(a, v)", signature=signature)
    assert [node.op_type for node in fusion.model.graph.node] == ["Add", "Conv"]
    assert reason(fusion, fusion.model.graph.node[0].output[0])[0] == "border-bias"


def test_parts_of_one_tensor_are_not_called_two_tensors():
    """The slices depend on x alone; what is true is that nothing is followed back through them."""
    steps = """a = Slice(x, zero, four, axis)  b = Slice(x, one, five, axis)
        c = Conv(a, w)  d = Conv(b, w)  e = Add(c, d)  y = Relu(e)"""
    indices = {"zero": 0, "one": 1, "four": 4, "five": 5, "axis": 2}
    fusion = left_by(steps, **{name: np.int64([number]) for name, number in indices.items()})
    code, sentence = reason(fusion, "e")
    assert code == "two-roots"
    assert "'a'" in sentence
    assert "'b'" in sentence
    assert "not affine" not in sentence


def test_an_expression_of_constants_that_is_not_evaluated_is_not_called_unknown():
    steps = f"n = NonZero(q)  f = Cast<to=1>(n)  k = Reshape(f, t)  a = Conv(x, k)  y = {BN.format('a')}"
    fusion = left_by(steps, q=np.ones((4, 4), np.float32), t=np.int64([4, 8, 1, 1])[:, None].reshape(-1))
    code, sentence = reason(fusion, "y")
    assert code == "not-evaluated"
    assert "constants" in sentence


def test_a_product_of_two_values_has_no_weights():
    signature = "net (float[2,5,4] x, float[2,4,5] z) => (float[2,5,5] y)"
    fusion = left_by("a = Mul(x, o)  y = MatMul(a, z)", signature=signature, o=(1,))
    code, sentence = reason(fusion, "a")
    assert code == "two-roots"
    assert "MatMul y beside it is refused" in sentence


def test_quantized_models_get_advice_that_those_who_trained_them_can_follow():
    steps = f"q = QuantizeLinear(x, t)  d = DequantizeLinear(q, t)  a = Conv(d, w)  y = {BN.format('a')}"
    fusion = left_by(steps, t=np.array(0.05, np.float32), signature="net (float[1,4,5,7] x) => (float[1,4,5,7] y)")
    assert {node.op_type for node in fusion.model.graph.node} == {"QuantizeLinear", "DequantizeLinear", "Conv"}
    assert any(refusal.code == "quantized" for refusal in fusion.refusals)


def test_a_batch_normalization_of_constants_that_cannot_be_evaluated_is_named():
    """A normalization of weights as TorchScript exports it below opset 14: with five outputs."""
    text = """net (float[1,3,5,7] x) => (float[1,4,5,7] y) {
        w, m, v, p, q = BatchNormalization(raw, gamma, beta, mean, var)  k = Reshape(w, shape)  y = Conv(x, k)
    }"""
    weights = {"raw": (1, 4, 3), **batch_norm(4), "shape": np.int64([4, 3, 1, 1])}
    fusion = fuse(build(text, opset=9, **weights))
    assert {refusal.node: refusal.code for refusal in fusion.refusals}["w"] == "not-evaluated"
    assert_explained(fusion)
