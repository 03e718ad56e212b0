"""Spatial operators as values: weights as onnxruntime has them, rows that sum to one, and what can be asked of them."""

from itertools import product

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from repvgg_onnx.affine.spatial import Arranged, Cut, Interpolation, Resampled
from repvgg_onnx.errors import GeometryError
from tests.oracle import run

TRANSFORMATIONS = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
SIZES = ((5, 7, 10, 14), (5, 7, 15, 7), (4, 7, 2, 3), (6, 5, 9, 1))
RULES = [
    *(Interpolation("nearest", *each) for each in product(TRANSFORMATIONS, ROUNDINGS)),
    *(Interpolation("linear", name) for name in TRANSFORMATIONS),
    *(Interpolation("cubic", *each) for each in product(TRANSFORMATIONS, [""], [-0.75, -0.5], [False, True])),
    Interpolation("linear", "half_pixel", antialias=True),
    Interpolation("cubic", "half_pixel", antialias=True),
    Interpolation("cubic", "half_pixel", antialias=True, exclude_outside=True),
]


def resized(rule: Interpolation, image: np.ndarray, height: int, width: int) -> np.ndarray:
    """What onnxruntime makes of an image."""
    given = {"mode": rule.mode, "coordinate_transformation_mode": rule.transformation}
    if rule.mode == "nearest":
        given["nearest_mode"] = rule.nearest_mode
    if rule.mode == "cubic":
        given |= {"cubic_coeff_a": rule.cubic_coeff_a, "exclude_outside": int(rule.exclude_outside)}
    if rule.antialias:
        given["antialias"] = 1
    node = helper.make_node("Resize", ["x", "", "", "s"], ["y"], **given)
    shape = numpy_helper.from_array(np.int64([*image.shape[:2], height, width]), "s")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
    graph = helper.make_graph([node], "resize", ends[:1], ends[1:], [shape])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    return run(model, {"x": image})[0]


def value(rule: Interpolation, height: int, width: int, new_height: int, new_width: int) -> Resampled:
    scales = (new_height / height, new_width / width)
    return Resampled((1, height, width), (1, new_height, new_width), rule, (1.0, *scales))


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_weights_are_those_of_onnxruntime_and_sum_to_one(rule):
    image = np.random.default_rng(0).normal(size=(1, 2, 7, 9)).astype(np.float32)
    for height, width, new_height, new_width in SIZES:
        operator = value(rule, height, width, new_height, new_width)
        x = image[:, :, :height, :width]
        rows, columns = operator.matrices[1:]
        np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=0, atol=1e-12)
        np.testing.assert_allclose(columns.sum(axis=1), 1, rtol=0, atol=1e-12)
        assert operator.keeps_constants
        expected = resized(rule, x, new_height, new_width)
        np.testing.assert_allclose(rows @ x @ columns.T, expected, rtol=0, atol=2e-5)


def test_what_is_not_known_to_sum_to_one_is_not_said_to():
    cropped = Interpolation("linear", "tf_crop_and_resize")
    assert not cropped.is_normal
    with pytest.raises(GeometryError, match="outside"):
        cropped.matrix(4, 8, 2.0)
    assert not Interpolation("lanczos", "half_pixel").is_normal
    excluding = Interpolation("cubic", "half_pixel", exclude_outside=True)
    assert not excluding.is_normal
    assert not Resampled((None, 4), (None, 8), excluding, (None, 2.0)).keeps_constants
    assert Resampled((3, 4), (3, 8), excluding, (1.0, 2.0)).keeps_constants
    plain = Interpolation("cubic", "half_pixel")
    assert Resampled((None, None), (None, None), plain, (None, 2.0)).keeps_constants


def test_weights_that_do_not_sum_to_one_are_seen(monkeypatch):
    right = Interpolation.matrix
    monkeypatch.setattr(Interpolation, "matrix", lambda *arguments: right(*arguments) * 1.001)
    rule = Interpolation("cubic", "half_pixel", exclude_outside=True)
    assert not Resampled((3, 4), (3, 8), rule, (1.0, 2.0)).keeps_constants


def test_a_resize_to_the_same_size_is_an_identity_and_half_a_pixel_off_is_not():
    assert value(Interpolation("linear", "half_pixel"), 5, 7, 5, 7).is_identity
    assert value(Interpolation("cubic", "align_corners"), 5, 7, 5, 7).is_identity
    assert not value(Interpolation("linear", "half_pixel"), 5, 7, 5, 14).is_identity
    moved = Resampled((5,), (5,), Interpolation("linear", "asymmetric"), (1.1,))
    assert not moved.is_identity
    assert not Resampled((None,), (None,), Interpolation("linear", "half_pixel"), (None,)).is_identity
    assert Resampled((None,), (None,), Interpolation("linear", "half_pixel"), (1.0,)).is_identity


@pytest.mark.parametrize(
    ("rule", "counts"),
    [
        (Interpolation("nearest", "asymmetric", "floor"), (1, 2, 3)),
        (Interpolation("nearest", "half_pixel", "round_prefer_floor"), (1, 2, 3)),
        (Interpolation("nearest", "asymmetric", "ceil"), None),
        (Interpolation("nearest", "align_corners", "floor"), None),
        (Interpolation("linear", "half_pixel"), None),
    ],
)
def test_a_nearest_repeat_is_told_from_what_is_none(rule, counts):
    assert value(rule, 5, 7, 10, 21).repeats == counts


def test_negative_weights_reach_farther_than_one():
    assert value(Interpolation("linear", "half_pixel"), 5, 7, 10, 14).reach == 1.0
    assert value(Interpolation("cubic", "half_pixel"), 5, 7, 10, 14).reach > 1.2
    assert Resampled((None,), (None,), Interpolation("cubic", "half_pixel"), (2.0,)).reach is None


def test_operators_are_equal_exactly_if_they_do_the_same():
    rule = Interpolation("linear", "half_pixel")
    assert value(rule, 5, 7, 10, 14) == value(Interpolation("linear", "half_pixel"), 5, 7, 10, 14)
    assert value(rule, 5, 7, 10, 14) != value(Interpolation("linear", "asymmetric"), 5, 7, 10, 14)
    assert value(rule, 5, 7, 10, 14) != value(rule, 5, 7, 10, 15)
    assert Cut((5,), (5,), ((2, 0, 9, 1),)).is_identity
    assert not Cut((5,), (5,), ((2, -1, -9, -1),)).is_identity
    assert not Cut((5,), (4,), ((2, 1, 9, 1),)).is_identity
    assert not Arranged((5,), (5,), (1, 1)).is_identity
    assert not Arranged((None,), (5,), (1, 1)).is_known
