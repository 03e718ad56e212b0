"""What onnxruntime loads and onnx's own checker does not: read, folded, and still right."""

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from repvgg_onnx import ModelError, fuse
from repvgg_onnx.graph.limits import check_limits
from repvgg_onnx.graph.load import load_model, open_model
from repvgg_onnx.graph.order import sort_nodes, unsorted_graphs
from tests.models import build, feeds, ops, weights_of
from tests.oracle import error, run

TEXT = "net (float[1,4,5,7] x) => (float[1,6,5,7] y) { c = Conv(x, k)  m = Mul(c, g)  y = Relu(m) }"
WEIGHTS = {"k": (6, 4, 1, 1), "g": (6, 1, 1)}


def scaled():
    return build(TEXT, **WEIGHTS)


def assert_folds(model, expected=("Conv", "Relu")):
    """onnxruntime loads the model and what is made of it, and both compute the same."""
    before = model.SerializeToString(deterministic=True)
    fusion = fuse(model)
    assert model.SerializeToString(deterministic=True) == before
    assert ops(fusion.model) == list(expected)
    given = feeds(model)
    for level in ("disabled", "all"):
        for want, got in zip(run(model, given, level), run(fusion.model, given, level), strict=True):
            assert error(want, got) <= 1e-6
    return fusion.model


def reverse(model):
    model.graph.node.reverse()


def untyped_value_info(model):
    model.graph.value_info.add(name="c")


def twice_told(model):
    for _ in range(2):
        model.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, None))


def stale_shape(model):
    model.graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, [9, 9]))


def untyped_output(model):
    model.graph.output[0].ClearField("type")


def no_graph_name(model):
    model.graph.name = ""


def no_node_names(model):
    for node in model.graph.node:
        node.name = ""


def unused_initializer(model):
    model.graph.initializer.add(name="unused", data_type=TensorProto.FLOAT, dims=[1], float_data=[1.0])


def nameless_initializer(model):
    model.graph.initializer.add(data_type=TensorProto.FLOAT, dims=[1], float_data=[1.0])


def opset_twice(model):
    model.opset_import.append(helper.make_opsetid("", 17))


def same_metadata_twice(model):
    for _ in range(2):
        model.metadata_props.add(key="a", value="b")


@pytest.mark.parametrize(
    "change",
    [
        reverse,
        untyped_value_info,
        twice_told,
        stale_shape,
        untyped_output,
        no_graph_name,
        no_node_names,
        unused_initializer,
        nameless_initializer,
        opset_twice,
        same_metadata_twice,
    ],
)
def test_what_the_runtime_loads_is_folded(change):
    model = scaled()
    change(model)
    assert_folds(model)


@pytest.mark.parametrize(
    ("domain", "op_type", "attributes"),
    [("com.microsoft", "FastGelu", {}), ("ai.onnx.ml", "Scaler", {"scale": [2.0], "offset": [1.0]})],
)
def test_domains_of_the_runtime_need_no_import(domain, op_type, attributes):
    model = scaled()
    model.graph.node[2].CopyFrom(helper.make_node(op_type, ["m"], ["y"], domain=domain, **attributes))
    imports = list(model.opset_import)

    fused = assert_folds(model, ("Conv", op_type))

    assert list(fused.opset_import) == imports


def test_a_domain_that_nobody_knows_needs_one():
    model = scaled()
    model.graph.node[2].CopyFrom(helper.make_node("Thing", ["m"], ["y"], domain="com.example"))
    with pytest.raises(ModelError, match=r"com\.example"):
        fuse(model)


def test_the_output_is_sorted_and_what_was_sorted_keeps_its_order():
    model = scaled()
    extra = [helper.make_node("Neg", ["x"], [name], name=name) for name in ("n1", "n2")]
    model.graph.node.extend(extra)
    model.graph.node.reverse()
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("n1", "n2"))

    fused = assert_folds(model, ("Neg", "Neg", "Conv", "Relu"))

    assert [node.name for node in fused.graph.node][:2] == ["n2", "n1"]
    assert unsorted_graphs(fused) == []


def test_subgraphs_are_sorted_and_their_captures_come_first():
    text = """net (float[1,4,5,7] x, bool flag) => (float[1,4,5,7] y) {
        y = If(flag) <
            then_branch = inner () => (float[1,4,5,7] t) { r = Neg(c)  t = Abs(r) },
            else_branch = other () => (float[1,4,5,7] e) { e = Neg(x) }
        >
        c = Relu(x)
    }"""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]>{text}')
    branch = model.graph.node[0].attribute[0].g
    branch.node.reverse()
    assert len(unsorted_graphs(model)) == 2

    loaded = load_model(model)

    assert ops(loaded) == ["Relu", "If"]
    assert [node.op_type for node in loaded.graph.node[1].attribute[0].g.node] == ["Neg", "Abs"]
    onnx.checker.check_model(loaded)
    assert ops(model) == ["If", "Relu"]  # it was not ours to change


def test_a_sorted_model_is_returned_as_it_is_and_a_circle_is_left_alone():
    model = scaled()
    assert load_model(model) is model
    model.graph.node[0].input[0] = "y"
    before = copy.deepcopy(model)
    sort_nodes(model.graph)
    assert model == before
    with pytest.raises(ModelError, match="topologically sorted"):
        fuse(model)


def test_nothing_to_fold_in_an_unsorted_model_gives_the_very_model():
    model = build("net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Relu(x)  y = Neg(a) }")
    model.graph.node.reverse()
    assert fuse(model).model is model


def test_a_file_is_sorted_too(tmp_path):
    model = scaled()
    model.graph.node.reverse()
    onnx.save(model, tmp_path / "model.onnx")
    assert ops(open_model(tmp_path / "model.onnx").model) == ["Conv", "Mul", "Relu"]


BEFORE_4 = "net (float[1,4,5,7] x, float[6,4,1,1] k, float[6,1,1] g) => (float[1,6,5,7] y) {{ c = Conv(x, k) {} }}"


@pytest.mark.parametrize("ir_version", [3, 4])
def test_before_ir_version_4_initializers_are_constants(ir_version):
    model = build(BEFORE_4.format("m = Mul(c, g) y = Relu(m)"), ir_version=ir_version, **WEIGHTS)
    if ir_version == 4:
        fusion = fuse(model)
        assert fusion.model is model
        assert {refusal.code for refusal in fusion.refusals} == {"overridable"}
        return
    fused = assert_folds(model, ("Constant", "Constant", "Conv", "Relu"))
    assert fused.ir_version == 3
    assert [value.name for value in fused.graph.input] == ["x"]
    assert weights_of(fused) == {}
    onnx.checker.check_model(fused)


def test_what_is_still_read_stays_among_the_inputs_of_ir_version_3():
    model = build(BEFORE_4.format("m = Mul(c, g) n = Relu(m) y = Mul(n, g)"), ir_version=3, **WEIGHTS)
    fused = assert_folds(model, ("Constant", "Constant", "Conv", "Relu", "Mul"))
    assert [value.name for value in fused.graph.input] == ["x", "g"]
    assert np.array_equal(weights_of(fused)["g"], weights_of(model)["g"])


def test_an_input_that_nothing_read_stays():
    model = build(
        BEFORE_4.format("m = Mul(c, g) y = Relu(m)").replace("float[6,1,1] g", "float[6,1,1] g, float[2] z"),
        ir_version=3,
        z=(2,),
        **WEIGHTS,
    )
    assert [value.name for value in fuse(model).model.graph.input] == ["x", "z"]


def einsum(equation):
    model = build("net (float[2,3] x) => (float[M,N] y) { y = Relu(x) }")
    model.graph.node[0].CopyFrom(helper.make_node("Einsum", ["x"], ["y"], equation=equation))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


@pytest.mark.parametrize("equation", ["....->...", "a.", "ab..., .b", "> - ", ">11b-", "a->b->c", "a1->a"])
def test_an_einsum_that_inference_may_hang_on_is_refused(equation):
    with pytest.raises(ModelError, match="Einsum of the equation"):
        fuse(einsum(equation))


@pytest.mark.parametrize("equation", ["...->...", "ij", "ij->", " iJ -> Ji ", "a...->...a", "...a", "aa", "ij,jk->ik"])
def test_an_equation_that_is_valid_is_not(equation):
    check_limits(einsum(equation))  # what its operands are is looked at elsewhere


def test_the_equation_of_a_function_is_its_callers():
    body = onnx.parser.parse_function(
        '<opset_import: ["" : 17], domain: "local"> f <equation> (x) => (y) '
        "{ y = Einsum <equation: string = @equation> (x) }"
    )
    for equation, fits in (("i->i", True), ("....->...", False)):
        call = helper.make_node("f", ["x"], ["y"], domain="local", equation=equation)
        value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
        result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph([call], "g", [value], [result])
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        model = helper.make_model(graph, functions=[body], opset_imports=imports, ir_version=9)
        if fits:
            assert fuse(model).model is model
        else:
            with pytest.raises(ModelError, match="Einsum of the equation"):
                fuse(model)
