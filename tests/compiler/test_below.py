"""Maps of the channels moved to where they cost least, each law with the nearest graphs in which nothing moves."""

import numpy as np
import pytest

from repvgg_onnx import fuse, prove
from tests.compiler.generator import random_model
from tests.models import assert_explained, assert_final, assert_same_outputs, batch_norm, build, count, ops, weights_of

TWICE = np.float32([1, 1, 2, 2])
HALF = np.float32([1, 1, 0.5, 0.5])


def ints(*numbers: int) -> np.ndarray:
    return np.int64(numbers)


def net(steps: str, out: str, inputs: str = "float[1,6,5,7] x", **weights):
    return build(f"net ({inputs}) => (float[{out}] y) {{ {steps} }}", **weights)


def assert_moves(model, expected: list[str], *moved: str, tolerance: float = 1e-6, **shapes):
    """The model becomes these operators: the same outputs, every region proven, nothing more to find."""
    assert not fuse(model, below=False).regions or not moved
    fusion = fuse(model)
    assert ops(fusion.model) == expected
    found = [region.moved for region in fusion.regions if region.moved]
    assert len(found) == len(moved)
    assert all(words in region for words, region in zip(moved, found, strict=True)), found
    assert_same_outputs(model, fusion.model, tolerance, **shapes)
    assert_final(fusion)
    assert_explained(fusion)
    return fusion


def assert_stays(model):
    """Nothing is found, and the same object comes back."""
    fusion = fuse(model)
    assert not fusion.regions
    assert fusion.model is model
    return fusion


# Through a spatial operator.


@pytest.mark.parametrize(
    "rule",
    [
        'mode="nearest"',
        'mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="ceil"',
        'mode="linear"',
        'mode="linear", coordinate_transformation_mode="align_corners"',
        'mode="linear", coordinate_transformation_mode="pytorch_half_pixel"',
        'mode="cubic"',
        'mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1',
        'mode="linear", antialias=1',
    ],
)
def test_a_pointwise_convolution_goes_before_a_resize(rule):
    steps = f"a = Relu(x)  b = Resize<{rule}>(a, , s)  y = Conv(b, w, c)"
    model = net(steps, "1,4,10,14", opset=18, s=TWICE, w=(4, 6, 1, 1), c=(4,))
    fusion = assert_moves(model, ["Relu", "Conv", "Resize"], "1x1 Conv moved before Resize x2")
    (region,) = fusion.regions
    assert region.cost_after.macs * 4 == region.cost_before.macs == 4 * 6 * 10 * 14


@pytest.mark.parametrize(
    ("steps", "weights"),
    [
        ("b = Resize(a, , s)  y = Conv(b, w)", {"s": HALF}),  # a smaller image is convolved afterwards
        ("b = Resize(a, , s)  y = Conv(b, w)", {"s": TWICE, "w": (4, 6, 3, 3)}),
        ("b = Resize(a, , s)  y = Conv<strides=[2,2]>(b, w)", {"s": TWICE}),
        ("b = Resize(a, , s)  y = Conv<pads=[1,1,1,1]>(b, w)", {"s": TWICE}),
        ("b = Resize(a, , s)  c = Relu(b)  y = Conv(c, w)", {"s": TWICE}),
        ("b = Resize(a, , s)  y = Conv(b, a)", {"s": TWICE}),  # not constant
        ('b = Resize<coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=3.0>(a, r, s)'
         "  y = Conv(b, w)", {"s": TWICE, "r": np.float32([0, 0, -1, -1, 1, 1, 2, 2])}),
        ("b = Resize(a, , s)  y = Conv(b, w)", {"s": np.float32([1, 2, 2, 2]), "w": (4, 12, 1, 1)}),
        ("b = Resize(a, , s)  y = Relu(b)", {"s": TWICE}),
    ],
)  # fmt: skip
def test_what_stays_behind_a_resize(steps, weights):
    model = net(f"a = Relu(x)  {steps}", "A,B,C,D", **{"w": (4, 6, 1, 1), **weights})
    assert_stays(model)


def test_a_resize_that_others_read_is_written_twice_only_if_that_costs_less():
    steps = "a = Relu(x)  b = Resize(a, , s)  c = Conv(b, w)  d = Sigmoid(b)  y = Concat<axis=1>(c, d)"
    many = net(steps, "A,B,C,D", "float[1,48,5,7] x", s=TWICE, w=(4, 48, 1, 1))
    assert_moves(many, ["Relu", "Resize", "Conv", "Resize", "Sigmoid", "Concat"], "1x1 Conv moved before Resize x2")
    assert_stays(net(steps, "A,B,C,D", "float[1,1,5,7] x", s=TWICE, w=(16, 1, 1, 1)))


def test_several_maps_of_one_resize_each_move():
    steps = "a = Relu(x)  b = Resize(a, , s)  c = Conv(b, w)  d = Conv(b, v, e)  f = Relu(c)  y = Add(f, d)"
    model = net(steps, "1,4,10,14", s=TWICE, w=(4, 6, 1, 1), v=(4, 6, 1, 1), e=(4,))
    fusion = assert_moves(model, ["Relu", "Conv", "Resize", "Conv", "Resize", "Relu", "Add"], "Resize", "Resize")
    before = sum(region.cost_before.total for region in fusion.regions)
    assert before > sum(region.cost_after.total for region in fusion.regions)


def test_sizes_name_the_channels():
    model = net("a = Relu(x)  b = Resize(a, , , z)  y = Conv(b, w)", "1,4,9,8", z=ints(1, 6, 9, 8), w=(4, 6, 1, 1))
    fusion = assert_moves(model, ["Relu", "Conv", "Resize"], "1x1 Conv moved before Resize")
    assert [list(array) for array in weights_of(fusion.model).values() if array.dtype == np.int64] == [[1, 4, 9, 8]]


@pytest.mark.parametrize(
    ("sizes", "left"),
    [
        ("n = Slice(s, zero, two, zero)  z = Concat<axis=0>(n, hw)", ["Conv", "Shape", "Slice", "Concat", "Resize"]),
        (
            "n = Slice(s, zero, one, zero)  z = Concat<axis=0>(n, six, hw)",
            ["Shape", "Slice", "Concat", "Conv", "Slice", "Slice", "Concat", "Resize"],
        ),
    ],
)
def test_sizes_that_are_computed_get_the_new_number_of_channels(sizes, left):
    steps = f"""a = Relu(x)  s = Shape(a)  {sizes}  b = Resize<mode="linear">(a, , , z)  y = Conv(b, w)"""
    constants = {"zero": ints(0), "one": ints(1), "two": ints(2), "six": ints(6), "hw": ints(9, 8)}
    read = {name: value for name, value in constants.items() if name in sizes}
    model = net(steps, "N,4,H,W", "float[N,6,5,7] x", w=(4, 6, 1, 1), **read)
    fusion = assert_moves(model, ["Relu", *left], "1x1 Conv moved before Resize")
    assert_same_outputs(model, fusion.model, x=(3, 6, 5, 7))


def test_a_kernel_that_only_sizes_ask_for_besides_goes():
    steps = """a = Conv(x, v)  s = Shape(a)  n = Slice(s, zero, two, zero)  t = Shape(q)  h = Slice(t, two, four, zero)
        z = Concat<axis=0>(n, h)  b = Resize(a, , , z)  c = Add(b, q)  y = Conv(c, w)"""
    inputs = "float[N,6,H,W] x, float[N,8,K,L] q"
    constants = {"zero": ints(0), "two": ints(2), "four": ints(4)}
    model = net(steps, "N,2,K,L", inputs, v=(8, 6, 1, 1), w=(2, 8, 1, 1), **constants)
    fusion = fuse(model, shapes={"x": (1, 6, 5, 7), "q": (1, 8, 10, 14)})
    assert count(fusion.model)["Conv"] == 2
    assert_same_outputs(model, fusion.model, x=(2, 6, 5, 7), q=(2, 8, 9, 11))


def test_axes_of_a_resize_do_not_name_the_channels():
    steps = 'a = Relu(x)  b = Resize<axes=[2,3], keep_aspect_ratio_policy="not_larger">(a, , , z)  y = Conv(b, w)'
    assert_moves(net(steps, "1,4,H,W", opset=18, z=ints(12, 11), w=(4, 6, 1, 1)), ["Relu", "Conv", "Resize"], "Resize")
    steps = 'a = Relu(x)  b = Resize<keep_aspect_ratio_policy="not_larger">(a, , , z)  y = Conv(b, w)'
    assert_stays(net(steps, "1,4,H,W", opset=18, z=ints(1, 6, 10, 14), w=(4, 6, 1, 1)))


@pytest.mark.parametrize(("opset", "form"), [(8, "Upsample<scales=[1.0,1.0,2.0,2.0]>(a)"), (9, "Upsample(a, s)")])
def test_upsample_is_a_resize(opset, form):
    constants = {"s": TWICE} if opset > 8 else {}
    model = net(f"a = Relu(x)  b = {form}  y = Conv(b, w)", "1,4,10,14", opset=opset, w=(4, 6, 1, 1), **constants)
    assert_moves(model, ["Relu", "Conv", "Upsample"], "1x1 Conv moved before Upsample x2")


def test_grouped_maps_keep_their_groups():
    model = net("a = Relu(x)  b = Resize(a, , s)  y = Conv<group=2>(b, w)", "1,4,10,14", s=TWICE, w=(4, 3, 1, 1))
    fusion = assert_moves(model, ["Relu", "Conv", "Resize"], "1x1 group 2 Conv moved before Resize x2")
    assert fusion.regions[0].group == 2


def test_channels_on_the_last_axis():
    steps = "a = Relu(x)  b = Resize<axes=[1,2]>(a, , s)  y = MatMul(b, w)"
    model = net(steps, "1,10,14,4", "float[1,5,7,6] x", opset=18, s=np.float32([2, 2]), w=(6, 4))
    assert_moves(model, ["Relu", "MatMul", "Resize"], "MatMul moved before Resize")


@pytest.mark.parametrize("gain", ["BatchNormalization(b, gamma, beta, mean, var)", "Mul(b, g)", "Add(b, g)"])
def test_a_gain_or_an_offset_goes_to_the_kernel_before_a_resize(gain):
    weights = {**batch_norm(4), "g": (1, 4, 1, 1)}
    read = {name: shape for name, shape in weights.items() if f" {name}" in gain or f"({name}" in gain}
    model = net(f"a = Conv<pads=[1,1,1,1]>(x, w)  b = Resize(a, , s)  c = {gain}  y = Relu(c)", "1,4,10,14", s=TWICE,
                w=(4, 6, 3, 3), **read)  # fmt: skip
    assert_moves(model, ["Conv", "Resize", "Relu"], "moved before Resize x2")


def test_a_gain_that_no_kernel_takes_in_stays():
    steps = "a = Relu(x)  b = Resize(a, , s)  y = BatchNormalization(b, gamma, beta, mean, var)"
    fusion = assert_stays(net(steps, "1,6,10,14", s=TWICE, **batch_norm(6)))
    assert {refusal.code for refusal in fusion.refusals} == {"no-kernel"}


# Sums over roots.


def test_a_map_behind_a_concat_splits_over_it():
    steps = """a = Relu(x)  b = Resize<mode="linear">(a, , s)  c = Relu(z)  d = Sigmoid(z)
        e = Concat<axis=1>(c, b, d)  y = Conv(e, w, v)"""
    model = net(steps, "1,8,10,14", "float[1,16,5,7] x, float[1,4,10,14] z", s=TWICE, w=(8, 24, 1, 1), v=(8,))
    fusion = assert_moves(
        model, ["Relu", "Relu", "Sigmoid", "Conv", "Resize", "Concat", "Conv", "Add"], "moved before Resize x2, Concat"
    )
    biases = [node for node in fusion.model.graph.node if node.op_type == "Conv" and weights_of(fusion.model)[
        node.input[2]].any()]  # fmt: skip
    assert len(biases) == 1  # what is added is added once


@pytest.mark.parametrize("reader", ["Sigmoid(e)", "Conv<pads=[1,1,1,1]>(e, k)", "MaxPool<kernel_shape=[1,1]>(e)"])
def test_a_concat_with_a_reader_that_is_no_map_stays(reader):
    steps = f"a = Relu(x)  b = Resize(a, , s)  e = Concat<axis=1>(b, z)  f = Conv(e, w)  g = {reader}"
    steps += "  h = Relu(f)  y = Mul(h, g)"
    inputs = "float[1,16,5,7] x, float[1,8,10,14] z"
    weights = {"k": (24, 24, 3, 3)} if "Conv" in reader else {}
    assert_stays(net(steps, "1,24,10,14", inputs, s=TWICE, w=(24, 24, 1, 1), **weights))


def test_a_concat_that_is_an_output_or_on_another_axis_stays():
    steps = "a = Relu(x)  b = Resize(a, , s)  y = Concat<axis=1>(b, z)  u = Conv(y, w)"
    text = f"net (float[1,16,5,7] x, float[1,8,10,14] z) => (float[1,24,10,14] y, float[1,8,10,14] u) {{ {steps} }}"
    assert_stays(build(text, s=TWICE, w=(8, 24, 1, 1)))
    steps = "a = Relu(x)  b = Resize(a, , s)  e = Concat<axis=2>(b, b)  y = Conv(e, w)"
    assert_stays(net(steps, "1,4,20,14", s=TWICE, w=(4, 6, 1, 1)))


def test_alike_resizes_under_a_concat_become_one():
    steps = """a = Relu(x)  b = Sigmoid(x)  c = Resize(a, , s)  d = Resize(b, , s)
        e = Concat<axis=1>(c, d)  y = Conv(e, w)"""
    assert_moves(net(steps, "1,4,10,14", s=TWICE, w=(4, 12, 1, 1)),
                 ["Relu", "Sigmoid", "Concat", "Conv", "Resize"], "1x1 Conv moved before Resize x2")  # fmt: skip


@pytest.mark.parametrize(
    ("join", "left"), [("Concat<axis=1>(a, b)", "Concat"), ("Add(a, b)", "Add"), ("Sub(a, b)", "Add")]
)
def test_a_normalization_behind_two_convolutions_goes_to_both(join, left):
    steps = f"""r = Relu(x)  a = Conv(r, w)  b = Conv<pads=[1,1,1,1]>(x, v, u)  c = {join}
        d = BatchNormalization(c, gamma, beta, mean, var)  y = Relu(d)"""
    channels = 8 if "Concat" in join else 4
    model = net(steps, f"1,{channels},5,7", w=(4, 6, 1, 1), v=(4, 6, 3, 3), u=(4,), **batch_norm(channels))
    assert_moves(model, ["Relu", "Conv", "Conv", left, "Relu"], "BN moved before")


def test_a_normalization_behind_a_convolution_and_what_is_none_stays():
    steps = "r = Relu(x)  a = Conv(r, w)  c = Concat<axis=1>(a, x)  d = BatchNormalization(c, gamma, beta, mean, var)"
    fusion = assert_stays(net(f"{steps}  y = Relu(d)", "1,10,5,7", w=(4, 6, 1, 1), **batch_norm(10)))
    assert fusion.refusals


def test_a_normalization_behind_unequal_parts_goes_to_their_convolutions():
    steps = """a, b = Split<axis=1>(x, parts)  c = Conv<pads=[1,1,1,1]>(a, w)  d = Conv<pads=[1,1,1,1]>(b, v)
        e = Concat<axis=1>(c, d)  y = BatchNormalization(e, gamma, beta, mean, var)"""
    model = net(steps, "1,6,5,7", parts=ints(4, 2), w=(3, 4, 3, 3), v=(3, 2, 3, 3), **batch_norm(6))
    assert_moves(model, ["Split", "Conv", "Conv", "Concat"], "BN moved before Concat")


def test_concats_in_concats_and_sums_in_sums():
    steps = """a = Relu(x)  b = Resize(a, , s)  c = Concat<axis=1>(b, z)  d = Concat<axis=1>(c, z, b)
        e = Conv(d, w)  f = Sigmoid(e)  y = Add(e, f)"""
    model = net(steps, "1,4,10,14", "float[1,16,5,7] x, float[1,4,10,14] z", s=TWICE, w=(4, 40, 1, 1))
    fusion = fuse(model)
    assert any(region.moved for region in fusion.regions)
    assert_same_outputs(model, fusion.model)
    assert_final(fusion)


# Linear through layout.


def test_a_linear_layer_and_the_convolution_behind_its_reshape_are_one():
    steps = """t = Tanh(x)  m = MatMul(t, k)  a = Add(m, b)  p = Transpose<perm=[0,2,1]>(a)  q = Reshape(p, shape)
        r = Resize<mode="linear">(q, , s)  y = Conv(r, w, c)"""
    weights = {"k": (8, 24), "b": (24,), "shape": ints(1, 24, 5, 7), "w": (4, 24, 1, 1), "c": (4,)}
    model = net(steps, "1,4,10,14", "float[1,35,8] x", s=TWICE, **weights)
    fusion = assert_moves(
        model, ["Tanh", "MatMul", "Add", "Transpose", "Reshape", "Resize"], "moved before Resize x2, Reshape"
    )
    assert count(fusion.model)["Add"] == 1


@pytest.mark.parametrize("shape", [(0, 24, 5, 7), (-1, 24, 5, 7), (1, -1, 5, 7), (1, 24, 5, -1)])
def test_the_entry_of_the_channels_follows_them(shape):
    steps = "m = MatMul(x, k)  p = Transpose<perm=[0,2,1]>(m)  q = Reshape(p, shape)  y = Conv(q, w)"
    model = net(steps, "1,4,5,7", "float[1,35,8] x", k=(8, 24), shape=ints(*shape), w=(4, 24, 1, 1))
    assert_moves(model, ["MatMul", "Transpose", "Reshape"], "1x1 Conv moved before")


def test_a_reshape_that_mixes_channels_stays():
    steps = "m = MatMul(x, k)  q = Reshape(m, shape)  y = Conv(q, w)"
    assert_stays(net(steps, "1,4,5,7", "float[1,35,8] x", k=(8, 24), shape=ints(1, 24, 5, 7), w=(4, 24, 1, 1)))


# Pool first.


@pytest.mark.parametrize(
    ("pool", "out"),
    [
        ("AveragePool<kernel_shape=[2,2], strides=[2,2]>(a)", "1,8,2,3"),
        ("AveragePool<kernel_shape=[2,2], strides=[2,2], ceil_mode=1>(a)", "1,8,3,4"),
        ("AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(a)", "1,8,3,4"),
        ('AveragePool<kernel_shape=[3,3], strides=[2,2], auto_pad="SAME_UPPER">(a)', "1,8,3,4"),
        ("GlobalAveragePool(a)", "1,8,1,1"),
        ("ReduceMean<axes=[2,3]>(a)", "1,8,1,1"),
        ("ReduceMean<axes=[-1]>(a)", "1,8,5,1"),
        ("Resize(a, , half)", "1,8,2,3"),
        ("Slice(a, start, stop, axes)", "1,8,2,7"),
    ],
)
def test_a_pool_comes_before_a_pointwise_convolution(pool, out):
    constants = {"half": HALF, "start": ints(1), "stop": ints(3), "axes": ints(2)}
    read = {name: value for name, value in constants.items() if f" {name}" in pool}
    model = net(f"r = Relu(x)  a = Conv(r, w, c)  b = {pool}  y = Relu(b)", out, w=(8, 6, 1, 1), c=(8,), **read)
    op_type = pool.partition("(")[0].partition("<")[0]
    fusion = fuse(model)
    assert ops(fusion.model) == ["Relu", op_type, "Conv", "Relu"]
    assert [region.moved.startswith(f"1x1 Conv moved behind {op_type}") for region in fusion.regions] == [True]
    assert_same_outputs(model, fusion.model)
    assert_final(fusion)


def test_a_mean_that_takes_the_axes_away():
    model = net(
        "r = Relu(x)  a = Conv(r, w, c)  y = ReduceMean<axes=[2,3], keepdims=0>(a)", "1,8", w=(8, 6, 1, 1), c=(8,)
    )
    assert_moves(model, ["Relu", "ReduceMean", "Gemm"], "1x1 Conv moved behind ReduceMean")


@pytest.mark.parametrize(
    "steps",
    [
        "a = Conv(r, w)  y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)",
        "a = Conv(r, w)  b = Relu(a)  y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(b)",
        "a = Conv<pads=[1,1,1,1]>(r, w)  y = GlobalAveragePool(a)",  # its border is its own
        "a = Conv(r, w)  b = GlobalAveragePool(a)  y = Mul(a, b)",  # read elsewhere as well
        "a = Conv(r, w)  y = ReduceMean<axes=[1]>(a)",
        "a = Conv(r, w)  y = ReduceMean(a)",
    ],
)
def test_what_stays_before_a_pool(steps):
    assert_stays(net(f"r = Relu(x)  {steps}", "A,B,C,D", w=(4, 6, 1, 1)))


@pytest.mark.parametrize("pool", ["GlobalAveragePool(r)", "ReduceMean<axes=[2,3]>(r)"])
def test_a_pool_of_single_positions_stays_before_a_map(pool):
    steps = f"r = Relu(x)  b = {pool}  c = Conv(b, w)  y = Relu(c)"
    assert_stays(net(steps, "1,2,1,1", "float[1,64,1,1] x", w=(2, 64, 1, 1)))


def test_zeros_around_the_image_are_no_mean():
    pool = "AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1], count_include_pad=1>(a)"
    model = net(f"r = Relu(x)  a = Conv(r, w, c)  y = {pool}", "1,4,3,4", w=(4, 6, 1, 1), c=(4,))
    assert not any(region.moved for region in fuse(model).regions)


# What holds of all of them.


def test_what_is_below_is_left_where_that_is_asked_for():
    model = net("a = Relu(x)  b = Resize(a, , s)  y = Conv(b, w)", "1,4,10,14", s=TWICE, w=(4, 6, 1, 1))
    assert fuse(model, below=False).model is model


def test_sizes_that_are_not_known_cost_nothing_that_could_be_compared():
    steps = "a = NonZero(x)  b = Cast<to=1>(a)  c = Unsqueeze(b, axes)  d = Resize(c, , s)  y = Conv(d, w)"
    model = net(steps, "A,B,C,D", "float[3,4] x", axes=ints(0, 3), s=np.float32([1, 1, 2, 1]), w=(4, 2, 1, 1))
    assert_stays(model)


def test_every_moved_map_is_proven_under_a_bound():
    steps = (
        """a = Relu(x)  b = Resize<mode="linear">(a, , s)  e = Concat<axis=1>(b, z)  f = Conv(e, w, v)  y = Relu(f)"""
    )
    model = net(steps, "1,8,10,14", "float[1,16,5,7] x, float[1,8,10,14] z", s=TWICE, w=(8, 24, 1, 1), v=(8,))
    proof = prove(model)
    assert proof.parity.passed
    (region,) = proof.regions
    assert region.sink == "f"
    assert 0 < region.used < 1
    assert region.bound < 1e-3


def test_a_fold_whose_kernel_was_moved_afterwards_is_proven():
    steps = """a = Conv(x, w)  b = Resize(a, , s)  c = BatchNormalization(b, gamma, beta, mean, var)  d = Conv(c, v)
        e = Mul(d, g)  y = Transpose<perm=[0,2,3,1]>(e)"""
    text = f"net (float[1,6,5,7] x) => (float[1,4,10,14] c, float[1,10,14,3] y) {{ {steps} }}"
    weights = {"w": (4, 6, 1, 1), "v": (3, 4, 1, 1), "g": (1, 3, 1, 1), **batch_norm(4)}
    proof = prove(build(text, s=TWICE, **weights))
    assert proof.parity.passed
    assert not proof.failed
    assert {"c", "y"} <= {region.sink for region in proof.fusion.regions} | {"y"}


def test_numbers_without_an_exact_form_leave_the_map_where_it_is():
    steps = "a = Conv(x, w)  b = Resize(a, , s)  c = Mul(b, g)  y = Relu(c)"
    model = net(steps, "1,4,10,14", s=TWICE, w=(4, 6, 1, 1), g=np.full((1, 4, 1, 1), 3e38, np.float32))
    fusion = fuse(model)
    assert not fusion.regions
    assert "overflow" in {refusal.code for refusal in fusion.refusals}


def test_the_same_bytes_twice():
    steps = """a = Relu(x)  b = Resize(a, , s)  e = Concat<axis=1>(b, z)  f = Conv(e, w, v)  y = Relu(f)"""
    model = net(steps, "1,8,10,14", "float[1,16,5,7] x, float[1,8,10,14] z", s=TWICE, w=(8, 24, 1, 1), v=(8,))
    first, second = (fuse(model).model.SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_moving_comes_to_an_end():
    """A map moved before a Resize of computed sizes, behind it, and before it again: each way saved something."""
    model, _ = random_model(7014217)
    fusion = fuse(model)
    assert any(region.moved for region in fusion.regions)
    assert not fuse(fusion.model).regions
