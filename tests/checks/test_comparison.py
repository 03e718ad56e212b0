"""The normalized error of one array against another."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from repvgg_onnx.checks.comparison import normalized_error

FINITE = arrays(np.float64, array_shapes(max_dims=3), elements=st.floats(-1e6, 1e6))


@given(FINITE)
def test_an_array_has_no_error_to_itself(a):
    assert normalized_error(a, a.copy()) == 0


@given(FINITE, st.floats(1e-6, 10))
def test_the_error_of_a_scaled_array_is_the_relative_change(a, change):
    if np.abs(a).max() < 1e-6:
        return
    assert normalized_error(a, a * (1 + change)) == pytest.approx(change, rel=1e-6)


def test_the_error_is_relative_to_the_largest_element_of_the_first():
    assert normalized_error(np.array([8.0, 0.0]), np.array([8.0, 2.0])) == 0.25
    assert normalized_error(np.array([2.0, 0.0]), np.array([2.0, 8.0])) == 4


def test_zeros():
    zeros, ones = np.zeros(3), np.ones(3)
    assert normalized_error(zeros, zeros) == 0
    assert normalized_error(zeros, ones) == math.inf
    assert normalized_error(ones, zeros) == 1
    assert normalized_error(np.zeros((0, 4)), np.zeros((0, 4))) == 0


def test_nan_and_infinity_are_equal_in_the_same_places_only():
    a = np.array([np.nan, np.inf, -np.inf, 4.0])
    assert normalized_error(a, a.copy()) == 0
    assert normalized_error(a, np.array([np.nan, np.inf, -np.inf, 5.0])) == 0.25
    for index, value in ((0, 1.0), (1, -np.inf), (2, np.nan), (3, np.nan), (3, np.inf)):
        b = a.copy()
        b[index] = value
        assert normalized_error(a, b) == math.inf


def test_half_precision_differences_do_not_overflow():
    a = np.array([60000, 1], np.float16)
    assert normalized_error(a, -a) == 2
