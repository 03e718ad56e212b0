"""Multiply-adds against what a runtime computes with ones: each product is 1, so the sum of the outputs counts them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from repvgg_onnx.census import profile
from tests.models import build
from tests.oracle import run


def ones_model(op_type, *shapes, **attributes):
    """One node whose inputs are those of the model."""
    names = [f"i{index}" for index in range(len(shapes))]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip(names, shapes, strict=True)
    ]
    graph = helper.make_graph(
        [helper.make_node(op_type, names, ["y"], **attributes)],
        "g",
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])


def products(model):
    """How many products the runtime sums up."""
    feeds = {
        value.name: np.ones([dim.dim_value for dim in value.type.tensor_type.shape.dim], np.float32)
        for value in model.graph.input
    }
    (output,) = run(model, feeds)
    return int(output.astype(np.float64).sum())


@st.composite
def convolutions(draw):
    """Input shape, kernel shape and attributes of a convolution of one to three axes."""
    rank, group = draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 3]))
    kernel = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    size = draw(st.lists(st.integers(5, 9), min_size=rank, max_size=rank))
    attributes = {
        "strides": draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)),
        "dilations": draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)),
        "pads": draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank)),
        "group": group,
    }
    c_in, c_out = group * draw(st.integers(1, 2)), group * draw(st.integers(1, 3))
    return (draw(st.integers(1, 2)), c_in, *size), (c_out, c_in // group, *kernel), attributes


@given(convolutions())
@settings(max_examples=60, deadline=None)
def test_convolutions_multiply_at_every_position_and_in_the_padding(case):
    image, kernel, attributes = case
    rank = len(image) - 2
    pads = attributes["pads"]
    padded = (*image[:2], *(size + pads[i] + pads[i + rank] for i, size in enumerate(image[2:])))

    expected = products(ones_model("Conv", padded, kernel, **(attributes | {"pads": [0] * 2 * rank})))

    assert profile(ones_model("Conv", image, kernel, **attributes)).macs == expected


@given(convolutions())
@settings(max_examples=30, deadline=None)
def test_transposed_convolutions_spread_every_element(case):
    image, kernel, attributes = case
    group = attributes["group"]
    model = ones_model(
        "ConvTranspose",
        (image[0], kernel[0], *image[2:]),
        kernel,
        strides=attributes["strides"],
        dilations=attributes["dilations"],
        group=group,
    )

    assert profile(model).macs == products(model)


@pytest.mark.parametrize(
    "model",
    [
        ones_model("MatMul", (5, 7), (7, 3)),
        ones_model("MatMul", (2, 1, 5, 7), (3, 7, 4)),
        ones_model("MatMul", (7,), (7, 3)),
        ones_model("MatMul", (5, 7), (7,)),
        ones_model("MatMul", (7,), (7,)),
        ones_model("Gemm", (5, 7), (7, 3)),
        ones_model("Gemm", (7, 5), (3, 7), transA=1, transB=1),
        ones_model("Einsum", (2, 5, 7), (2, 7, 3), equation="bij,bjk->bik"),
        ones_model("Einsum", (2, 5, 3, 7), (2, 4, 3, 7), equation="bihd, bjhd -> bhij"),
        ones_model("Einsum", (3, 5, 7), (3, 7, 4), equation="...ij,...jk"),
    ],
    ids=lambda model: str(model.graph.node[0].op_type),
)
def test_matrix_products(model):
    assert profile(model).macs == products(model)


def test_one_factor_is_no_product_and_three_are_two():
    assert profile(ones_model("Einsum", (5, 7), equation="ij->ji")).macs == 0
    assert profile(ones_model("Einsum", (5,), (7,), (3,), equation="i,j,k->ijk")).macs == 2 * 5 * 7 * 3


@pytest.mark.parametrize(("op_type", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent_layers_apply_both_matrices_at_every_step(op_type, gates):
    hidden, channels, steps, batch = 6, 4, 5, 2
    matrices = ((2, gates * hidden, channels), (2, gates * hidden, hidden))
    model = ones_model(op_type, (steps, batch, channels), *matrices, hidden_size=hidden, direction="bidirectional")

    assert profile(model).macs == steps * batch * 2 * gates * hidden * (channels + hidden)


def test_attention_counts_scores_and_values():
    model = ones_model("Attention", (2, 3, 5, 8), (2, 3, 7, 8), (2, 3, 7, 4))
    model.opset_import[0].version = 23

    assert profile(model).macs == 2 * 3 * 5 * 7 * (8 + 4)


def test_integer_forms_count_like_the_others():
    model = build(
        """g (uint8[1, 4, 5, 7] x, uint8[7, 3] m) => (int32[1, 4, 5, 3] y, int32[1, 6, 5, 7] z, uint8[1, 6, 5, 7] q)
        <float s = {0.5}, uint8 o = {3}> {
            y = MatMulInteger (x, m)
            z = ConvInteger <pads = [1, 1, 1, 1]> (x, kernel)
            q = QLinearConv <pads = [1, 1, 1, 1]> (x, s, o, kernel, s, o, s, o)
        }""",
        kernel=np.ones((6, 4, 3, 3), np.uint8),
    )

    conv = 6 * 5 * 7 * 4 * 9
    assert [layer.macs for layer in profile(model).layers] == [4 * 5 * 7 * 3, conv, conv]
    assert [layer.winograd_multiplications for layer in profile(model).layers] == [420, conv * 4 // 9, conv * 4 // 9]


@pytest.mark.parametrize(
    ("kernel", "attributes", "ninths"),
    [
        ((6, 4, 3, 3), {}, 4),
        ((6, 2, 3, 3), {"group": 2}, 4),
        ((4, 1, 3, 3), {"group": 4}, 4),
        ((6, 4, 3, 3), {"strides": [1, 1], "dilations": [1, 1]}, 4),
        ((6, 4, 3, 3), {"strides": [2, 1]}, 9),
        ((6, 4, 3, 3), {"strides": [2, 2]}, 9),
        ((6, 4, 3, 3), {"dilations": [1, 2]}, 9),
        ((6, 4, 1, 1), {}, 9),
        ((6, 4, 1, 3), {}, 9),
        ((6, 4, 5, 5), {}, 9),
    ],
)
def test_winograd_takes_four_ninths_of_plain_three_by_three_convolutions(kernel, attributes, ninths):
    found = profile(ones_model("Conv", (1, 4, 9, 11), kernel, **attributes))

    assert found.winograd_multiplications * 9 == found.macs * ninths > 0


def test_a_three_by_three_transposed_convolution_is_none():
    found = profile(ones_model("ConvTranspose", (1, 4, 9, 11), (4, 6, 3, 3)))

    assert found.winograd_multiplications == found.macs > 0


def test_element_wise_operators_multiply_nothing():
    assert profile(ones_model("Mul", (5, 7), (5, 7))).macs == 0


def test_shapes_that_the_operator_does_not_take_are_not_known():
    model = ones_model("MatMul", (), (7, 3))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, (5, 3)))

    found = profile(model)

    assert (found.unknown, found.macs) == (("y",), 0)
