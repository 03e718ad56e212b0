import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from repvgg_onnx.census import census

HEADER = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>'
BRANCHING = f"""{HEADER}
net (bool c, float[5, 7] x) => (float[5, 7] y)
<float[7] gain = {{1, 2, 3, 4, 5, 6, 7}}, int64[2] shape = {{5, 7}}, float16[3, 2] spare = {{1, 2, 3, 4, 5, 6}}>
{{
    half = Constant <value = float[1] {{0.5}}> ()
    y = If (c) <
        then_branch = then () => (float[5, 7] a) {{
            two = Constant <value_float = 2.0> ()
            a = Mul (x, two)
        }},
        else_branch = other () => (float[5, 7] b)
        <float[1, 7] offset = {{1, 2, 3, 4, 5, 6, 7}}>
        {{
            sum = Add (x, offset)
            b = Mul (sum, half)
        }}
    >
}}"""


def test_subgraphs_constants_and_initializers_count():
    found = census(onnx.parser.parse_model(BRANCHING))

    assert found.nodes_by_op == {"Add": 1, "Constant": 2, "If": 1, "Mul": 2}
    assert found.nodes == 6
    assert found.parameters == 7 + 6 + 1 + 1 + 7
    assert found.tensor_bytes == 7 * 4 + 2 * 8 + 6 * 2 + 4 + 4 + 7 * 4


def test_functions_count_once_and_other_domains_are_named():
    model = onnx.parser.parse_model(
        f"""{HEADER[:-2]}, "local" : 1]>
        net (float[5, 7] x) => (float[5, 7] y) {{
            a = local.twice (x)
            b = local.twice (a)
            y = com.microsoft.Gelu (b)
        }}
        <domain: "local", opset_import: ["" : 17]>
        twice (x) => (y) {{
            two = Constant <value = float[1] {{2.0}}> ()
            y = Mul (x, two)
        }}"""
    )

    assert census(model).nodes_by_op == {"Constant": 1, "Mul": 1, "com.microsoft.Gelu": 1, "local.twice": 2}
    assert census(model).parameters == 1


@pytest.mark.parametrize(
    ("name", "parameters", "tensor_bytes"),
    [
        ("FLOAT", 6, 24),
        ("DOUBLE", 6, 48),
        ("FLOAT16", 6, 12),
        ("BFLOAT16", 6, 12),
        ("FLOAT8E4M3FN", 6, 6),
        ("INT8", 0, 6),
        ("INT64", 0, 48),
        ("STRING", 0, 0),
    ],
)
def test_only_floating_point_elements_are_parameters(name, parameters, tensor_bytes):
    model = onnx.ModelProto()
    model.graph.initializer.add(dims=[3, 2], data_type=TensorProto.DataType.Value(name))

    assert (census(model).parameters, census(model).tensor_bytes) == (parameters, tensor_bytes)


def test_unknown_types_are_no_error():
    model = onnx.ModelProto()
    model.graph.initializer.add(dims=[3, 2], data_type=999)

    assert census(model).tensor_bytes == 0


def test_of_sparse_tensors_the_stored_values_count():
    values = numpy_helper.from_array(np.ones(3, np.float32), "w")
    sparse = helper.make_sparse_tensor(values, numpy_helper.from_array(np.arange(3)), [40, 50])
    model = onnx.parser.parse_model(f"{HEADER} net (float[2] x) => (float[2] y) {{ y = Relu (x) }}")
    model.graph.sparse_initializer.append(sparse)
    model.graph.node.append(helper.make_node("Constant", [], ["c"], sparse_value=sparse))

    assert census(model).parameters == 6


def test_lists_of_floats_count_and_integers_do_not():
    model = onnx.parser.parse_model(
        f"""{HEADER} net (float[2] x) => (float[2] y) {{
            a = Constant <value_floats = [1.0, 2.0]> ()
            n = Constant <value_ints = [1, 2, 3]> ()
            y = Add (x, a)
        }}"""
    )

    assert census(model).parameters == 2


def test_attributes_of_other_nodes_are_no_parameters():
    model = onnx.parser.parse_model(f"{HEADER} net (float[2] x) => (float[2] y) {{ y = LeakyRelu <alpha = 0.1> (x) }}")

    assert census(model).parameters == 0


def test_weights_may_be_absent():
    model = onnx.parser.parse_model(f"{HEADER} net (float[2] x) => (float[2] y) {{ y = Relu (x) }}")
    model.graph.initializer.add(dims=[1000, 1000, 1000], data_type=TensorProto.FLOAT)

    assert census(model).parameters == 10**9


def test_an_empty_model_has_nothing():
    found = census(onnx.ModelProto())

    assert (found.nodes, found.parameters, found.tensor_bytes) == (0, 0, 0)


def test_deeply_nested_subgraphs_are_no_recursion():
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [], [])
    for _ in range(30):
        graph = helper.make_graph([helper.make_node("If", ["c"], ["y"], then_branch=graph)], "g", [], [])

    assert census(onnx.ModelProto(graph=graph)).nodes_by_op == {"If": 30, "Relu": 1}
