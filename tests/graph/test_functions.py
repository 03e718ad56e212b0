"""Model-local functions: inlined where a Conv is inside, left alone elsewhere."""

import onnx
import pytest

from repvgg_onnx import ModelError, fuse
from repvgg_onnx.graph.normalize import inline_functions
from tests.models import WORST, assert_fuses, assert_same_outputs, build, feeds, ops
from tests.oracle import error, run

CONV = frozenset({"Conv"})
HEADER = '<ir_version: 10, opset_import: ["" : 17, "local" : 1]>'
SIGNATURE = HEADER + "net (float[1,4,5,7] x) => (float[N,4,H,W] y)"


def with_functions(body: str, *functions: str, **weights) -> onnx.ModelProto:
    headed = "".join(f'<domain: "local", opset_import: ["" : 17, "local" : 1]> {text}\n' for text in functions)
    return build(f"{SIGNATURE} {{ {body} }}\n{headed}", **weights)


def functions_of(model: onnx.ModelProto) -> list[str]:
    return [function.name for function in model.functions]


def test_a_function_whose_weights_are_arguments_is_inlined():
    model = with_functions(
        "a = local.Scaled(x, w, s)  y = Add(a, x)",
        "Scaled (p, q, r) => (z) { t = Conv(p, q)  z = Mul(t, r) }",
        w=(4, 4, 1, 1),
        s=(4, 1, 1),
    )
    assert_fuses(model, ["Conv"])


def test_functions_are_inlined_however_deep():
    model = with_functions(
        "a = local.Outer(x, w)  y = Mul(a, s)",
        "Inner (p, q) => (z) { z = Conv(p, q) }",
        "Middle (p, q) => (z) { t = local.Inner(p, q)  z = Neg(t) }",
        "Outer (p, q) => (z) { t = local.Middle(p, q)  z = Identity(t) }",
        w=(4, 4, 1, 1),
        s=(1,),
    )
    fusion = assert_fuses(model, ["Conv"])
    assert not fusion.model.functions


def test_two_calls_of_one_function_do_not_share_names():
    model = with_functions(
        "a = local.Block(x, w, s)  r = Relu(a)  y = local.Block(r, w, s)",
        "Block (p, q, g) => (z) { t = Conv(p, q)  z = Mul(t, g) }",
        w=(4, 4, 1, 1),
        s=(1,),
    )
    assert_fuses(model, ["Conv", "Relu", "Conv"])


def test_attribute_parameters_reach_the_convolution():
    model = with_functions(
        "a = local.Strided<step=[1, 2]>(x, w)  y = Mul(a, s)",
        "Strided <step> (p, q) => (z) { z = Conv<strides: ints = @step, pads=[0, 3, 0, 4]>(p, q) }",
        w=(4, 4, 1, 1),
        s=(1,),
    )
    fusion = assert_fuses(model, ["Conv"])
    assert fusion.regions[0].strides == (1, 2)


def test_a_function_without_convolution_stays_and_so_does_the_model_without_a_fold():
    model = with_functions("y = local.Twice(x)", "Twice (p) => (z) { t = Relu(p)  z = Add(t, t) }")
    assert inline_functions(model, CONV) is model
    assert fuse(model).model is model


def test_a_function_in_which_nothing_folds_survives_a_fold_elsewhere():
    model = with_functions(
        "a = Conv(x, w)  b = Mul(a, s)  y = local.Twice(b)",
        "Twice (p) => (z) { t = Relu(p)  z = Add(t, t) }",
        w=(4, 4, 1, 1),
        s=(1,),
    )
    fused = fuse(model).model
    assert functions_of(fused) == ["Twice"]
    assert ops(fused) == ["Conv", "Twice"]
    assert_same_outputs(model, fused)


def test_nothing_folds_in_the_inlined_function_and_the_model_is_the_input():
    model = with_functions("y = local.Only(x, w)", "Only (p, q) => (z) { z = Conv(p, q) }", w=(4, 4, 1, 1))
    assert fuse(model).model is model
    assert functions_of(inline_functions(model, CONV)) == []
    assert functions_of(model) == ["Only"]


def test_a_function_of_another_opset_is_no_reason_to_give_up():
    text = f"""{SIGNATURE} {{ a = Conv(x, w)  b = Mul(a, s)  y = local.Old(b, w) }}
        <domain: "local", opset_import: ["" : 11]> Old (p, q) => (z) {{ z = Conv(p, q) }}"""
    model = build(text, w=(4, 4, 1, 1), s=(1,))
    assert_same_outputs(model, fuse(model).model)


@pytest.mark.parametrize("version", [9, 13, 14])
def test_a_function_whose_operators_have_another_version_is_left_alone(version):
    text = f"""{HEADER}net (float[1,4,5,7] x) => (float[1,4,5,7] y) {{
            a = Conv(x, w)  b = Mul(a, s)  c = local.Old(b)  d = Conv(c, w)  e = Mul(d, s)  y = local.Same(e) }}
        <domain: "local", opset_import: ["" : {version}]> Old (p) => (z) {{ z = Mul(p, p) }}
        <domain: "local", opset_import: ["" : 17]> Same (p) => (z) {{ z = Relu(p) }}"""
    model = onnx.parser.parse_model(text)
    weights = build("g (float[1] x) => (float[1] y) { y = Relu(x) }", w=(4, 4, 1, 1), s=(1,)).graph.initializer
    model.graph.initializer.extend(weights)

    fusion = fuse(model)

    assert ops(fusion.model) == ["Conv", "Old", "Conv", "Same"]
    assert functions_of(fusion.model) == ["Old", "Same"]
    before, after = (run(each, feeds(model)) for each in (model, fusion.model))
    assert error(before[0], after[0]) < WORST
    assert not fuse(fusion.model).regions


def test_functions_that_call_each_other_in_a_circle_are_refused_in_one_line():
    text = f"""{SIGNATURE} {{ y = local.A(x, w) }}
        <domain: "local", opset_import: ["" : 17, "local" : 1]> A (p, q) => (z) {{ t = Conv(p, q)  z = local.B(t, q) }}
        <domain: "local", opset_import: ["" : 17, "local" : 1]> B (p, q) => (z) {{ z = local.A(p, q) }}"""
    model = onnx.parser.parse_model(text)
    with pytest.raises(ModelError) as caught:
        fuse(model)
    assert "\n" not in str(caught.value)
