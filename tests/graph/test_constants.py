"""What is known before a model runs, in every form that exporters write."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from repvgg_onnx import fuse
from repvgg_onnx.graph.constants import Constants
from repvgg_onnx.graph.normalize import tensor_types
from repvgg_onnx.graph.skeleton import infer_skeleton
from tests.models import assert_fuses, assert_refuses, assert_same_outputs, build, feeds, ops
from tests.oracle import run

HEAD = "net (float[1,4,5,7] x) => (float[1,4,5,7] y)"


def scaled_by(expressions: str, **weights) -> onnx.ModelProto:
    """A Conv whose result is multiplied by the tensor ``s`` that the expressions make."""
    text = f"{HEAD} {{ {expressions}  a = Conv(x, w)  y = Mul(a, s) }}"
    return build(text, **{"w": (4, 4, 1, 1), **weights})


def constant_of(model: onnx.ModelProto, name: str) -> np.ndarray | None:
    return constants_in(model).value(name)


def constants_in(model: onnx.ModelProto) -> Constants:
    return Constants(model.graph, model.opset_import, tensor_types(infer_skeleton(model, {}).graph))


def constant_node(model: onnx.ModelProto, **attribute) -> onnx.ModelProto:
    """The model with a Constant node ``s`` of this attribute form as its first."""
    model.graph.node.insert(0, helper.make_node("Constant", [], ["s"], **attribute))
    return model


def without_s(text: str) -> onnx.ModelProto:
    """A model in which ``s`` is still missing."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 17]> {HEAD} {{ {text} }}')
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(4, 4, 1, 1)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(kernel, "w"))
    return model


SPARSE = helper.make_sparse_tensor(
    helper.make_tensor("s", TensorProto.FLOAT, [2], [1.5, -2.5]),
    helper.make_tensor("", TensorProto.INT64, [2], [0, 3]),
    [4, 1, 1],
)


@pytest.mark.parametrize(
    "form",
    [
        {"value": numpy_helper.from_array(np.float32([[[1]], [[-2]], [[3]], [[4]]]), "s")},
        {"value_float": 1.5},
        {"value_floats": [1.5]},
        {"sparse_value": SPARSE},
    ],
    ids=lambda form: next(iter(form)),
)
def test_every_attribute_form_of_a_float_constant(form, capfd):
    model = constant_node(without_s("a = Conv(x, w)  y = Mul(a, s)"), **form)
    assert_fuses(model, ["Conv"])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"value_int": 7}, np.int64(7)),
        ({"value_ints": [7, 9]}, np.int64([7, 9])),
        ({"value_string": "text"}, "text"),
        ({"value_strings": ["text", "more"]}, ["text", "more"]),
    ],
    ids=["int", "ints", "string", "strings"],
)
def test_other_constants_are_read_or_unknown_and_do_no_harm(form, expected):
    model = constant_node(without_s("a = Conv(x, w)  y = Mul(a, w1)"), **form)
    model.graph.initializer.append(numpy_helper.from_array(np.float32([2]), "w1"))
    assert "Mul" not in ops(fuse(model).model)
    value = constant_of(model, "s")
    assert value is None or np.array_equal(np.asarray(value, dtype=np.asarray(expected).dtype), expected)


def test_a_sparse_initializer():
    model = without_s("a = Conv(x, w)  y = Mul(a, s)")
    model.graph.sparse_initializer.append(SPARSE)
    assert_fuses(model, ["Conv"])
    assert constant_of(model, "s").reshape(-1).tolist() == [1.5, 0, 0, -2.5]


def test_a_sparse_initializer_with_one_index_per_axis():
    indices = helper.make_tensor("", TensorProto.INT64, [2, 3], [1, 0, 0, 2, 0, 0])
    values = helper.make_tensor("s", TensorProto.FLOAT, [2], [1.5, -2.5])
    model = without_s("a = Conv(x, w)  y = Mul(a, s)")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 1, 1]))
    assert constant_of(model, "s").reshape(-1).tolist() == [0, 1.5, -2.5, 0]


EXPRESSIONS = {
    "identity": ("s = Identity(c)", {"c": (4, 1, 1)}),
    "arithmetic": ("d = Mul(c, c)  e = Sqrt(d)  s = Add(e, c)", {"c": (4, 1, 1)}),
    "reshape": ("s = Reshape(c, n)", {"c": (4,), "n": np.int64([4, 1, 1])}),
    "cast-like": ("z = Constant<value_int=3>()  s = CastLike(z, x)", {}),
    "shape-of-weight": (
        "z = Constant<value_int=0>()  c = CastLike(z, x)  n = Shape<start=0, end=1>(w)  e = Expand(c, n)  "
        "i = Constant<value_ints=[4, 1, 1]>()  f = Reshape(e, i)  s = Add(f, d)",
        {"d": (4, 1, 1)},
    ),
    "shape-of-input": (
        "n = Shape(x)  k = Constant<value_int=1>()  i = Gather(n, k)  s = Cast<to=1>(i)",
        {},
    ),
    "gather-by-scalar": ("k = Constant<value_int=1>()  s = Gather(c, k)", {"c": (3, 4, 1, 1)}),
    "split": ("s, t = Split(c)", {"c": (8, 1, 1)}),
    "unsqueeze": ("i = Constant<value_ints=[1, 2]>()  s = Unsqueeze(c, i)", {"c": (4,)}),
    "scalar-of-scalars": ("s = Mul(c, c)", {"c": ()}),
    "range": (
        "b = Constant<value_float=1.0>()  e = Constant<value_float=5.0>()  r = Range(b, e, b)  "
        "n = Constant<value_ints=[4, 1, 1]>()  s = Reshape(r, n)",
        {},
    ),
}


@pytest.mark.parametrize(("expressions", "weights"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_constant_expressions_fold(expressions, weights):
    assert_fuses(scaled_by(expressions, **weights), ["Conv"])


@pytest.mark.parametrize(("expressions", "weights"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_constant_expressions_have_the_shape_and_value_that_the_model_computes(expressions, weights):
    model = scaled_by(expressions, **weights)
    value = constant_of(model, "s")
    model.graph.output.append(helper.make_empty_tensor_value_info("s"))
    expected = run(model, feeds(model))[1]
    assert value.shape == expected.shape
    assert np.allclose(value, expected, rtol=1e-6, atol=0)


def test_the_dynamo_form_of_a_zero_bias():
    model = build(
        f"""{HEAD} {{
            z = Constant<value_int=0>()
            c = CastLike(z, x)
            n = Shape(w)
            i = Constant<value_ints=[0]>()
            j = Constant<value_ints=[1]>()
            m = Slice(n, i, j)
            bias = Expand(c, m)
            a = Conv(x, w, bias)
            y = BatchNormalization(a, gamma, beta, mean, var)
        }}""",
        w=(4, 4, 1, 1),
        gamma=(4,),
        beta=(4,),
        mean=(4,),
        var=(4,),
    )
    assert_fuses(model, ["Conv"])


def test_a_thousand_constants_in_a_row():
    chain = ["t0 = Identity(c)", *(f"t{index} = Neg(t{index - 1})" for index in range(1, 1000))]
    model = scaled_by("\n".join([*chain, "s = Identity(t999)"]), c=(1,))
    assert constant_of(model, "s").item() == -constant_of(model, "c").item()
    fused = fuse(model).model
    assert_same_outputs(model, fused)
    assert len(fused.graph.node) == 1


RANDOM = {
    "normal": ("s = RandomNormal<shape=[4, 1, 1]>()", {}),
    "uniform-like": ("s = RandomUniformLike(c)", {"c": (4, 1, 1)}),
    "bernoulli": ("s = Bernoulli(c)", {"c": np.full((4, 1, 1), 0.5, np.float32)}),
    "dropout": ('s = Dropout(c, "", t)', {"c": (4, 1, 1), "t": np.array(True)}),
    "dropout-with-ratio": ("s = Dropout(c, r, t)", {"c": (4, 1, 1), "r": (), "t": np.array(True)}),
    "after-random": ("r = RandomNormal<shape=[4, 1, 1]>()  s = Abs(r)", {}),
}


@pytest.mark.parametrize(("expressions", "weights"), RANDOM.values(), ids=RANDOM)
def test_what_is_drawn_anew_at_every_run_is_no_constant(expressions, weights):
    model = scaled_by(expressions, **{name: np.abs(w) if name == "r" else w for name, w in weights.items()})
    assert_refuses(model)
    assert constant_of(model, "s") is None


def test_a_random_number_that_is_no_constant_has_no_shape_to_trust():
    model = scaled_by("r = RandomNormal<shape=[4, 1, 1]>()  s = Abs(r)")
    assert "s" not in constants_in(model)
    assert "r" not in constants_in(model)


def test_sizes_that_are_dynamic_are_no_constants():
    model = build(
        """net (float[1,4,H,7] x) => (float[1,4,H,7] y) {
            n = Shape<start=2, end=3>(x)  s = Cast<to=1>(n)  a = Conv(x, w)  y = Mul(a, s)
        }""",
        w=(4, 4, 1, 1),
    )
    assert_refuses(model)


@pytest.mark.parametrize("size", [-1, 0], ids=["minus-one", "zero"])
def test_a_size_below_one_is_a_dynamic_one(size):
    model = build(
        """net (float[1,4,H,7] x) => (float[1,4,H,7] y) {
            n = Shape<start=2, end=3>(x)  s = Cast<to=1>(n)  a = Conv(x, w)  y = Mul(a, s)
        }""",
        w=(4, 4, 1, 1),
    )
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[2].dim_value = size
    fused = fuse(model).model
    if size < 0:
        assert_same_outputs(model, fused, x=(1, 4, 9, 7))
        assert fused is model


def test_what_is_too_large_is_left_to_the_runtime():
    model = scaled_by(
        "n = Constant<value_ints=[4, 1, 300]>()  e = Expand(c, n)  s = ReduceMax<axes=[2], keepdims=1>(e)",
        c=(1,),
    )
    assert len(fuse(model, max_constant_mb=1).regions) == 1
    assert not fuse(model, max_constant_mb=0).regions


def test_an_initializer_that_a_caller_may_replace_is_no_constant():
    model = build(
        "net (float[1,4,5,7] x, float[4,1,1] c) => (float[1,4,5,7] y) { s = Neg(c)  a = Conv(x, w)  y = Mul(a, s) }",
        w=(4, 4, 1, 1),
        c=(4, 1, 1),
    )
    assert_refuses(model)
    assert constant_of(model, "s") is None
    assert constants_in(model).is_overridable("c")


def test_weights_that_are_dequantized_constants():
    text = f"{HEAD} {{ w = DequantizeLinear(q, d)  a = Conv(x, w)  y = Mul(a, s) }}"
    q = np.random.default_rng(0).integers(-100, 100, (4, 4, 1, 1)).astype(np.int8)
    model = build(text, opset=19, q=q, d=np.array(0.02, np.float32), s=(1,))
    assert_same_outputs(model, fuse(model).model)


def test_sequences_are_not_tripped_over():
    model = scaled_by("q = SequenceConstruct(c, c)  k = Constant<value_int=0>()  s = SequenceAt(q, k)", c=(4, 1, 1))
    assert_same_outputs(model, fuse(model).model)
