import re
import shlex
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from repvgg_onnx.errors import CheckError
from repvgg_onnx.serving.findings import ADVICE, Severity
from repvgg_onnx.serving.tensorrt import check_tensorrt, trtexec_command
from repvgg_onnx.serving.tensorrt_operators import RESTRICTIONS, TYPES

from .models import conv, parsed

HEADER_OF_TWO_DOMAINS = '<ir_version: 8, opset_import: ["" : 17, "com.acme" : 1]>'


def found(model, **options):
    """Severity, code and subject of every finding."""
    check = check_tensorrt(model, "net.onnx", **options)
    return [(finding.severity.value, finding.code, finding.subject) for finding in check.findings]


def one(body, shapes="(float[2, 4, 5, 7] x) => (float[2, 4, 5, 7] y)", opset=17):
    """Findings about a graph of fixed sizes."""
    return found(parsed(f"g {shapes} {{ {body} }}", f'<ir_version: 8, opset_import: ["" : {opset}]>'))


def test_a_plain_network_is_taken():
    check = check_tensorrt(conv(), "net.onnx", {"image": (8, 4, 5, 7)})

    assert check.passed
    assert check.findings == ()


def test_the_command_has_a_profile_from_one_example_to_the_batch():
    command = trtexec_command(conv(width="W"), "out/net.onnx", {"image": (8, 4, 5, 9)})

    assert shlex.split(command) == [
        "trtexec",
        "--onnx=out/net.onnx",
        "--saveEngine=out/net.plan",
        "--minShapes=image:1x4x5x9",
        "--optShapes=image:8x4x5x9",
        "--maxShapes=image:8x4x5x9",
    ]


def test_a_network_of_fixed_sizes_needs_no_profile():
    assert trtexec_command(conv(batch="2"), "net.onnx", {}) == "trtexec --onnx=net.onnx --saveEngine=net.plan"


def test_only_inputs_with_dynamic_axes_are_in_the_profile():
    model = parsed("g (float[N, 3] x, float[2, 3] s) => (float[N, 3] y) { y = MatMul (x, s) }")

    assert "--maxShapes=x:8x3" in shlex.split(trtexec_command(model, "net.onnx", {"x": (8, 3)}))


def test_names_and_paths_survive_the_shell_and_trtexec():
    model = conv()
    model.graph.input[0].name = model.graph.node[0].input[0] = "image:0"

    words = shlex.split(trtexec_command(model, "my net.onnx", {"image:0": (8, 4, 5, 7)}))

    assert words[1] == "--onnx=my net.onnx"
    assert words[-1] == "--maxShapes='image:0':8x4x5x7"


def test_a_shape_that_does_not_fit_is_an_error():
    with pytest.raises(CheckError, match="does not fit"):
        check_tensorrt(conv(), "net.onnx", {"image": (8, 3, 5, 7)})


def test_sizes_that_nobody_gave_are_a_warning():
    check = check_tensorrt(conv(), "net.onnx")

    assert check.passed
    assert [(finding.code, finding.subject) for finding in check.findings] == [("assumed-sizes", "image")]


@pytest.mark.parametrize(("opset", "expected"), [(8, 1), (9, 0), (17, 0), (24, 0), (25, 1)])
def test_the_opset_has_to_be_one_that_the_parser_knows(opset, expected):
    codes = one("y = Relu (x)", opset=opset)

    assert codes == [("error", "opset", "")] * expected


def test_an_operator_that_is_not_supported_is_named_once_with_its_number():
    model = parsed("g (float[4] x) => (float[N] z) { y = Unique (x) z = Unique (y) }")
    model.graph.node[0].name, model.graph.node[1].name = "first", "second"

    check = check_tensorrt(model, "net.onnx")

    (finding,) = check.findings
    assert not check.passed
    assert finding.sentence == "Unique is not supported (first, and 1 more)"


def test_an_operator_of_another_domain_is_not_listed():
    model = parsed("g (float[2] x) => (float[2] y) { y = com.acme.Frob (x) }", HEADER_OF_TWO_DOMAINS)

    check = check_tensorrt(model, "net.onnx")

    assert [(finding.code, finding.sentence) for finding in check.findings] == [
        ("not-listed", "com.acme.Frob is not an operator that it lists (y)")
    ]


def test_functions_are_looked_into_and_not_refused():
    text = """
        g (float[2] x) => (float[2] y) { y = com.acme.act (x) }
        <domain: "com.acme", opset_import: ["" : 17]> act (a) => (b) { b = Compress (a, a) }
    """
    model = parsed(text, HEADER_OF_TWO_DOMAINS)

    assert found(model) == [("error", "unsupported", "b")]


def test_branches_are_looked_into():
    then = helper.make_graph([helper.make_node("Unique", ["x"], ["a"])], "then", [], [_value("a")])
    other = helper.make_graph([helper.make_node("Relu", ["x"], ["b"])], "else", [], [_value("b")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    condition = helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, ())
    graph = helper.make_graph([node], "g", [condition, _value("x")], [_value("y")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    assert ("error", "unsupported", "a") in found(model)


def _value(name):
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)


def test_types_of_inputs_and_outputs():
    assert ("error", "unsupported-type", "x") in one("y = Identity (x)", "(uint16[2] x) => (uint16[2] y)")
    assert one("y = Cast <to = 1> (x)", "(uint8[2] x) => (float[2] y)") == []


def test_types_inside():
    body = "i = Cast <to = 5> (x) j = Add (i, i) y = Cast <to = 1> (j)"

    assert {code for _, code, _ in one(body)} == {"unsupported-type"}


def test_double_is_a_warning():
    check = check_tensorrt(conv(kind="double"), "net.onnx", {"image": (8, 4, 5, 7)})

    assert check.passed
    assert [finding.code for finding in check.findings] == ["double"]


def test_where_is_judged_by_what_it_chooses_from():
    text = "c = Greater (x, x) y = Where (c, x, x)"

    assert one(text) == []


def test_defaults_that_a_caller_may_override_are_a_warning():
    model = conv(batch="2")
    model.graph.input.append(helper.make_tensor_value_info("kernel", onnx.TensorProto.FLOAT, (6, 4, 5, 5)))

    assert found(model) == [("warning", "overridable", "kernel")]


def test_weights_that_are_computed_are_a_warning():
    model = conv(batch="2")
    model.graph.initializer[0].name = "stored"
    model.graph.node.insert(0, helper.make_node("Neg", ["stored"], ["kernel"]))

    assert found(model) == [("warning", "computed-weights", "out")]


def test_side_files_are_a_warning():
    assert found(conv(batch="2"), has_sides=True) == [("warning", "side-files", "")]


POOLED = "(float[2, 4, 6, 8] x) => (float[2, 4, 5, 7] y)"


@pytest.mark.parametrize(
    ("body", "shapes", "expected"),
    [
        ("y = MaxPool <kernel_shape = [2, 2]> (x)", POOLED, []),
        ("y, i = MaxPool <kernel_shape = [2, 2]> (x)", POOLED, ["error"]),
        (
            "y = MaxPool <kernel_shape = [2, 2], dilations = [2, 2]> (x)",
            "(float[2, 4, 7, 9] x) => (float[2, 4, 5, 7] y)",
            ["error"],
        ),
        ("y = AveragePool <kernel_shape = [2]> (x)", "(float[2, 4, 6] x) => (float[2, 4, 5] y)", ["error"]),
        ("y = LpPool <kernel_shape = [2, 2]> (x)", POOLED, []),
        ("y = Dropout (x)", "(float[2] x) => (float[2] y)", []),
        ("y = ReduceMean <axes = [1]> (x)", "(float[2, 4] x) => (float[2, 1] y)", []),
        ("y = LayerNormalization (x, s)", "(float[2, 4] x, float[4] s) => (float[2, 4] y)", []),
        ("y, m = LayerNormalization (x, s)", "(float[2, 4] x, float[4] s) => (float[2, 4] y)", ["error"]),
        ("y = GridSample (x, g)", "(float[2, 4, 5, 7] x, float[2, 3, 6, 2] g) => (float[2, 4, 3, 6] y)", []),
        ("y = EyeLike (x)", "(float[2, 4] x) => (float[2, 4] y)", ["warning"]),
        ("y = Squeeze (x, a)", "(float[2, 1] x, int64[1] a) => (float[2] y)", ["warning"]),
    ],
)
def test_restrictions(body, shapes, expected):
    assert [severity for severity, code, _ in one(body, shapes) if code == "restricted"] == expected


@pytest.mark.parametrize(("zero", "expected"), [(0, []), (3, ["error"])])
def test_zero_points_have_to_be_zero(zero, expected):
    model = parsed(
        "g (float[2, 3] x) => (float[2, 3] y) { q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "s"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(zero, np.int8), "z"))

    assert [severity for severity, code, _ in found(model)] == expected * 2


@pytest.mark.parametrize(("count", "order", "expected"), [(5, 1, []), (4000, 1, ["error"]), (5, 0, ["error"])])
def test_topk_is_sorted_and_small(count, order, expected):
    shapes = "(float[2, 5000] x) => (float[2, K] y, int64[2, K] i)"
    model = parsed(f"g {shapes} {{ y, i = TopK <sorted = {order}> (x, k) }}")
    model.graph.initializer.append(numpy_helper.from_array(np.array([count], np.int64), "k"))

    assert [severity for severity, _, _ in found(model)] == expected


@pytest.mark.parametrize(
    ("attributes", "expected"), [('mode = "linear"', []), ('mode = "cubic"', ["error"]), ("antialias = 1", ["error"])]
)
def test_resize_modes(attributes, expected):
    shapes = "(float[2, 4, 5, 7] x) => (float[2, 4, 10, 14] y)"
    header = '<ir_version: 8, opset_import: ["" : 18]>'
    model = parsed(f"g {shapes} {{ y = Resize <{attributes}> (x, , s) }}", header)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "s"))

    assert [severity for severity, _, _ in found(model)] == expected


def test_problems_stand_before_warnings():
    severities = [severity for severity, _, _ in found(conv(kind="double"), has_sides=True)]

    assert severities == sorted(severities)
    assert set(severities) == {"warning"}
    assert found(parsed("g (float[N] x) => (float[N] y) { y = Unique (x) }"))[0][0] == "error"


def test_the_table_is_about_operators_that_exist():
    older = {"ImageScaler", "ParametricSoftplus", "ScaledTanh"}  # of ONNX's experimental days

    assert {op_type for op_type in TYPES if not onnx.defs.has(op_type)} <= older
    assert set(RESTRICTIONS) <= TYPES.keys()
    known = set(onnx.TensorProto.DataType.keys())
    assert set().union(*TYPES.values()) <= known


def test_every_code_has_advice():
    assert list(ADVICE) == sorted(ADVICE)
    assert {Severity.ERROR.value, Severity.WARNING.value} == {"error", "warning"}


def test_the_readme_says_what_the_advice_says():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| (?:error|warning)[^|]*\| (.*) \|$", readme, re.MULTILINE)

    assert dict(rows) == ADVICE
