"""Every operation of AffineConv preserves the function, with onnxruntime as the judge."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import assume, given

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.errors import GeometryError
from tests.oracle import apply, error

WORST = 1e-6
SIZE = (9, 11, 7)


@st.composite
def maps(draw, *, rank=None, c_in=None, c_out=None, strides=None, bias=True):
    """A random AffineConv with unequal axes."""
    rank = draw(st.integers(0, 3)) if rank is None else rank
    group = draw(st.sampled_from([1, 2, 3])) if c_in is None else draw(_divisors(math.gcd(c_in, c_out or c_in)))
    c_in = c_in or group * draw(st.integers(1, 3))
    c_out = c_out or group * draw(st.integers(1, 3))
    kernel_shape = [draw(st.integers(1, 3)) for _ in range(rank)]
    strides = [draw(st.integers(1, 2)) for _ in range(rank)] if strides is None else strides[:rank]
    pads = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    kernel = rng.normal(size=(c_out, c_in // group, *kernel_shape))
    offsets = rng.normal(size=c_out) if bias else None
    return AffineConv(kernel, offsets, strides, pads, dilations, group)


def _divisors(number):
    return st.sampled_from([n for n in range(1, number + 1) if number % n == 0])


def signal(conv, seed=0):
    """A signed input for the map, 2 x c_in x 9 x 11 x 7 or fewer axes."""
    geometry = conv.geometry
    return np.random.default_rng(seed).normal(size=(2, geometry.c_in, *SIZE[: geometry.rank])).astype(np.float32)


def size_of(conv):
    return SIZE[: conv.geometry.rank]


@given(maps(), st.integers(0, 99))
def test_scale_and_shift_act_on_the_output_channels(conv, seed):
    rng = np.random.default_rng(seed)
    gain, offset = rng.normal(size=(2, conv.geometry.c_out))
    column = (1, -1, *(1,) * conv.geometry.rank)
    expected = apply(conv, signal(conv)) * gain.reshape(column) + offset.reshape(column)
    scaled = conv.scale(gain).shift(offset)
    assert scaled.geometry == conv.geometry
    assert error(expected, apply(scaled, signal(conv))) < WORST


@given(st.data())
def test_add_is_the_sum_of_the_outputs(data):
    first = data.draw(maps())
    geometry = first.geometry
    second = data.draw(maps(rank=geometry.rank, c_in=geometry.c_in, c_out=geometry.c_out, strides=geometry.strides))
    x = signal(first)
    outputs = [apply(conv, x) for conv in (first, second)]
    assume(outputs[0].shape == outputs[1].shape)
    total = first.add(second, size=size_of(first))
    assert error(outputs[0] + outputs[1], apply(total, x)) < WORST
    assert total.geometry.group == math.gcd(geometry.group, second.geometry.group)
    assert second.add(first, size=size_of(first)).geometry == total.geometry


@given(st.data())
def test_add_refuses_unequal_output_sizes(data):
    first = data.draw(maps(rank=2, c_in=2, c_out=4))
    second = data.draw(maps(rank=2, c_in=2, c_out=4, strides=first.geometry.strides))
    assume(first.geometry.output_size((9, 11)) != second.geometry.output_size((9, 11)))
    with pytest.raises(GeometryError):
        first.add(second, size=(9, 11))
    with pytest.raises(GeometryError):
        first.add(second)


@given(st.data())
def test_compose_is_one_after_the_other_or_refused(data):
    inner = data.draw(maps(bias=data.draw(st.booleans())))
    outer = data.draw(maps(rank=inner.geometry.rank, c_in=inner.geometry.c_out, c_out=inner.geometry.c_out * 2))
    x = signal(inner)
    middle = apply(inner, x)
    assume(all(n and n > 0 for n in outer.geometry.output_size(middle.shape[2:])))
    try:
        joined = outer.compose(inner)
    except GeometryError:
        assert any(outer.geometry.pads)
        assert inner.has_bias or not inner.geometry.is_pointwise
        return
    expected = apply(outer, middle)
    assert error(expected, apply(joined, x)) < WORST
    assert joined.geometry.group == math.gcd(inner.geometry.group, outer.geometry.group)


@given(st.data())
def test_compose_with_a_padded_outer_is_exact_for_a_pointwise_inner_without_bias(data):
    inner = AffineConv(np.random.default_rng(1).normal(size=(4, 3, 1, 1)), strides=(2, 1))
    outer = data.draw(maps(rank=2, c_in=4, c_out=2))
    x = signal(inner)
    middle = apply(inner, x)
    assume(all(n > 0 for n in outer.geometry.output_size(middle.shape[2:])))
    assert error(apply(outer, middle), apply(outer.compose(inner), x)) < WORST


def test_strips_compose_across_axes_although_both_are_padded():
    rng = np.random.default_rng(3)
    across = AffineConv(rng.normal(size=(4, 1, 1, 5)), pads=(0, 2, 0, 2), group=4)
    down = AffineConv(rng.normal(size=(4, 1, 7, 1)), pads=(3, 0, 3, 0), group=4)
    x = rng.normal(size=(1, 4, 9, 11)).astype(np.float32)
    joined = down.compose(across)
    assert joined.geometry.kernel_shape == (7, 5)
    assert joined.geometry.group == 4
    assert error(apply(down, apply(across, x)), apply(joined, x)) < WORST


@given(maps(), st.data())
def test_other_representations_are_the_same_map(conv, data):
    x = signal(conv)
    expected = apply(conv, x)
    fewer = data.draw(_divisors(conv.geometry.group))
    larger = [count + data.draw(st.integers(0, 3)) for count in conv.geometry.kernel_shape]
    for other in (conv.regroup(fewer), conv.undilate(), conv.pad_kernel_to(larger)):
        assert error(expected, apply(other, x)) < WORST
    assert set(conv.undilate().geometry.dilations) <= {1}
    assert conv.regroup(fewer).geometry.group == fewer
    assert conv.pad_kernel_to(larger).geometry.kernel_shape == tuple(larger)


def test_same_padding_of_stride_two_puts_the_pointwise_branch_in_the_corner():
    rng = np.random.default_rng(0)
    dense = AffineConv(rng.normal(size=(4, 2, 3, 3)), strides=(2, 2), pads=(0, 0, 1, 1))
    point = AffineConv(rng.normal(size=(4, 2, 1, 1)), strides=(2, 2))
    total = dense.add(point, size=(10, 12))
    assert total.geometry == dense.geometry
    assert np.array_equal(total.kernel[:, :, 0, 0], dense.kernel[:, :, 0, 0] + point.kernel[:, :, 0, 0])
    assert np.array_equal(total.kernel[:, :, 1, 1], dense.kernel[:, :, 1, 1])
    with pytest.raises(GeometryError, match="different output sizes"):
        dense.add(point, size=(9, 12))
    with pytest.raises(GeometryError, match="dynamic"):
        dense.add(point, size=(None, 12))


def test_a_dilated_kernel_beside_a_pointwise_one_keeps_its_dilation():
    wide = AffineConv(np.ones((2, 2, 3, 3)), pads=(2, 2, 2, 2), dilations=(2, 2))
    total = wide.add(AffineConv(np.ones((2, 2, 1, 1))))
    assert total.geometry == wide.geometry
    assert total.kernel[0, 0].tolist() == [[1, 1, 1], [1, 2, 1], [1, 1, 1]]


def test_unequal_dilations_meet_on_their_gcd():
    wide = AffineConv(np.ones((2, 2, 3)), pads=(4, 4), dilations=(4,))
    middle = AffineConv(np.ones((2, 2, 5)), pads=(4, 4), dilations=(2,))
    assert wide.add(middle).geometry.dilations == (2,)


def test_depthwise_sums_stay_depthwise_and_identities_fit_any_group():
    depthwise = AffineConv(np.ones((6, 1, 3, 3)), pads=(1, 1, 1, 1), group=6)
    skip = AffineConv.identity(6, rank=2)
    assert depthwise.add(skip.scale(2.0)).geometry.group == 6
    halves = AffineConv(np.ones((6, 3, 3, 3)), pads=(1, 1, 1, 1), group=2)
    assert halves.add(skip).geometry.group == 2
    assert (
        AffineConv(np.ones((6, 2, 1, 1)), group=3).add(AffineConv(np.ones((6, 3, 1, 1)), group=2)).geometry.group == 1
    )


def test_a_gain_before_a_grouped_convolution_keeps_its_groups():
    grouped = AffineConv(np.random.default_rng(0).normal(size=(6, 3, 3, 3)), pads=(1, 1, 1, 1), group=2)
    gain = AffineConv.identity(6, rank=2).scale(np.arange(1.0, 7.0))
    joined = grouped.compose(gain)
    assert joined.geometry == grouped.geometry
    assert np.allclose(joined.kernel[3:, 1], grouped.kernel[3:, 1] * 5.0, rtol=1e-15, atol=0)


def test_a_bias_before_padding_is_refused_and_without_padding_is_carried():
    shifted = AffineConv.identity(2, rank=2).shift([1.0, -2.0])
    kernel = np.random.default_rng(0).normal(size=(4, 2, 3, 3))
    with pytest.raises(GeometryError) as refusal:
        AffineConv(kernel, pads=(1, 1, 1, 1)).compose(shifted)
    assert refusal.value.code == "border-bias"
    carried = AffineConv(kernel).compose(shifted).bias
    assert np.allclose(carried, kernel[:, 0].sum(axis=(1, 2)) - 2 * kernel[:, 1].sum(axis=(1, 2)))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kernel": np.ones(3)}, "at least 2 axes"),
        ({"kernel": np.ones((2, 2, 3)), "strides": (1, 1)}, "spatial axes need"),
        ({"kernel": np.ones((2, 2, 3)), "pads": (-1, 0)}, "negative pads"),
        ({"kernel": np.ones((3, 2, 3)), "group": 2}, "do not divide"),
        ({"kernel": np.ones((2, 2, 3)), "dilations": (0,)}, "positive"),
        ({"kernel": np.ones((2, 2, 3)), "bias": np.ones(3)}, "the bias has shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments, sentence):
    with pytest.raises(GeometryError, match=sentence):
        AffineConv(**arguments)


def test_kernels_are_computed_when_read_and_never_before():
    reads = []
    leaf = AffineConv(np.ones((2, 2, 3)))
    lazy = AffineConv.deferred(leaf.geometry, lambda: reads.append(1) or leaf.kernel)
    total = AffineConv(np.ones((2, 2, 1))).compose(lazy.scale(2.0)).add(leaf)
    assert total.geometry.kernel_shape == (3,)
    assert not reads
    assert total.kernel[0, 0].tolist() == [5.0, 5.0, 5.0]
    assert reads == [1]


@given(st.data())
def test_a_majorant_is_never_smaller_than_what_it_bounds(data):
    first = data.draw(maps())
    geometry = first.geometry
    second = data.draw(maps(rank=geometry.rank, c_in=geometry.c_in, c_out=geometry.c_out, strides=geometry.strides))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    gain, offset = rng.normal(size=(2, geometry.c_out))
    try:
        total = first.scale(gain).shift(offset).add(second.scale(-1.0), size=size_of(first))
    except GeometryError:
        return
    majorant = total.majorant
    assert majorant.geometry == total.geometry
    assert np.all(majorant.kernel >= np.abs(total.kernel))
    assert np.all(majorant.bias >= np.abs(total.bias))
    x = signal(first)
    assert np.all(apply(majorant, np.abs(x)) * (1 + 1e-5) >= np.abs(apply(total, x)))


def test_cancellation_does_not_shrink_a_majorant():
    kernel = np.random.default_rng(0).normal(size=(4, 2, 3, 3))
    conv = AffineConv(kernel, np.ones(4))
    nothing = conv.add(conv.scale(-1.0))
    assert not nothing.kernel.any()
    assert np.allclose(nothing.majorant.kernel, 2 * np.abs(kernel))
    assert np.allclose(conv.shift(1e-9, magnitude=3.0).majorant.bias, 4.0)
    assert np.allclose(conv.without_bias().majorant.bias, 0.0)


@pytest.mark.parametrize("rows", [slice(0, 2), slice(2, 5), slice(4, 99)])
def test_some_rows_are_those_of_the_whole_kernel(rows):
    rng = np.random.default_rng(3)
    dense = AffineConv(rng.standard_normal((6, 4, 3, 1)), rng.standard_normal(6), pads=(1, 0, 1, 0))
    grouped = AffineConv(rng.standard_normal((6, 2, 1, 1)), group=2)
    gains = AffineConv(rng.standard_normal((4, 1, 1, 1)), group=4)
    before = AffineConv(rng.standard_normal((4, 4, 1, 1)))
    maps = {
        "sum": dense.add(grouped).scale(rng.standard_normal(6)).shift(1.0),
        "grouped sum": grouped.add(AffineConv(rng.standard_normal((6, 2, 3, 1)), pads=(1, 0, 1, 0), group=2)),
        "scaled inputs": grouped.compose(gains),
        "majorant": dense.add(grouped).majorant,
        "product": dense.compose(before),
        "stack": dense.stack(dense.scale(2.0)),
        "regrouped": grouped.regroup(1).without_bias(),
    }

    for name, each in maps.items():
        assert np.array_equal(each.rows(rows), each.kernel[rows]), name
        assert each.by_rows == (name not in ("product", "stack")), name


def test_reading_a_kernel_does_not_change_what_is_read_next():
    dense = AffineConv(np.full((2, 2, 1, 1), 3.0))
    twice = dense.scale(2.0)
    total = twice.add(dense)

    assert twice.kernel.ravel().tolist() == [6.0] * 4
    assert total.kernel.ravel().tolist() == [9.0] * 4
    assert total.kernel.ravel().tolist() == [9.0] * 4
    dense.kernel[...] = 0.0
    assert dense.kernel.ravel().tolist() == [3.0] * 4
