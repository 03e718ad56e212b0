import onnx
import pytest

from repvgg_onnx.census.topology import topology
from tests.cli.models import BLOCK, HEADER, filled


def test_every_node_has_its_kernel_and_the_activations_that_it_reads():
    found = topology(filled(BLOCK))

    assert [(name, node.op_type, node.detail, node.inputs) for name, node in found.items()] == [
        ("dense", "Conv", "3x3", ("image",)),
        ("point", "Conv", "1x1", ("image",)),
        ("skip", "BatchNormalization", "", ("image",)),
        ("both", "Add", "", ("dense", "point")),
        ("all", "Add", "", ("both", "skip")),
        ("out", "Relu", "", ("all",)),
    ]


@pytest.mark.parametrize(
    ("attributes", "detail"),
    [
        ("kernel_shape = [3, 3], strides = [2, 2]", "3x3, stride 2"),
        ("kernel_shape = [3, 5], strides = [1, 2], group = 2", "3x5, stride 1x2, group 2"),
        ("dilations = [2, 2]", "3x5, dilation 2"),
    ],
)
def test_what_is_unusual_about_a_convolution_is_said(attributes, detail):
    model = onnx.parser.parse_model(
        f"{HEADER} g (float[1, 4, 9, 11] x) => (float[1, 4, N, M] y)"
        f"<float[4, 2, 3, 5] w> {{ y = Conv <{attributes}> (x, w) }}"
    )
    model.graph.initializer.add(name="w", data_type=1, dims=(4, 2, 3, 5))

    assert topology(model)["y"].detail == detail


def test_constants_are_no_nodes_and_bodies_are_looked_into():
    model = onnx.parser.parse_model(
        f"""{HEADER} g (bool c, float[2] x) => (float[2] y) {{
            k = Constant <value = float[2] {{1.0, 2.0}}> ()
            y = If (c) <
                then_branch = t () => (float[2] a) {{ a = Add (x, k) }},
                else_branch = e () => (float[2] b) {{ b = Relu (x) }}
            >
        }}"""
    )

    found = topology(model)

    assert set(found) == {"y", "a", "b"}
    assert found["a"].inputs == ("x",)
