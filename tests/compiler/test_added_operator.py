"""An operator with a kernel, added from outside: one lifter, one row in the table of what operators multiply."""

from dataclasses import replace

import pytest

from repvgg_onnx import fuse, prove
from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.census import profile
from repvgg_onnx.compiler.lifters import LIFTERS
from repvgg_onnx.compiler.lifters.convolution import CONV_ATTRIBUTES, conv_of
from repvgg_onnx.compiler.lifters.registry import Operands, lifter, the_value
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.macs import PRODUCTS
from repvgg_onnx.graph.view import NodeView
from tests.models import assert_fuses, assert_refuses, assert_same_outputs, batch_norm, build, ops

FUSED_CONV = "com.microsoft.FusedConv"
HEADER = '<ir_version: 10, opset_import: ["" : 17, "com.microsoft" : 1]>'


@pytest.fixture
def einsum(registry):
    """Einsum of an image and a matrix; ONNX's own operator, whose products are counted already."""

    @lifter("Einsum", values=[0], weighs=True, channels_second=True, attributes=["equation"])
    def lift(node: NodeView, operands: Operands, frame: Frame) -> Value:
        value = the_value(operands)
        value.require_channels_first("Einsum")
        if node.attributes["equation"].replace(b" ", b"") != b"nchw,oc->nohw":
            raise LiftError("not-affine", "Einsum does more than mix the channels")
        geometry = Geometry.pointwise(*node.constant_shape(1), 1, value.conv.geometry.rank)
        conv = AffineConv.deferred(geometry, lambda: node.constant(1).reshape(geometry.kernel_dims), word="Einsum")
        return value.through(conv, frame.sizes)

    PRODUCTS["Einsum"] = replace(PRODUCTS["Einsum"], channels=lambda _, matrix: matrix[1])


@pytest.fixture
def fused_conv(registry):
    """onnxruntime's FusedConv without an activation, which is a Conv."""

    @lifter(FUSED_CONV, values=[0], weighs=True, channels_second=True, attributes=CONV_ATTRIBUTES)
    def lift(node: NodeView, operands: Operands, frame: Frame) -> Value:
        value = the_value(operands)
        value.require_channels_first("FusedConv")
        return value.through(conv_of(node), frame.sizes)

    PRODUCTS[FUSED_CONV] = PRODUCTS["Conv"]


def einsum_model(equation="nchw,oc->nohw", matrix=(3, 4), channels=3):
    text = f"""net (float[2,6,5,7] x) => (float[A,B,C,D] y) {{
        a = Conv(x, w)
        b = Einsum<equation="{equation}">(a, m)
        y = BatchNormalization(b, gamma, beta, mean, var)
    }}"""
    return build(text, w=(4, 6, 3, 3), m=matrix, **batch_norm(channels))


def fused_conv_model(attributes="pads=[1,0,1,0]", image="2,6,5,7"):
    text = f"""{HEADER} net (float[{image}] x) => (float[A,B,C,D] y) <float[2,4,5,5] a> {{
        a = com.microsoft.FusedConv<{attributes}>(x, w)
        y = BatchNormalization(a, gamma, beta, mean, var)
    }}"""
    return build(text, w=(4, 6, 3, 3), **batch_norm(4))


def test_an_einsum_of_the_channels_folds_with_what_is_around_it(einsum):
    (region,) = assert_fuses(einsum_model(), ["Conv"]).regions

    assert [member.op_type for member in region.members] == ["Conv", "Einsum", "BatchNormalization"]
    assert region.branches == ("3x3 Conv → Einsum",)


def test_an_added_operator_is_proven_like_the_others(einsum):
    proof = prove(einsum_model())

    assert len(proof.fusion.regions) == 1
    assert not proof.failed


def test_an_einsum_that_mixes_columns_does_not_fold(einsum):
    assert_refuses(einsum_model("nchw,ow->ncho", matrix=(3, 5), channels=4), "not-affine")


def test_undeclared_channels_are_read_from_the_weights_of_an_added_operator(einsum):
    text = """net (float[N,C,H,W] x) => (float[N,K,H,W] y) {
        a = Einsum<equation="nchw,oc->nohw">(x, m)  y = BatchNormalization(a, gamma, beta, mean, var)
    }"""
    model = build(text, m=(3, 4), **batch_norm(3))
    fusion = fuse(model)

    assert ops(fusion.model) == ["Conv"]
    assert_same_outputs(model, fusion.model, x=(2, 4, 5, 7))


def test_an_operator_of_another_domain_folds(fused_conv):
    assert_fuses(fused_conv_model(), ["Conv"])


def test_an_activation_that_the_lifter_does_not_name_does_not_fold(fused_conv):
    assert_refuses(fused_conv_model('activation="Relu"'), "unknown-attribute")


def test_a_row_is_all_that_cost_and_census_need(fused_conv):
    (region,) = fuse(fused_conv_model()).regions

    assert region.cost_before.macs == region.cost_after.macs == 2 * 5 * 5 * 4 * 6 * 9
    assert profile(fused_conv_model()).macs == region.cost_before.macs


def test_without_its_row_an_operator_is_taken_to_cost_nothing(fused_conv):
    del PRODUCTS[FUSED_CONV]

    assert_refuses(fused_conv_model(), "not-cheaper")


def test_what_a_test_adds_is_taken_away_again():
    """And without a lifter nothing of it folds."""
    assert not {"Einsum", FUSED_CONV} & LIFTERS.keys()
    assert FUSED_CONV not in PRODUCTS
    assert_refuses(einsum_model())
    assert_refuses(fused_conv_model())
