"""What mutations and malice have found: each once as small as it gets."""

import math

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from repvgg_onnx import AffineConv, ModelError, fuse
from repvgg_onnx.graph.schema import have_conflicting_types
from tests.models import assert_refuses, assert_same_outputs, build


def built(text: str, **weights) -> onnx.ModelProto:
    """A model that onnx itself need not find right, with any output shape."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {text}')
    model.graph.initializer.extend(build("net (float x) => (float y) { y = Neg(x) }", **weights).graph.initializer)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


NOTHING_FOLDS = {
    "pads-in-rows": built(
        "net (float[1,4,5,7] x) => (float y) { p = Pad(x, n)  y = Conv(p, w) }",
        w=(4, 4, 3, 3),
        n=np.int64([[0, 0, 1, 1], [0, 0, 1, 1]]),
    ),
    "pad-axes-in-rows": built(
        'net (float[1,4,5,7] x) => (float y) { p = Pad(x, n, "", a)  y = Conv(p, w) }',
        w=(4, 4, 3, 3),
        n=np.int64([1, 1, 1, 1]),
        a=np.int64([[2, 3]]),
    ),
    "slice-without-axes": built(
        "net (float[1,4,5,7] x) => (float y) { c = Conv(x, w)  y = Slice(c, i, i, i) }",
        w=(4, 4, 1, 1),
        i=np.zeros((0,), np.int64),
    ),
    "slice-in-rows": built(
        "net (float[1,4,5,7] x) => (float y) { c = Conv(x, w)  y = Slice(c, i, j, k) }",
        w=(4, 4, 1, 1),
        i=np.int64([[0]]),
        j=np.int64([2]),
        k=np.int64([1]),
    ),
    "split-of-nothing": built(
        "net (float[1,4,5,7] x) => (float y) { c = Conv(x, w)  y = Split<axis=1>(c, i) }",
        w=(4, 4, 1, 1),
        i=np.zeros((0,), np.int64),
    ),
    "gemm-by-a-vector": built("net (float[2,4] x) => (float y) { a = Gemm(x, w)  y = Mul(a, s) }", w=(4,), s=(1,)),
    "transposed-by-a-matrix": built(
        "net (float[1,4,5,7] x) => (float y) { a = ConvTranspose(x, w)  y = Mul(a, s) }", w=(4, 4), s=(1,)
    ),
    "same-pads-of-other-axes": built(
        'net (float[1,4,5] x) => (float y) { a = Conv<auto_pad="SAME_UPPER">(x, w)  y = Mul(a, s) }',
        w=(4, 4, 3, 3),
        s=(1,),
    ),
    "kernel-of-other-axes": built(
        "net (float[1,C,5] x) => (float y) { a = Conv(x, w)  y = Mul(a, s) }", w=(4, 4, 3, 3), s=(1,)
    ),
    "quantized-kernel-of-other-axes": built(
        "net (float[1,4,5] x) => (float y) { w = DequantizeLinear(q, r)  a = Conv(x, w)  y = Mul(a, s) }",
        q=np.ones((4, 4, 3, 3), np.int8),
        r=(),
        s=(1,),
    ),
    "pad-mode-that-is-no-text": built(
        'net (float[1,4,5,7] x) => (float y) { p = Pad<mode="edge">(x, n)  y = Conv(p, w) }',
        w=(4, 4, 3, 3),
        n=np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
    ),
    "auto-pad-that-is-no-text": built(
        'net (float[1,4,5,7] x) => (float y) { a = Conv<auto_pad="VALID">(x, w)  y = Mul(a, s) }',
        w=(4, 4, 3, 3),
        s=(1,),
    ),
}
for name in ("pad-mode-that-is-no-text", "auto-pad-that-is-no-text"):
    NOTHING_FOLDS[name].graph.node[0].attribute[0].s = b"\xff\xfe"


@pytest.mark.parametrize("model", NOTHING_FOLDS.values(), ids=NOTHING_FOLDS)
def test_inputs_and_attributes_that_do_not_fit_are_left_alone_or_refused(model):
    try:
        regions = fuse(model).regions
    except ModelError:
        return
    assert not regions


def test_annotations_that_contradict_each_other_do_not_make_a_fold_look_cheaper_for_ever():
    """Two sizes of one tensor made writing the same nodes again look like a saving."""
    model = build(
        """net (float[1,8,6,4] x) => (float[1,4,8,6] y) {
            t = Transpose<perm=[0,3,1,2]>(x)
            a = Conv<pads=[1,1,1,1]>(t, w)
            y = Mul(a, s)
        }""",
        w=(4, 4, 3, 3),
        s=(4, 1, 1),
    )
    model.graph.value_info.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 3, 1]))
    fusion = fuse(model)
    assert [node.op_type for node in fusion.model.graph.node] == ["Transpose", "Conv"]
    assert_same_outputs(model, fusion.model)
    assert fuse(fusion.model).model is fusion.model


def test_a_reference_to_an_attribute_inside_a_function_is_fine():
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = local.padded<pads=[1,1,1,1]>(x, w)  y = Mul(a, s) }
        <opset_import: ["" : 17], domain: "local">
        padded <pads> (x, w) => (y) { y = Conv<pads: ints = @pads>(x, w) }
    """)
    made = build("net (float x) => (float y) { y = Neg(x) }", w=(4, 4, 3, 3), s=(1,))
    model.graph.initializer.extend(made.graph.initializer)
    fusion = fuse(model)
    assert len(fusion.regions) == 1
    assert_same_outputs(model, fusion.model)


@pytest.mark.parametrize("outer", [1, 2, 3, 4, 6, 12])
@pytest.mark.parametrize("inner", [1, 2, 3, 4, 6, 12])
def test_groups_of_any_two_numbers_compose_as_dense_maps_do(outer, inner):
    rng = np.random.default_rng(outer * 16 + inner)
    first = AffineConv(rng.normal(size=(12, 24 // inner, 2, 1)), group=inner)
    second = AffineConv(rng.normal(size=(36, 12 // outer, 1, 3)), group=outer)
    composed = second.compose(first)
    assert composed.geometry.group == math.gcd(outer, inner)
    expected = second.regroup(1).compose(first.regroup(1)).kernel
    assert np.allclose(composed.regroup(1).kernel, expected, rtol=1e-12, atol=1e-12)


def test_types_that_share_a_letter_in_the_specification_have_to_be_one():
    float_, half, int64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64
    assert have_conflicting_types("Conv", 17, [float_, half])
    assert have_conflicting_types("Sum", 17, [float_, float_, float_, half])
    assert not have_conflicting_types("Sum", 17, [float_, 0, float_])
    assert not have_conflicting_types("BatchNormalization", 17, [half, float_, float_, float_, float_])
    assert have_conflicting_types("BatchNormalization", 9, [half, float_, float_, float_, float_])
    assert not have_conflicting_types("Slice", 17, [float_, int64, int64, int64])
    assert not have_conflicting_types("NoSuchOperator", 17, [float_, half])


def test_sums_of_other_types_are_left_alone():
    model = built("net (float[1,4,5,7] x) => (float y) { a = Conv(x, w)  y = Sum(a, s, t) }", w=(4, 4, 1, 1), s=(1,))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float64([1]), "t"))
    assert_refuses(model, "type")


def test_a_function_that_does_not_say_which_version_of_its_operators_it_means_is_refused():
    """Inlined it would mean something, which as it stands it does not."""
    model = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        net (float[1,4] x) => (float[1,4] y) { y = local.outer(x) }
        <opset_import: ["" : 17, "local" : 1], domain: "local"> inner (x) => (y) { y = Neg(x) }
        <opset_import: ["" : 17, "local" : 1], domain: "local"> outer (x) => (y) { y = local.inner(x) }
    """)
    assert not fuse(model).regions
    del model.functions[1].opset_import[1]
    with pytest.raises(ModelError, match="'outer' that imports no version of 'local'"):
        fuse(model)


@pytest.mark.parametrize(("elem_type", "folds"), [(TensorProto.FLOAT, True), (TensorProto.BFLOAT16, False)])
def test_the_type_of_a_sparse_initializer_counts(elem_type, folds):
    model = built("net (float[1,3,5,7] x) => (float y) { a = Conv(x, w)  y = Mul(a, s) }", w=(4, 3, 1, 1))
    values = helper.make_tensor("s", elem_type, [4], [1, 2, 3, 4])
    indices = helper.make_tensor("indices", TensorProto.INT64, [4], [0, 1, 2, 3])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 1, 1]))
    assert len(fuse(model).regions) == folds
