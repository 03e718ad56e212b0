"""Whole blocks: RepVGG in all its strides and groups, RepMixer, and the ways in which exporters disguise them."""

import itertools

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from repvgg_onnx import fuse
from tests.models import (
    BF16,
    assert_fuses,
    assert_refuses,
    assert_same_outputs,
    assert_settled,
    attributes_of,
    batch_norm,
    build,
    feeds,
    ops,
    repvgg_block,
    weights_of,
)
from tests.oracle import error

PLAIN = ["Conv", "Relu"]

BLOCKS = {
    "identity": {},
    "wider": {"c_out": 6},
    "strided-odd": {"stride": 2},
    "strided-even": {"stride": 2, "size": "10,12"},
    "groupwise": {"channels": 6, "group": 3},
    "depthwise": {"channels": 6, "group": 6},
    "dilated": {"dilation": 2},
    "dilated-groupwise": {"channels": 6, "group": 2, "dilation": 3},
    "grouped-and-strided": {"channels": 6, "group": 2, "c_out": 4, "stride": 2},
    "tensorflow-even": {"stride": 2, "size": "10,12", "pads": "0,0,1,1"},
}


@pytest.mark.parametrize("options", BLOCKS.values(), ids=BLOCKS)
def test_a_training_time_block_is_one_convolution(options):
    model = repvgg_block(**options)
    (region,) = assert_fuses(model, PLAIN).regions
    dilation, group = options.get("dilation", 1), options.get("group", 1)
    assert (region.kernel_shape, region.group) == ((3, 3), group)
    assert region.dilations == (dilation, dilation)
    assert region.strides == (options.get("stride", 1),) * 2


@pytest.mark.parametrize("opset", [7, 9, 13, 14, 22])
def test_a_block_of_every_opset(opset):
    assert_fuses(repvgg_block(opset=opset), PLAIN)


def test_a_pointwise_branch_beside_tensorflow_pads_sits_in_the_corner():
    """Zeros for the 3x3 branch leave the 1x1 alone, at kernel index (0, 0) and nowhere else."""
    options = BLOCKS["tensorflow-even"]
    model = repvgg_block(**options)
    silence(model, "w3")
    (kernel,) = (array.copy() for array in weights_of(fuse(model).model).values() if array.ndim == 4)
    assert np.any(kernel[:, :, 0, 0])
    kernel[:, :, 0, 0] = 0
    assert not np.any(kernel)


def silence(model: onnx.ModelProto, name: str) -> None:
    """Sets a weight to zeros."""
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.raw_data = bytes(len(tensor.raw_data))


def test_an_odd_size_takes_even_pads():
    text = """net (float[1,4,9,11] x) => (float[1,4,5,6] y) {
        a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w3)  b = Conv<strides=[2,2]>(x, w1)  y = Add(a, b)
    }"""
    (region,) = assert_fuses(build(text, w3=(4, 4, 3, 3), w1=(4, 4, 1, 1)), ["Conv"]).regions
    assert region.pads == (1, 1, 1, 1)


def test_end_pads_that_floor_makes_equal_on_known_sizes_only():
    text = """net (float[1,4,{size}] x) => (float[1,4,P,Q] y) {{
        a = Conv<pads=[1,1,0,0], strides=[2,2]>(x, w3)  b = Conv<pads=[0,0,0,0], strides=[2,2]>(x, w1)  y = Add(a, b)
    }}"""
    weights = {"w3": (4, 4, 3, 3), "w1": (4, 4, 1, 1)}
    assert_fuses(build(text.format(size="10,12"), **weights), ["Conv"])
    assert_refuses(build(text.format(size="H,W"), **weights), "sizes-unknown")


def test_a_size_that_only_a_stale_annotation_knows_decides_nothing():
    text = """net (float[1,4,H,W] x) => (float[1,4,P,Q] y) {
        r = Relu(x)
        a = Conv<pads=[1,1,0,0], strides=[2,2]>(r, w3)  b = Conv<strides=[2,2]>(r, w1)  y = Add(a, b)
    }"""
    model = build(text, w3=(4, 4, 3, 3), w1=(4, 4, 1, 1))
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("r", TensorProto.FLOAT, [1, 4, 10, 12]))
    assert_refuses(model, "sizes-unknown")


def repmixer() -> onnx.ModelProto:
    text = """net (float[2,6,9,11] x) => (float[2,6,9,11] y) {
        n = BatchNormalization(x, gamma1, beta1, mean1, var1)
        c = Conv<group=6, pads=[1,1,1,1]>(x, w)
        m = BatchNormalization(c, gamma2, beta2, mean2, var2)
        e = BatchNormalization(x, gamma3, beta3, mean3, var3)
        b = Add(m, e)
        d = Sub(b, n)
        s = Mul(layer_scale, d)
        y = Add(x, s)
    }"""
    return build(text, w=(6, 1, 3, 3), layer_scale=(1, 6, 1, 1), **batch_norm(6, "1", "2", "3"))


def test_a_repmixer_is_one_depthwise_convolution():
    (region,) = assert_fuses(repmixer(), ["Conv"]).regions
    assert (region.group, region.kernel_shape) == (6, (3, 3))


def test_a_mobileone_sum_that_starts_with_the_number_zero():
    text = """net (float[2,4,9,11] x) => (float[2,4,9,11] y) {
        zero = Constant<value_float=0.0>()
        a = Conv<pads=[1,1,1,1]>(x, u)  b = Conv<pads=[1,1,1,1]>(x, v)  c = Conv(x, w)
        s = Add(zero, a)  t = Add(s, b)  p = Add(t, c)  q = Add(p, x)  y = Relu(q)
    }"""
    assert_fuses(build(text, u=(4, 4, 3, 3), v=(4, 4, 3, 3), w=(4, 4, 1, 1)), PLAIN)


def test_implicit_knowledge_before_and_after_a_pointwise_convolution():
    text = """net (float[2,4,9,11] x) => (float[2,6,9,11] y) {
        a = Add(implicit, x)  b = Conv(a, w, bias)  y = Mul(scale, b)
    }"""
    weights = {"implicit": (1, 4, 1, 1), "w": (6, 4, 1, 1), "bias": (6,), "scale": (1, 6, 1, 1)}
    assert_fuses(build(text, **weights), ["Conv"])


@pytest.mark.parametrize("order", list(itertools.permutations("bde")), ids="".join)
def test_the_order_of_the_operands_changes_nothing(order):
    p, q, r = order
    text = """net (float[1,4,9,11] x) => (float[1,4,9,11] y) {{
        a = Conv<pads=[1,1,1,1]>(x, w3)  b = Neg(a)
        d = Conv(x, w1)
        e = Mul(x, s)
        f = Add({1}, {0})  y = Add({2}, f)
    }}"""
    shapes = {"w3": (4, 4, 3, 3), "w1": (4, 4, 1, 1), "s": (4, 1, 1)}
    fused = assert_fuses(build(text.format(p, q, r), **shapes), ["Conv"]).model
    reference = assert_fuses(build(text.format("b", "d", "e"), **shapes), ["Conv"]).model
    for mine, theirs in zip(weights_of(fused).values(), weights_of(reference).values(), strict=True):
        assert error(theirs, mine) < 1e-7


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_the_nodes_changes_nothing(seed):
    model = repvgg_block()
    shuffled = onnx.ModelProto.FromString(model.SerializeToString())
    reorder(shuffled, np.random.default_rng(seed))
    onnx.checker.check_model(shuffled)
    assert_fuses(shuffled, PLAIN)
    first, second = (weights_of(fuse(each).model) for each in (model, shuffled))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def reorder(model: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Another topological order of the nodes."""
    known = {value.name for value in model.graph.input} | {tensor.name for tensor in model.graph.initializer}
    waiting, ordered = list(model.graph.node), []
    while waiting:
        ready = [node for node in waiting if all(name in known for name in node.input)]
        chosen = ready[rng.integers(len(ready))]
        known |= set(chosen.output)
        ordered.append(chosen)
        waiting = [node for node in waiting if node is not chosen]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(copies)


@pytest.mark.parametrize("names", ["", "same"])
def test_names_of_nodes_are_optional_and_need_not_differ(names):
    model = repvgg_block()
    for node in model.graph.node:
        node.name = names
    fused = fuse(model).model
    assert [(node.op_type, node.name) for node in fused.graph.node] == [("Conv", names), ("Relu", names)]
    for node in (*model.graph.node, *fused.graph.node):
        node.name = ""  # onnxruntime wants names to differ, and ONNX does not
    assert_same_outputs(model, fused)


def test_new_names_avoid_every_old_one():
    text = "net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv(x, w)  y = Mul(a, s) }"
    model = build(text, w=(4, 4, 1, 1), s=(1,))
    wanted = [name for name in fuse(model).model.graph.node[0].input if name != "x"]
    for old, new in zip(("w", "s"), wanted, strict=True):
        rename(model, old, new)
    assert_fuses(model, ["Conv"])


def rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Gives an initializer another name."""
    for tensor in model.graph.initializer:
        tensor.name = new if tensor.name == old else tensor.name
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]


def test_weights_that_two_blocks_share_are_not_changed_in_place():
    text = """net (float[1,4,9,11] x) => (float[1,4,9,11] y) {
        a = Conv<pads=[1,1,1,1]>(x, w, b)  c = Mul(a, s)  r = Relu(c)
        d = Conv<pads=[1,1,1,1]>(r, w, b)  e = Mul(d, t)  y = Relu(e)
    }"""
    model = build(text, w=(4, 4, 3, 3), b=(4,), s=(4, 1, 1), t=(4, 1, 1))
    assert_fuses(model, PLAIN * 2)


def test_weights_that_an_unfolded_convolution_uses_too_stay_as_they_are():
    text = """net (float[1,4,9,11] x) => (float[1,4,9,11] y) {
        a = Conv<pads=[1,1,1,1]>(x, w, b)  r = Relu(a)
        d = Conv<pads=[1,1,1,1]>(r, w, b)  e = Mul(d, t)  y = Relu(e)
    }"""
    model = build(text, w=(4, 4, 3, 3), b=(4,), t=(4, 1, 1))
    fused = assert_fuses(model, PLAIN * 2).model
    before, after = weights_of(model), weights_of(fused)
    assert all(np.array_equal(before[name], after[name]) for name in ("w", "b"))


def test_one_block_after_the_other():
    text = """net (float[1,4,9,11] x) => (float[1,4,9,11] y) {
        a = Conv<pads=[1,1,1,1]>(x, u)  b = Add(a, x)  r = Relu(b)
        c = Conv<pads=[1,1,1,1]>(r, v)  d = Add(c, r)  e = BatchNormalization(d, gamma, beta, mean, var)  y = Relu(e)
    }"""
    model = build(text, u=(4, 4, 3, 3), v=(4, 4, 3, 3), **batch_norm(4))
    assert len(assert_fuses(model, PLAIN * 2).regions) == 2


def test_the_sink_is_an_output_and_is_read_as_well():
    text = """net (float[1,4,9,11] x) => (float[1,4,9,11] a2, float[1,4,9,11] y) {
        a = Conv<pads=[1,1,1,1]>(x, w)  a2 = Add(a, x)  y = Relu(a2)
    }"""
    assert_fuses(build(text, w=(4, 4, 3, 3)), PLAIN)


def test_the_root_is_an_input_and_is_read_elsewhere_and_is_an_output():
    text = """net (float[1,4,9,11] x) => (float[1,4,9,11] y, float[1,4,9,11] r) {
        r = Relu(x)  a = Conv<pads=[1,1,1,1]>(r, w)  b = Add(a, r)  y = Mul(b, x)
    }"""
    assert_fuses(build(text, w=(4, 4, 3, 3)), ["Relu", "Conv", "Mul"])


def test_a_root_that_a_subgraph_reads():
    text = """net (float[1,4,9,11] x, bool c) => (float[1,4,9,11] y, float[1,4,9,11] z) {
        r = Relu(x)  a = Conv<pads=[1,1,1,1]>(r, w)  y = Add(a, r)
        z = If(c) <then_branch = one () => (float[1,4,9,11] p) { p = Neg(r) },
                   else_branch = two () => (float[1,4,9,11] q) { q = Mul(y, x) }>
    }"""
    model = build(text, w=(4, 4, 3, 3))
    assert_fuses(model, ["Relu", "Conv", "If"])


def test_a_shared_intermediate_in_the_middle_splits_the_region():
    text = """net (float[1,4,9,11] x) => (float[1,4,9,11] y, float[1,4,9,11] z) {
        a = Conv<pads=[1,1,1,1]>(x, w)  b = Mul(a, s)  z = Relu(b)  c = Conv(b, v)  y = Add(c, b)
    }"""
    fusion = fuse(build(text, w=(4, 4, 3, 3), v=(4, 4, 1, 1), s=(4, 1, 1)))
    assert_same_outputs(build(text, w=(4, 4, 3, 3), v=(4, 4, 1, 1), s=(4, 1, 1)), fusion.model)
    assert ops(fusion.model) == ["Conv", "Relu", "Conv"]
    assert_settled(fusion)


def test_float16_stays_float16():
    model = repvgg_block(dtype=np.float16)
    half(model, TensorProto.FLOAT16)
    assert_fuses(model, PLAIN, 4e-3)
    assert {array.dtype for array in weights_of(fuse(model).model).values()} == {np.dtype(np.float16)}


def half(model: onnx.ModelProto, elem_type: int) -> None:
    """Gives the ends of the graph another element type."""
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = elem_type


def test_bfloat16_is_the_float32_fold_rounded_once():
    model = repvgg_block(dtype=BF16, opset=22)
    half(model, TensorProto.BFLOAT16)
    wide = onnx.ModelProto.FromString(model.SerializeToString())
    half(wide, TensorProto.FLOAT)
    for tensor in wide.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    fused = fuse(model).model
    assert ops(fused) == PLAIN
    onnx.checker.check_model(fused, full_check=True)
    narrow, exact = weights_of(fused), weights_of(fuse(wide).model)
    for name, array in narrow.items():
        assert array.dtype == ml_dtypes.bfloat16
        assert np.all(np.abs(array.astype(np.float32) - exact[name]) <= 2.0**-8 * np.abs(exact[name]))


def test_float64_is_exact_to_its_own_precision():
    model = repvgg_block(dtype=np.float64)
    half(model, TensorProto.DOUBLE)
    fused = fuse(model).model
    given = feeds(model)
    (expected,), (actual,) = (ReferenceEvaluator(each).run(None, given) for each in (model, fused))
    assert actual.dtype == np.float64
    assert error(expected, actual) < 1e-13


def test_dynamic_height_and_width():
    model = repvgg_block(size="H,W")
    for shape in ((1, 4, 9, 11), (1, 4, 6, 5)):
        assert_fuses(model, PLAIN, x=shape)
    assert attributes_of(fuse(model).model.graph.node[0])["pads"] == [1, 1, 1, 1]


def test_fifty_element_wise_nodes_in_a_row_fold_into_one():
    chain = ["t0 = Conv(x, w)", *(f"t{i} = Mul(t{i - 1}, s)" for i in range(1, 50))]
    text = f"net (float[1,4,5,7] x) => (float[1,4,5,7] y) {{ {' '.join(chain)} y = Neg(t49) }}"
    model = build(text, w=(4, 4, 1, 1), s=np.float32([1.01]))
    (region,) = assert_fuses(model, ["Conv"]).regions
    assert len(region.members) == 51
