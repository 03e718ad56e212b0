"""auto_pad stands for the pads that onnxruntime uses, or is kept where the size decides and is dynamic."""

import itertools

import pytest

from repvgg_onnx import fuse
from tests.models import assert_fuses, assert_refuses, attributes_of, batch_norm, build

MODES = ("SAME_UPPER", "SAME_LOWER", "VALID")


def padded(mode: str, *, size: str = "9,11", kernel=(3, 3), strides=(1, 1), dilations=(1, 1), opset: int = 17):
    attributes = f'auto_pad="{mode}", strides={list(strides)}, dilations={list(dilations)}'
    text = f"""net (float[1,4,{size}] x) => (float[1,2,P,Q] y) {{
        a = Conv<{attributes}>(x, w)  y = BatchNormalization(a, gamma, beta, mean, var)
    }}"""
    return build(text, opset=opset, w=(2, 4, *kernel), gamma=(2,), beta=(2,), mean=(2,), var=(2,))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("size", "kernel", "strides"),
    [
        ("9,11", (3, 3), (1, 1)),
        ("9,11", (2, 3), (1, 1)),
        ("10,11", (3, 2), (2, 2)),
        ("9,12", (5, 3), (2, 3)),
        ("5,7", (1, 2), (4, 3)),
    ],
)
def test_pads_are_the_runtimes(mode, size, kernel, strides):
    assert_fuses(padded(mode, size=size, kernel=kernel, strides=strides), ["Conv"])


def test_dilated_and_valid_is_the_runtimes():
    assert_fuses(padded("VALID", dilations=(2, 1), kernel=(3, 2)), ["Conv"])


@pytest.mark.parametrize(("mode", "pads"), [("SAME_UPPER", (2, 0, 2, 1)), ("SAME_LOWER", (2, 1, 2, 0))])
def test_dilated_and_same_is_the_specifications(mode, pads):
    """onnxruntime cannot run it, so the pads are counted by hand."""
    (region,) = fuse(padded(mode, dilations=(2, 1), kernel=(3, 2))).regions
    assert region.pads == pads


@pytest.mark.parametrize("opset", [7, 11, 22])
def test_the_meaning_did_not_change_with_the_opset(opset):
    assert_fuses(padded("SAME_LOWER", kernel=(2, 4), strides=(2, 2), opset=opset), ["Conv"])


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_stride_one_needs_no_sizes(mode):
    model = padded(mode, size="H,W", kernel=(2, 3))
    for shape in ((1, 4, 9, 11), (1, 4, 6, 5)):
        assert_fuses(model, ["Conv"], x=shape)


SIZES = ((1, 4, 9, 11), (1, 4, 10, 12), (1, 4, 9, 8))


@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("size", ["H,W", "9,W"])
def test_a_gain_and_an_offset_need_no_pads(mode, size, opset):
    model = padded(mode, size=size, strides=(2, 2), kernel=(3, 4), opset=opset)
    for shape in SIZES:
        if size == "H,W" or shape[2] == 9:
            fusion = assert_fuses(model, ["Conv"], x=shape)
            given = attributes_of(fusion.model.graph.node[0])
            assert given["auto_pad"].decode() == mode
            assert given["strides"] == [2, 2]
            assert "pads" not in given
            assert fusion.regions[0].pads == ()


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_branches_and_pointwise_kernels_beside_pads_that_are_not_known(mode):
    """All that does not depend on where the taps sit."""
    place = f'auto_pad="{mode}", strides=[2,2]'
    text = f"""net (float[1,4,H,W] x) => (float[1,3,P,Q] y) {{
        s = Mul(x, g)  n = Conv(s, v)  a = Conv<{place}>(n, w)  b = Conv<{place}, group=2>(x, k)  c = Add(a, b)
        d = Conv(c, u, t)  y = Neg(d)
    }}"""
    shapes = {"g": (4, 1, 1), "v": (4, 4, 1, 1), "w": (6, 4, 3, 3), "k": (6, 2, 3, 3), "u": (3, 6, 1, 1), "t": (3,)}
    for shape in SIZES:
        assert_fuses(build(text, **shapes), ["Conv"], x=shape)


PADLESS = {
    "another kernel": 'b = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, k)  y = Add(a, b)',
    "another mode": 'b = Conv<auto_pad="SAME_LOWER", strides=[2,2]>(x, w)  y = Add(a, b)',
    "a point": 'b = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, v)  y = Add(a, b)',
    "a kernel behind": "y = Conv(a, w)",
}


@pytest.mark.parametrize("steps", PADLESS.values(), ids=PADLESS)
def test_what_needs_the_pads_is_refused(steps):
    text = f"""net (float[1,4,H,W] x) => (float[1,4,P,Q] y) {{
        a = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)  {steps}
    }}"""
    assert_refuses(build(text, w=(4, 4, 3, 3), k=(4, 4, 5, 5), v=(4, 4, 1, 1)), "auto-pad-dynamic")


def test_a_kernel_before_pads_that_are_not_known_is_refused():
    text = """net (float[1,4,H,W] x) => (float[1,4,P,Q] y) {
        a = Conv<pads=[1,1,1,1]>(x, w)  y = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(a, w)
    }"""
    assert_refuses(build(text, w=(4, 4, 3, 3)), "auto-pad-dynamic")


def test_a_pool_needs_its_pads():
    text = """net (float[1,4,H,W] x) => (float[1,4,P,Q] y) {
        a = Conv(x, w)
        y = AveragePool<auto_pad="SAME_UPPER", kernel_shape=[3,3], strides=[2,2], count_include_pad=1>(a)
    }"""
    assert_refuses(build(text, w=(4, 4, 1, 1)), "auto-pad-dynamic")


@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize(
    "place",
    [
        'auto_pad="SAME_UPPER", strides=[2,2]',
        'auto_pad="SAME_LOWER", strides=[2,3]',
        'auto_pad="VALID", strides=[2,2]',
        "output_shape=[10,15], strides=[2,2]",
    ],
)
@pytest.mark.parametrize("size", ["5,7", "H,W"])
def test_a_gain_behind_a_transposed_convolution_needs_no_pads(place, size, opset):
    text = f"""net (float[1,4,{size}] x) => (float[1,2,P,Q] y) {{
        a = ConvTranspose<{place}, kernel_shape=[3,3]>(x, w)  y = BatchNormalization(a, gamma, beta, mean, var)
    }}"""
    model = build(text, opset=opset, w=(4, 2, 3, 3), **batch_norm(2))
    assert_fuses(model, ["ConvTranspose"], x=(1, 4, 5, 7))


def test_one_dynamic_axis_of_stride_one_is_no_obstacle():
    assert_fuses(padded("SAME_UPPER", size="9,W", strides=(2, 1)), ["Conv"], x=(1, 4, 9, 8))


def test_valid_with_dynamic_sizes():
    assert_fuses(padded("VALID", size="H,W", strides=(2, 2)), ["Conv"], x=(1, 4, 9, 8))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_a_strided_same_block_puts_the_pointwise_branch_where_its_tap_is(mode):
    for size, strides in itertools.product(("10,12", "9,12"), ((2, 2),)):
        text = f"""net (float[1,4,{size}] x) => (float[1,4,P,Q] y) {{
            a = Conv<auto_pad="{mode}", strides={list(strides)}>(x, w3)
            b = Conv<auto_pad="{mode}", strides={list(strides)}>(x, w1)
            y = Add(a, b)
        }}"""
        fusion = assert_fuses(build(text, w3=(4, 4, 3, 3), w1=(4, 4, 1, 1)), ["Conv"])
        assert fusion.regions[0].kernel_shape == (3, 3)


def test_a_size_that_only_a_stale_annotation_knows_is_not_trusted():
    text = """net (float[1,4,H,W] x) => (float[1,2,P,Q] y) {
        r = Relu(x)  a = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(r, w)  y = Mul(a, s)
    }"""
    model = build(text, w=(2, 4, 3, 3), s=(1,))
    annotation = model.graph.value_info.add()
    annotation.CopyFrom(model.graph.input[0])
    annotation.name = "r"
    for axis, size in ((2, 10), (3, 12)):
        annotation.type.tensor_type.shape.dim[axis].dim_value = size
    fusion = assert_fuses(model, ["Relu", "Conv"], x=(1, 4, 9, 11))
    assert fusion.regions[0].pads == ()


def test_a_negative_size_means_dynamic():
    model = padded("SAME_UPPER", size="H,W", strides=(2, 2))
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = -1
    assert fuse(model).regions[0].pads == ()
