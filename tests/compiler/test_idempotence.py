"""What fuse() wrote has nothing left to fold, and a file grows only for a reason that is said."""

import numpy as np
import onnx
import pytest
from onnx import helper

from repvgg_onnx import fuse
from repvgg_onnx.compiler.growth import Growth
from repvgg_onnx.graph.bodies import tensor_bytes
from tests.models import (
    assert_fuses,
    assert_refuses,
    assert_same_outputs,
    batch_norm,
    build,
    ops,
    weights_of,
)

SHARED = """net (float[1,4,5,7] x1, float[1,4,5,7] x2, float[1,4,5,7] x3) => (
    float[1,4,5,7] y1, float[1,4,5,7] y2, float[1,4,5,7] y3) {
    a1 = Conv(x1, w)  y1 = Neg(a1)  a2 = Conv(x2, w)  y2 = Neg(a2)  a3 = Conv(x3, w)  y3 = %s
}"""


@pytest.mark.parametrize(
    "steps",
    [
        "b = Identity(t)  y = Conv(x, w, b)",
        "k = Identity(w)  l = Identity(k)  y = Conv(x, l, t)",
        "a = Identity(x)  y = Conv(a, w, t)",
        "a = Conv(x, w, t)  y = Identity(a)",
        "a = Identity(x)  b = Identity(t)  c = Conv(a, w, b)  d = Identity(c)  y = Identity(d)",
        "k = Constant<value_floats=[1.0,2.0,3.0,4.0]>()  y = Conv(x, w, k)",
    ],
)
def test_another_name_is_no_region(steps):
    text = f"net (float[1,4,5,7] x) => (float[1,4,5,7] y) {{ {steps} }}"

    fusion = assert_refuses(build(text, w=(4, 4, 1, 1), t=(4,)))

    assert not fusion.refusals


@pytest.mark.parametrize(
    "steps",
    [
        "b = Identity(t)  a = Conv(x, w, b)  y = Neg(a)",
        "a = Identity(x)  b = Conv(a, w)  c = Identity(b)  d = Neg(c)  y = Identity(d)",
        "u = Neg(t)  b = Identity(u)  y = Conv(x, w, b)",
    ],
)
def test_names_go_with_the_region_around_them(steps):
    text = f"net (float[1,4,5,7] x) => (float[1,4,5,7] y) {{ {steps} }}"

    assert_fuses(build(text, w=(4, 4, 1, 1), **({"t": (4,)} if "t)" in steps else {})), ["Conv"])


@pytest.mark.parametrize("ir_version", [3, 10])
def test_equal_kernels_are_stored_once(ir_version):
    model = build(SHARED % "Neg(a3)", ir_version=10, w=(4, 4, 1, 1))
    if ir_version < 4:  # where initializers are inputs as well, and arrays are written as nodes
        model.ir_version = ir_version
        model.graph.input.append(helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, (4, 4, 1, 1)))

    fusion = fuse(model)

    convs = [node for node in fusion.model.graph.node if node.op_type == "Conv"]
    assert [len({node.input[index] for node in convs}) for index in (1, 2)] == [1, 1]
    assert ops(fusion.model).count("Constant") == (2 if ir_version < 4 else 0)
    assert fuse(model).model.SerializeToString() == fusion.model.SerializeToString()
    assert_same_outputs(model, fusion.model)


def test_kernels_that_differ_in_one_element_or_in_a_sign_of_zero_are_stored_apart():
    zeros = np.zeros((4, 1, 1), np.float32)
    weights = {"w": (4, 4, 1, 1), "one": np.float32(1) + zeros, "other": np.float32([[[1]], [[1]], [[1]], [[2]]])}
    steps = "a1 = Conv(x, w)  y1 = Mul(a1, one)  a2 = Conv(x, w)  y2 = Mul(a2, other)"
    text = f"net (float[1,4,5,7] x) => (float[1,4,5,7] y1, float[1,4,5,7] y2) {{ {steps} }}"

    stored = weights_of(fuse(build(text, **weights)).model)

    assert sum(array.ndim == 4 for array in stored.values()) == 2
    assert sum(array.ndim == 1 for array in stored.values()) == 1


def test_a_zero_bias_of_another_type_is_another_constant():
    text = """net (float[1,4,5,7] x, double[1,4,5,7] z) => (float[1,4,5,7] y, double[1,4,5,7] u) {
        a = Conv(x, w)  y = Neg(a)  v = Cast<to=11>(w)  b = Conv(z, v)  u = Neg(b)
    }"""

    convs = [node for node in fuse(build(text, w=(4, 4, 1, 1))).model.graph.node if node.op_type == "Conv"]

    assert len(convs) == len({node.input[2] for node in convs}) == 2


def test_what_grows_because_weights_were_shared_says_so():
    model = build(SHARED % "Relu(a3)", w=(4, 4, 1, 1))

    (remark,) = fuse(model).remarks

    assert remark == "the weights grow from 64 bytes to 144 bytes: 1 kernel that other nodes read as well"


def test_what_shrinks_needs_no_remark():
    model = build(
        """net (float[1,4,5,7] x) => (float[1,4,5,7] y) {
        a = Conv(x, w)  y = BatchNormalization(a, gamma, beta, mean, var) }""",
        w=(4, 4, 1, 1),
        **batch_norm(4),
    )

    fusion = fuse(model)

    assert fusion.regions
    assert not fusion.remarks
    assert Growth().remarks(tensor_bytes(model), model) == ()


def computed(channels: int, size: int) -> onnx.ModelProto:
    """A convolution whose weights the file only describes, and a factor."""
    text = f"""net (float[1,{channels},9,11] x) => (float[1,{channels},H,W] y) {{
        w = ConstantOfShape<value=float[1] {{0.5}}>(dims)  a = Conv(x, w)  y = Mul(a, s)
    }}"""
    return build(text, dims=np.int64([channels, channels, size, size]), s=(channels, 1, 1))


def test_a_file_does_not_grow_out_of_proportion_for_a_factor():
    fusion = assert_refuses(computed(24, 5), "file-grows")

    (sentence,) = {refusal.sentence for refusal in fusion.refusals if refusal.node == "y"}
    assert sentence == "its weights are computed from 132 bytes, and would take 57,696 bytes of the file as one node"


def test_weights_that_are_computed_from_about_as_much_are_stored():
    fusion = assert_fuses(computed(4, 3), ["Conv"])

    (remark,) = fusion.remarks
    assert remark.endswith(": 1 region whose weights the file only said how to compute")


def test_what_the_budget_left_out_is_tried_again_with_a_new_one():
    """Else a fused file, whose own weights are more, would have room for what its input had none for."""
    steps = " ".join(
        f"k{i} = Exp(w{i})  a{i} = Conv(x{i}, k{i})  b{i} = Mul(a{i}, s)  x{i + 1} = Relu(b{i})" for i in range(6)
    )
    text = f"net (float[1,24,5,7] x0) => (float[1,24,5,7] y) {{ {steps} y = Relu(x6) }}"
    model = build(text, s=(24, 1, 1), **{f"w{i}": (24, 24, 1, 1) for i in range(6)})

    fusion = fuse(model, max_constant_mb=0)

    assert len(fusion.regions) == 6
    again = fuse(fusion.model, max_constant_mb=0)
    assert again.model is fusion.model
