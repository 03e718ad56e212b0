"""What one run of a model takes: weights, views, functions, graphs inside nodes, dynamic axes."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from repvgg_onnx.census import Layer, Profile, profile
from repvgg_onnx.errors import CheckError, ModelError
from tests.models import build

CONV = """g (float[N, 4, H, 7] x) => (float[N, 6, H, 7] y) {
    c = Conv <pads = [1, 1, 1, 1]> (x, kernel, bias)
    y = Relu (c)
}"""


def conv_model():
    return build(CONV, kernel=(6, 4, 3, 3), bias=(6,))


def by_name(found):
    return {layer.name: layer for layer in found.layers}


def test_every_figure_of_a_convolution():
    found = profile(conv_model(), shapes={"x": (2, 4, 5, 7)})

    x, y, macs, weights = 4 * 2 * 4 * 35, 4 * 2 * 6 * 35, 2 * 6 * 35 * 36, 4 * (6 * 36 + 6)
    assert found == Profile(
        parameters=222,
        peak_activation_bytes=2 * y,
        layers=(
            Layer("c", "Conv", (2, 6, 5, 7), 222, macs, macs * 4 // 9, x, y, weights, x + y),
            Layer("y", "Relu", (2, 6, 5, 7), 0, 0, 0, y, y, 0, 2 * y),
        ),
        inputs={"x": (2, 4, 5, 7)},
    )
    assert (found.macs, found.winograd_multiplications) == (macs, macs * 4 // 9)
    assert (found.activation_bytes_read, found.activation_bytes_written) == (x + y, 2 * y)
    assert found.intensity == macs / found.moved_bytes == macs / (x + 3 * y + weights)


@pytest.mark.parametrize(
    ("shapes", "inputs", "assumed"),
    [
        ({}, {"x": (1, 4, 224, 7)}, ("x",)),
        ({"x": (3, 4, 5, 7)}, {"x": (3, 4, 5, 7)}, ()),
    ],
)
def test_dynamic_axes_are_given_or_assumed(shapes, inputs, assumed):
    found = profile(conv_model(), shapes=shapes)

    assert (found.inputs, found.assumed) == (inputs, assumed)
    assert found.layers[-1].output_shape == (inputs["x"][0], 6, *inputs["x"][2:])


def test_an_axis_that_another_input_decides_is_not_assumed():
    model = build(
        "g (float[N, 5] a, float[N, 5] b, float[M] c) => (float[N, 5] y, float[M] z) {y = Add (a, b) z = Relu (c)}"
    )

    found = profile(model, shapes={"a": (3, 5)})

    assert found.inputs == {"a": (3, 5), "b": (3, 5), "c": (1,)}
    assert found.assumed == ("c",)


def test_a_shape_that_does_not_fit_is_refused():
    with pytest.raises(CheckError, match="does not fit input 'x'"):
        profile(conv_model(), shapes={"x": (1, 3, 5, 7)})


def test_what_is_no_model_is_refused(tmp_path):
    (tmp_path / "no.onnx").write_text("no")

    with pytest.raises(ModelError):
        profile(tmp_path / "no.onnx")


@pytest.mark.parametrize("external", [False, True])
def test_a_file_is_like_its_model_and_its_weights_stay_where_they_are(tmp_path, external, monkeypatch):
    model = build(CONV, kernel=(6, 4, 3, 3), bias=(6,))
    large = build("g (float[5, 300] x) => (float[5, 400] y) {y = MatMul (x, w)}", w=(300, 400))
    for each in (model, large):
        expected = profile(each)
        onnx.save(
            each, tmp_path / "m.onnx", save_as_external_data=external, size_threshold=0, location=f"{id(each)}.bin"
        )
        monkeypatch.setattr("repvgg_onnx.graph.storage.files.TensorFiles.load_all", lambda *_: pytest.fail("loaded"))
        assert profile(tmp_path / "m.onnx") == expected


def test_large_weights_may_be_absent():
    model = build("g (float[5, 300] x) => (float[5, 400] y) {y = MatMul (x, w)}", w=(300, 400))
    model.graph.initializer[0].ClearField("raw_data")

    found = profile(model)

    assert (found.parameters, found.macs, found.weight_bytes) == (120_000, 600_000, 480_000)


def test_the_model_is_not_changed():
    model = conv_model()
    before = model.SerializeToString()

    profile(model, shapes={"x": (2, 4, 5, 7)})

    assert model.SerializeToString() == before


def test_views_move_nothing_and_live_in_the_memory_of_their_input():
    model = build(
        """g (float[2, 4, 5, 7] x) => (float[2, 140] y) <int64[2] shape = {2, 140}, int64[1] axis = {0}> {
            a = Relu (x)
            b = Identity (a)
            c = Unsqueeze (b, axis)
            d = Squeeze (c, axis)
            e, mask = Dropout (d)
            f = Flatten (e)
            g = Reshape (f, shape)
            y = Relu (g)
        }"""
    )

    found = by_name(profile(model))

    size = 4 * 280
    for name in "bcdefg":
        layer = found[name]
        assert (layer.activation_bytes_read, layer.activation_bytes_written, layer.live_bytes) == (0, 0, size)
    assert found["y"].live_bytes == 2 * size


def test_a_dropout_that_makes_a_mask_or_may_train_is_no_view():
    masked = build("g (float[5, 7] x) => (float[5, 7] y, bool[5, 7] m) { y, m = Dropout (x) }")
    assert profile(masked).activation_bytes_written == 35 * 5
    trained = build("g (float[5, 7] x, bool t) => (float[5, 7] y) { y = Dropout (x, , t) }")
    assert profile(trained).activation_bytes_written == 35 * 4


def test_a_view_of_a_view_keeps_the_first_tensor_alive():
    model = build(
        """g (float[5, 7] x) => (float[5, 7] y) {
            a = Relu (x)
            b = Identity (a)
            c = Relu (x)
            y = Add (b, c)
        }"""
    )

    assert by_name(profile(model))["c"].live_bytes == 3 * 140


def test_what_follows_from_constants_is_a_weight_and_no_layer():
    model = build(
        """g (float[5, 7] x) => (float[5, 3] y) {
            half = Constant <value = float[1] {0.5}> ()
            scaled = Mul (w, half)
            turned = Transpose (scaled)
            y = MatMul (x, turned)
        }""",
        w=(3, 7),
    )

    found = profile(model)

    (layer,) = found.layers
    assert (layer.op_type, layer.parameters, layer.weight_bytes) == ("MatMul", 22, 84)
    assert (found.parameters, found.peak_activation_bytes) == (22, 4 * (35 + 15))


def test_random_numbers_are_no_weights():
    model = build("g (float[5, 7] x) => (float[5, 7] y) { n = RandomNormalLike (w) y = Add (x, n) }", w=(5, 7))

    assert [layer.op_type for layer in profile(model).layers] == ["RandomNormalLike", "Add"]


def test_shared_weights_are_parameters_once_and_read_by_everyone():
    model = build(
        """g (float[5, 5] x) => (float[5, 5] y) {
            same = Identity (w)
            a = MatMul (x, w)
            y = MatMul (a, same)
        }""",
        w=(5, 5),
    )

    found = profile(model)

    assert [layer.parameters for layer in found.layers] == [25, 0]
    assert (found.parameters, found.weight_bytes) == (25, 200)


def test_a_tensor_that_a_node_reads_twice_is_read_once():
    assert profile(build("g (float[5, 7] x) => (float[5, 7] y) { y = Mul (x, x) }")).activation_bytes_read == 140


def test_dequantized_weights_are_read_as_they_are_stored():
    model = build(
        """g (float[5, 7] x) => (float[5, 3] y) <float s = {0.5}, int8 z = {0}> {
            q = QuantizeLinear (x, s, z)
            d = DequantizeLinear (q, s, z)
            w = DequantizeLinear (stored, s, z)
            y = MatMul (d, w)
        }""",
        stored=np.ones((7, 3), np.int8),
    )

    found = by_name(profile(model))

    assert list(found) == ["q", "d", "y"]
    assert (found["y"].weight_bytes, found["y"].macs) == (21, 105)
    assert (found["q"].activation_bytes_read, found["q"].activation_bytes_written) == (140, 35)


@pytest.mark.parametrize(("elem_type", "size"), [("FLOAT16", 70), ("DOUBLE", 280), ("INT4", 18), ("BOOL", 35)])
def test_types_have_their_widths(elem_type, size):
    value = helper.make_tensor_value_info("x", TensorProto.DataType.Value(elem_type), (5, 7))
    graph = helper.make_graph([helper.make_node("Transpose", ["x"], ["y"])], "g", [value], [])
    graph.output.append(helper.make_tensor_value_info("y", value.type.tensor_type.elem_type, (7, 5)))
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])

    assert profile(model).activation_bytes_written == size


def test_attention_written_as_products():
    model = build(
        """g (float[N, 5, 8] x) => (float[N, 5, 8] y) <int64[4] heads = {0, 0, 2, 4}, int64[3] joined = {0, 0, 8}> {
            q = MatMul (x, wq)
            q4 = Reshape (q, heads)
            qh = Transpose <perm = [0, 2, 1, 3]> (q4)
            kt = Transpose <perm = [0, 2, 3, 1]> (q4)
            scores = MatMul (qh, kt)
            p = Softmax (scores)
            o = MatMul (p, qh)
            ot = Transpose <perm = [0, 2, 1, 3]> (o)
            oj = Reshape (ot, joined)
            y = MatMul (oj, wq)
        }""",
        wq=(8, 8),
    )

    found = profile(model, shapes={"x": (3, 5, 8)})

    assert found.unknown == ()
    assert found.macs == 3 * (2 * 5 * 8 * 8 + 2 * (2 * 5 * 5 * 4))


FUNCTIONS = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
g (float[5, 7] x) => (float[5, 7] y) {
    a = local.twice (x, w)
    y = local.twice (a, w)
}
<domain: "local", opset_import: ["" : 17]>
twice (x, w) => (y) {
    a = MatMul (x, w)
    y = MatMul (a, w)
}"""


def test_functions_count_at_every_call():
    found = profile(build(FUNCTIONS, w=(7, 7)))

    assert [layer.op_type for layer in found.layers] == ["MatMul"] * 4
    assert (found.macs, found.parameters, found.unknown) == (4 * 5 * 49, 49, ())


def test_a_function_of_another_opset_stays_a_node_that_nobody_knows():
    model = build(FUNCTIONS, w=(7, 7))
    model.functions[0].opset_import[0].version = 13

    found = profile(model)

    assert (found.unknown, found.macs, found.parameters) == (("a", "y"), 0, 49)


LOOP = """g (float[5, 7] x, int64 n, bool c) => (float[5, 3] y) {
    before = Relu (x)
    s = Loop (n, c, x) <body = body (int64 i, bool go, float[5, 7] state) => (bool on, float[5, 7] next) {
        on = Identity (go)
        m = MatMul (state, w)
        next = Add (m, before)
    }>
    y = MatMul (s, v)
}"""


def test_the_body_of_a_loop_counts_once_beside_what_is_around_it():
    model = build(LOOP, w=(7, 7), v=(7, 3))
    model.graph.value_info.append(helper.make_tensor_value_info("s", TensorProto.FLOAT, (5, 7)))

    found = profile(model)

    layers = by_name(found)
    assert list(layers) == ["before", "s", "on", "m", "next", "y"]
    assert (found.subgraphs, found.macs, found.parameters) == (1, 5 * 49 + 105, 49 + 21)
    assert (layers["s"].activation_bytes_read, layers["s"].activation_bytes_written) == (0, 0)
    around = 140 + 140 + 140 + 8 + 1  # x, before, s, n, c
    assert layers["s"].live_bytes == around
    assert layers["m"].live_bytes == around + 140 + 140 + 1  # state, m and the condition
    assert found.peak_activation_bytes == layers["m"].live_bytes


def test_both_branches_count_and_the_peak_is_that_of_the_larger():
    model = build(
        """g (float[5, 7] x, bool c) => (float[5, 7] y) {
            y = If (c) <
                then_branch = then () => (float[5, 7] a) { a = MatMul (x, w) },
                else_branch = other () => (float[5, 7] b) { t = MatMul (x, v) u = Relu (t) b = MatMul (u, z) }
            >
        }""",
        w=(7, 7),
        v=(7, 9),
        z=(9, 7),
    )

    found = profile(model)

    assert found.macs == 5 * 49 + 2 * 5 * 63
    assert found.subgraphs == 2
    assert found.peak_activation_bytes == 140 + 1 + 140 + 2 * 4 * 45


def test_what_follows_from_no_shape_is_left_out_and_named():
    model = build(
        """g (float[5, 7] x) => (float[5, 3] y, int64[2, K] k) {
            y = MatMul (x, w)
            k = NonZero (x)
        }""",
        w=(7, 3),
    )

    found = profile(model)

    assert (found.unknown, found.macs, found.activation_bytes_read) == (("k",), 105, 140)
    assert by_name(found)["k"].output_shape is None


CUSTOM = """<ir_version: 10, opset_import: ["" : 17, "test" : 1]>
g (float[N, 7] x) => (float[N, 3] y) {
    a = test.Any (x)
    y = MatMul (a, w)
}"""


def test_after_an_unknown_operator_the_annotations_count():
    model = build(CUSTOM, w=(7, 3))
    assert profile(model).unknown == ("a", "y")
    model.graph.value_info.append(helper.make_tensor_value_info("a", TensorProto.FLOAT, ("N", 7)))

    found = profile(model, shapes={"x": (5, 7)})

    assert (found.unknown, found.macs) == (("a",), 105)
    assert found.layers[0].op_type == "test.Any"


def test_sparse_and_overridable_weights_are_weights():
    model = build("g (float[5, 7] x, float[7, 3] w) => (float[5, 3] y) { a = MatMul (x, w) y = Add (a, a) }", w=(7, 3))
    model.graph.node[1].input[1] = "b"
    values = helper.make_tensor("b", TensorProto.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [1, 4])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [5, 3]))

    found = profile(model)

    assert (found.inputs, found.unknown, found.parameters) == ({"x": (5, 7)}, (), 23)
    assert [layer.weight_bytes for layer in found.layers] == [84, 8 + 16]


def test_an_input_that_is_the_output_has_no_layer():
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, (5, 7))
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [value], [])
    graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, (5, 7)))
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 17)])

    found = profile(model)

    assert (found.peak_activation_bytes, found.moved_bytes, found.intensity) == (140, 0, 0.0)


def test_an_optional_output_that_nobody_reads_is_not_made():
    model = build(
        """g (float[2, 4, 9, 11] x) => (float[2, 4, 4, 5] y) {
            y, unread = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
        }"""
    )

    assert profile(model).activation_bytes_written == 4 * 2 * 4 * 20
