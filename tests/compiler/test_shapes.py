"""Nodes that only change shapes, between a kernel and its gain and offset: what keeps the channels apart, and twins."""

import hypothesis.strategies as st
import numpy as np
import onnx
import pytest
from hypothesis import given

from repvgg_onnx import fuse, prove
from repvgg_onnx.compiler.tail import channel_axis_after, is_same_shape
from tests.compiler.trial import assert_holds
from tests.models import (
    assert_fuses,
    assert_refuses,
    assert_same_outputs,
    assert_settled,
    batch_norm,
    build,
    feeds,
    ops,
)

BN = "BatchNormalization(b, gamma, beta, mean, var)"


def ints(*numbers: int) -> np.ndarray:
    return np.int64(numbers)


def statistics(steps: str) -> dict[str, tuple[int]]:
    return batch_norm(4) if "gamma" in steps else {}


def conv_then(steps: str, out: str, *, x: str = "2,6,5,7", opset: int = 17, **weights):
    """A Conv from 6 to 4 channels, ``a``, and steps from there to ``y``."""
    text = f"net (float[{x}] x) => (float[{out}] y) {{ a = Conv(x, w)  {steps} }}"
    rank = x.count(",") - 1
    return build(text, opset=opset, **{"w": (4, 6, *(1,) * rank), **statistics(steps), **weights})


def linear_then(steps: str, out: str, *, x: str = "2,5,6", opset: int = 17, **weights):
    """A MatMul on the last axis from 6 to 4 channels, ``a``, and steps from there to ``y``."""
    text = f"net (float[{x}] x) => (float[{out}] y) {{ a = MatMul(x, w)  {steps} }}"
    return build(text, opset=opset, **{"w": (6, 4), **statistics(steps), **weights})


@pytest.mark.parametrize("opset", [7, 13, 14, 19, 21, 23])
@pytest.mark.parametrize("target", [(2, 4, 5, 7), (-1, 4, 5, 7), (0, 0, 0, 0), (0, 4, -1, 7), (2, -1, 5, 7)])
def test_a_reshape_that_changes_nothing(opset, target):
    assert_fuses(conv_then(f"b = Reshape(a, t)  y = {BN}", "2,4,5,7", opset=opset, t=ints(*target)), ["Conv"])


@pytest.mark.parametrize("target", [(-1, 4, 5, 7), (0, 4, 5, 7), (0, 4, -1, 7)])
def test_a_reshape_that_changes_nothing_at_any_batch(target):
    model = conv_then(f"b = Reshape(a, t)  y = {BN}", "N,4,5,7", x="N,6,5,7", t=ints(*target))
    assert_fuses(model, ["Conv"], x=(3, 6, 5, 7))


RESHAPES = {
    "rows": ("2,4,35", (2, 4, 35)),
    "rest": ("2,4,35", (0, 0, -1)),
    "more": ("2,4,5,1,7", (2, 4, 5, 1, 7)),
    "behind": ("1,2,4,35", (1, 2, 4, 35)),
}


@pytest.mark.parametrize(("out", "target"), RESHAPES.values(), ids=RESHAPES)
def test_a_reshape_of_what_surrounds_the_channels(out, target):
    axis = target.index(4) if 4 in target else 1
    column = (4, *(1,) * (len(out.split(",")) - axis - 1))
    model = conv_then("b = Reshape(a, t)  c = Mul(b, s)  y = Add(c, o)", out, t=ints(*target), s=column, o=column)
    assert_fuses(model, ["Conv", "Reshape"])


TORN = {
    "merged": ("8,35", (8, 35), "reshaped"),
    "split": ("2,2,2,5,7", (2, 2, 2, 5, 7), "reshaped"),
    "moved": ("2,5,4,7", (2, 5, 4, 7), "reshaped"),
    "other-four": ("2,7,5,4", (2, 7, 5, 4), "reshaped"),
}


@pytest.mark.parametrize(("out", "target", "code"), TORN.values(), ids=TORN)
def test_a_reshape_that_tears_the_channels_apart(out, target, code):
    column = (1, *(1,) * (len(target) - 2))
    assert_refuses(conv_then("b = Reshape(a, t)  y = Mul(b, s)", out, t=ints(*target), s=column), code)


def test_a_reshape_of_unknown_sizes():
    """Whether 4 rows of H·W/4 are 4 channels depends on the batch."""
    model = conv_then("b = Reshape(a, t)  y = Mul(b, s)", "A,4,B", x="N,6,H,W", t=ints(-1, 4, 35), s=(4, 1))
    assert_refuses(model, "reshaped")
    model = conv_then("b = Reshape(a, t)  y = Mul(b, s)", "N,4,B", x="N,6,H,W", t=ints(0, 4, -1), s=(4, 1))
    assert_fuses(model, ["Conv", "Reshape"], x=(3, 6, 5, 7))


def test_a_reshape_by_a_shape_that_the_caller_gives():
    text = "net (float[2,6,5,7] x, int64[3] t) => (float[A,B,C] y) { a = Conv(x, w)  b = Reshape(a, t)  y = Mul(b, s) }"
    assert_refuses(build(text, w=(4, 6, 1, 1), s=(4, 1)), "reshaped")


@pytest.mark.parametrize(
    "step",
    [
        "b = Flatten<axis=2>(a)",
        "b = Flatten<axis=-1>(a)",
        "b = Reshape(a, t)",
        "c = Unsqueeze(a, l)  b = Reshape(c, t)",
    ],
)
@pytest.mark.parametrize("x", ["2,5,6", "N,5,6", "N,T,6"])
def test_a_linear_layer_and_a_batch_norm_on_rows(step, x):
    given = {name: value for name, value in {"t": ints(-1, 4), "l": ints(0)}.items() if f", {name})" in step}
    model = linear_then(f"{step}  y = {BN}", "M,4", x=x, **given)
    kept = ["Reshape" if "Reshape" in step else "Flatten"]
    kept = ["Unsqueeze", *kept] if "Unsqueeze" in step else kept
    assert_fuses(model, ["MatMul", "Add", *kept], x=(2, 5, 6))


@pytest.mark.parametrize("x", ["2,5,6", "N,5,6"])
def test_a_linear_layer_and_a_batch_norm_on_rows_and_back(x):
    model = linear_then(f"b = Flatten<axis=2>(a)  c = {BN}  y = Reshape(c, t)", "N,5,4", x=x, t=ints(-1, 5, 4))
    assert_fuses(model, ["MatMul", "Add"], x=(2, 5, 6))


def test_nodes_that_change_shapes_keep_their_names():
    model = conv_then('["shape"] b = Reshape(a, t)  y = Mul(b, s)', "2,4,35", t=ints(2, 4, 35), s=(4, 1))
    fused = assert_fuses(model, ["Conv", "Reshape"]).model
    assert fused.graph.node[1].name == "shape"
    assert fused.graph.node[1].output[0] == "y"


def test_the_kernel_does_not_take_the_name_of_what_is_written_again():
    """Its own is still there, because something else reads the convolution."""
    text = """net (float[2,2,5,7] x) => (float[2,2,35] y, float[2,2,5,7] z) {
        a = Conv(x, w)  z = Relu(a)  ["shape"] b = Reshape(a, t)
        c = Mul(b, s)  d = Add(c, s)  e = Neg(d)  y = Add(e, s)
    }"""
    model = build(text, w=(2, 2, 1, 1), t=ints(2, 2, 35), s=(2, 1))
    fused = assert_holds(model, feeds(model)).model
    assert ops(fused) == ["Conv", "Relu", "Conv", "Reshape"]
    assert [node.name for node in fused.graph.node].count("shape") == 1


def test_a_shape_that_is_asked_of_the_linear_layer_itself():
    steps = f"s = Shape(a)  b = Flatten<axis=2>(a)  c = {BN}  y = Reshape(c, s)"
    assert_fuses(linear_then(steps, "N,T,4", x="N,T,6"), ["MatMul", "Add"], x=(2, 5, 6))


def test_a_shape_that_is_computed_at_run_time():
    steps = f"""s = Shape<start=0, end=2>(x)  t = Concat<axis=0>(s, f)
        b = Flatten<axis=2>(a)  c = {BN}  d = Reshape(c, t)  y = Mul(d, g)"""
    model = linear_then(steps, "N,T,4", x="N,T,6", f=ints(4), g=(4,))
    assert_fuses(model, ["Shape", "Concat", "MatMul", "Add", "Flatten", "Reshape"], x=(2, 5, 6))


def test_a_region_with_a_computed_shape_is_proven_on_its_own():
    text = f"""net (float[N,T,6] x) => (float[N,T,4] y) {{
        r = Relu(x)  a = MatMul(r, w)  s = Shape<start=0, end=2>(x)  t = Concat<axis=0>(s, f)
        b = Flatten<axis=2>(a)  c = {BN}  d = Reshape(c, t)  y = Mul(d, g)
    }}"""
    model = build(text, w=(6, 4), f=ints(4), g=(4,), **batch_norm(4))
    proof = prove(model, shapes={"x": (2, 5, 6)})
    assert len(proof.regions) == 1
    assert not proof.failed


@pytest.mark.parametrize("opset", [7, 11, 12, 13, 21, 23])
@pytest.mark.parametrize("x", ["2,6,9", "N,6,T"])
def test_a_convolution_along_one_axis_of_an_image(opset, x):
    """What Keras exports a Conv1D as."""
    if opset < 13:
        ends, axes = ("Unsqueeze<axes=[2]>(x)", "Squeeze<axes=[2]>(c)"), {}
    else:
        ends, axes = ("Unsqueeze(x, l)", "Squeeze(c, l)"), {"l": ints(2)}
    text = f"""net (float[{x}] x) => (float[N,4,U] y) {{
        u = {ends[0]}  c = Conv<pads=[0,2,0,2]>(u, w)  q = {ends[1]}  m = Mul(q, s)  y = Add(m, o)
    }}"""
    model = build(text, opset=opset, w=(4, 6, 1, 5), s=(4, 1), o=(1, 4, 1), **axes)
    assert_fuses(model, ["Unsqueeze", "Conv", "Squeeze"], x=(2, 6, 9))


@pytest.mark.parametrize("step", ["Squeeze(a)", "Squeeze<axes=[2,-1]>(a)", "Flatten(a)"])
def test_a_classifier_behind_a_pointwise_convolution(step):
    """A matrix goes into the kernel as well, as long as no Reshape says how many channels there are."""
    opset = 11 if "axes" in step else 17
    model = conv_then(f"b = {step}  y = Gemm(b, g, h)", "2,3", x="2,6,1,1", opset=opset, g=(4, 3), h=(3,))
    fusion = assert_fuses(model, ["Conv", step[: step.index("(")].split("<")[0]])
    assert fusion.regions[0].c_out == 3


def test_a_classifier_behind_a_reshape_that_says_how_many_channels_there_are():
    model = conv_then("b = Reshape(a, t)  y = Gemm(b, g)", "2,3", x="2,6,1,1", t=ints(2, 4), g=(4, 3))
    assert_refuses(model, "reshaped", below=False)
    assert_fuses(model, ["Conv", "Reshape"])


def test_branches_that_change_their_shapes_alike_and_not_alike():
    steps = "b = Flatten<axis=2>(a)  c = MatMul(x, v)  d = Flatten<axis={}>(c)  y = Add(b, d)"
    model = linear_then(steps.format(2), "10,4", v=(6, 4))
    assert_fuses(model, ["MatMul", "Flatten"])
    turned = "b = Transpose<perm=[1,0,2]>(a)  p = Reshape(b, t)  c = MatMul(x, v)  q = Reshape(c, t)  y = Add(p, q)"
    assert_refuses(linear_then(turned, "10,4", v=(6, 4), t=ints(10, 4)))


def test_a_transpose_between_two_changes_of_shape_is_not_undone():
    steps = "b = Reshape(a, t)  c = Transpose<perm=[1,0,2]>(b)  d = Flatten<axis=2>(c) e = Reshape(d, u) y = Mul(e, s)"
    model = linear_then(steps, "2,5,4", x="2,5,6", t=ints(5, 2, 4), u=ints(2, 5, 4), s=(4,))
    assert_fuses(model, ["MatMul", "Reshape", "Transpose"])


STAYING = {
    "shared": ("b = Reshape(a, t)  y = Mul(b, s)  z = Relu(b)", ", float[2,4,35] z"),
    "graph-output": ("b = Reshape(a, t)  y = Mul(b, s)", ", float[2,4,35] b"),
    "kernel-shared": ("b = Reshape(a, t)  y = Mul(b, s)  z = Relu(a)", ", float[2,4,5,7] z"),
}


@pytest.mark.parametrize(("code", "graph"), STAYING.items(), ids=STAYING)
def test_a_change_of_shape_that_something_else_needs(code, graph):
    steps, more = graph
    text = f"net (float[2,6,5,7] x) => (float[2,4,35] y{more}) {{ a = Conv(x, w)  {steps} }}"
    assert_refuses(build(text, w=(4, 6, 1, 1), t=ints(2, 4, 35), s=(4, 1)), code.removeprefix("kernel-"))


@pytest.mark.parametrize("step", ["Squeeze(x, l)", "Flatten(x)", "Reshape(x, t)"])
def test_a_change_of_shape_without_a_kernel_before_it_stays(step):
    given = {"l": ints(2, 3)} if "l)" in step else {"t": ints(2, 6)} if "t)" in step else {}
    assert_refuses(
        build(f"net (float[2,6,1,1] x) => (float[2,3] y) {{ a = {step}  y = Gemm(a, g) }}", g=(6, 3), **given)
    )


@pytest.mark.parametrize("step", ["Concat<axis=1>(b, b)", "Slice(b, z, t, o)", "AveragePool<kernel_shape=[1]>(b)"])
def test_what_cannot_follow_a_change_of_shape(step):
    given = {"z": ints(0), "t": ints(2), "o": ints(1)} if "Slice" in step else {}
    model = conv_then(f"b = Reshape(a, r)  y = {step}", "2,C,35", r=ints(2, 4, 35), **given)
    assert_refuses(model, "reshaped")


def test_a_matrix_product_of_turned_rows_is_no_map_of_the_channels():
    text = "net (float[4,4] x) => (float[4,4] y) { t = Transpose(x)  a = Gemm(t, w)  y = Transpose(a) }"
    assert_refuses(build(text, w=(4, 4)), "layout")


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.data())
def test_the_axis_of_the_channels_by_trying(before, data):
    """An array whose numbers are their channels, under another shape: they vary along one axis or they do not."""
    place = data.draw(st.integers(0, len(before) - 1))
    numbers = np.zeros(before, int) + np.arange(before[place]).reshape(-1, *(1,) * (len(before) - place - 1))
    cuts = data.draw(st.lists(st.integers(1, 6), max_size=3))
    after = [*cuts, numbers.size // int(np.prod(cuts))] if numbers.size % int(np.prod(cuts)) == 0 else before[::-1]
    found = channel_axis_after(before, place, after)
    fits = [
        axis
        for axis in range(len(after))
        if after[axis] == before[place]
        and np.array_equal(
            numbers.reshape(after),
            np.zeros(after, int) + np.arange(after[axis]).reshape(-1, *(1,) * (len(after) - axis - 1)),
        )
    ]
    assert (found in fits) == (found is not None)
    assert (found is None) <= (not fits or before[place] == 1)


def test_same_shapes():
    assert is_same_shape([2, 3], [2, 3])
    assert is_same_shape([("in", 0), 3], [("out", 0), 3])
    assert not is_same_shape([2, 3], [3, 2])
    assert not is_same_shape([("in", 0), ("in", 1)], [("out", 0), ("out", 1)])


@pytest.mark.parametrize("batch", [1, 3])
def test_every_batch_of_a_graph_with_a_dynamic_one(batch):
    steps = f"s = Shape(a)  b = Flatten<axis=2>(a)  c = {BN}  y = Reshape(c, s)"
    model = linear_then(steps, "N,T,4", x="N,T,6")
    assert_holds(model, feeds(model, x=(batch, 7, 6)))
    assert isinstance(fuse(model).model, onnx.ModelProto)
    assert ops(fuse(model).model) == ["MatMul", "Add"]


COMPUTED_RESHAPE = """{ a = Conv(x, wa)  h = Relu(a)  s = Shape(h)
    t = Slice(s, from, to, axis)  u = Concat<axis=0>(t, rest)  f = Reshape(h, u)
    p = Transpose<perm=[0,2,1]>(f)  m = MatMul(p, w)  n = Flatten<axis=2>(m)
    b = BatchNormalization(n, gamma, beta, mean, var)  q = Shape(m)  y = Reshape(b, q) }"""


@pytest.mark.parametrize("opset", [10, 11, 13, 14])
def test_a_shape_that_is_computed_from_known_ones_is_followed(opset):
    """LeViT as TorchScript exports it: flatten(2), a linear layer, flatten(0, 1), BN, reshape_as."""
    arrays = {"from": [0], "to": [2], "axis": [0], "rest": [-1]}
    constants = {name: np.array(value, np.int64) for name, value in arrays.items()}
    weights = {"wa": (6, 3, 1, 1), "w": (6, 4), **batch_norm(4), **constants}
    model = build("net (float[2,3,5,7] x) => (float[2,35,4] y) " + COMPUTED_RESHAPE, opset=opset, **weights)
    fusion = fuse(model)
    assert [region.sink for region in fusion.regions] == ["y"]
    assert "BatchNormalization" not in ops(fusion.model)
    assert_same_outputs(model, fusion.model)
    assert_settled(fusion)


def test_a_computed_shape_that_contradicts_the_sizes_is_not_believed():
    arrays = {"from": [0], "to": [2], "axis": [0], "rest": [34]}
    constants = {name: np.array(value, np.int64) for name, value in arrays.items()}
    weights = {"wa": (6, 3, 1, 1), "w": (6, 4), **batch_norm(4), **constants}
    model = build("net (float[2,3,5,7] x) => (float[2,35,4] y) " + COMPUTED_RESHAPE, opset=13, **weights)
    assert not fuse(model).regions


LAYER_BEHIND_TRANSPOSE = """net (float[2,6,5,7] x) => (float[2,5,7,N] y) {
    a = Transpose<perm=[0,2,3,1]>(x)  b = MatMul(a, w) %s
}"""


@pytest.mark.parametrize("c_out", [12, 13, 24])
def test_a_linear_layer_behind_a_transpose_stays_as_it_is(c_out):
    """A Conv and a Transpose of its much larger result are not faster than a Transpose, a MatMul and an Add."""
    weights = {"w": (6, c_out), "q": (c_out,)}
    assert_refuses(build(LAYER_BEHIND_TRANSPOSE % "y = Add(b, q)", **weights), "not-cheaper")
    more = build(LAYER_BEHIND_TRANSPOSE % "c = Add(b, q)  y = Mul(c, q)", **weights)
    assert_fuses(more, ["Transpose", "MatMul", "Add"])


@pytest.mark.parametrize("c_out", [4, 6, 9, 11])
def test_a_linear_layer_behind_a_transpose_is_a_convolution_where_its_result_is_not_much_larger(c_out):
    weights = {"w": (6, c_out), "q": (c_out,)}
    assert_fuses(build(LAYER_BEHIND_TRANSPOSE % "y = Add(b, q)", **weights), ["Conv", "Transpose"])
    more = build(LAYER_BEHIND_TRANSPOSE % "c = Add(b, q)  y = Mul(c, q)", **weights)
    assert_fuses(more, ["Conv", "Transpose"])


@pytest.mark.parametrize("c_out", [4, 9])
def test_a_linear_layer_without_a_bias_behind_a_transpose_stays_where_its_result_is_larger(c_out):
    model = build(LAYER_BEHIND_TRANSPOSE % "y = Identity(b)", w=(6, c_out))
    assert {region.op_type for region in fuse(model).regions} == ({"Conv"} if c_out < 6 else set())
