"""Weights that are no numbers, or make none: each has one defined result, and none a warning."""

import numpy as np
import onnx
import pytest

from repvgg_onnx import fuse
from tests.hostile.models import scaled
from tests.models import assert_refuses, assert_same_outputs, build

NORMALIZED = "net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv(x, w)  y = BatchNormalization%s(a, g, b, m, v) }"


def normalized(epsilon: float | None = None, **statistics) -> onnx.ModelProto:
    """A Conv and a BatchNormalization, whose statistics are plain numbers where none are given."""
    plain = {name: np.float32([1, 2, 3, 4]) for name in ("g", "b", "m", "v")} | statistics
    model = build(NORMALIZED % "", w=(4, 4, 1, 1), **plain)
    if epsilon is not None:
        model.graph.node[1].attribute.append(onnx.helper.make_attribute("epsilon", epsilon))
    return model


def with_one(value: float, shape: tuple[int, ...]) -> np.ndarray:
    """Ones, and one other value."""
    array = np.ones(shape, np.float32)
    array.flat[-1] = value
    return array


NOT_FINITE = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_kernel_with_a_value_that_is_no_number_is_left_alone(value):
    assert_refuses(scaled(w=with_one(value, (4, 4, 1, 1))), "not-finite")


@pytest.mark.parametrize("value", NOT_FINITE)
def test_a_gain_that_is_no_number_is_left_alone(value):
    assert_refuses(scaled(s=with_one(value, (4, 1, 1))), "not-finite")


@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("name", ["g", "b", "m"])
def test_statistics_that_are_no_numbers_are_left_alone(name, value):
    assert_refuses(normalized(**{name: with_one(value, (4,))}), "not-finite")


def test_an_infinity_times_zero_is_left_alone():
    zeros = np.zeros((4, 1, 1), np.float32)
    assert_refuses(scaled(w=with_one(np.inf, (4, 4, 1, 1)), s=zeros), "not-finite")


@pytest.mark.parametrize("value", [np.nan, -1.0, -np.inf])
def test_a_variance_that_is_negative_or_no_number_is_left_alone(value):
    assert_refuses(normalized(v=with_one(value, (4,))), "bad-variance")


def test_an_infinite_variance_makes_a_gain_of_zero():
    model = normalized(v=with_one(np.inf, (4,)))
    fused = fuse(model).model
    assert len(fused.graph.node) == 1
    assert_same_outputs(model, fused)


def test_a_variance_and_an_epsilon_of_zero_are_left_alone():
    assert_refuses(normalized(0.0, v=with_one(0, (4,))), "bad-variance")


def test_a_variance_of_zero_with_an_epsilon_folds():
    model = normalized(1e-5, v=with_one(0, (4,)))
    assert_same_outputs(model, fuse(model).model, 1e-5)


def test_a_negative_variance_that_epsilon_lifts_above_zero_folds():
    model = normalized(0.5, v=with_one(-0.25, (4,)))
    assert len(fuse(model).regions) == 1
    assert_same_outputs(model, fuse(model).model)


@pytest.mark.parametrize("epsilon", [np.nan, -2.0])
def test_an_epsilon_that_makes_no_variance_is_left_alone(epsilon):
    assert_refuses(normalized(epsilon), "bad-variance")


def test_a_division_by_zero_is_left_alone():
    model = build(
        "net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv(x, w)  y = Div(a, s) }",
        w=(4, 4, 1, 1),
        s=with_one(0, (4, 1, 1)),
    )
    assert_refuses(model, "division-by-zero")


def test_what_overflows_when_it_is_folded_is_left_alone():
    huge = np.full((4, 4, 1, 1), 1e30, np.float32)
    assert_refuses(scaled(w=huge, s=np.float32([1e30])), "overflow")


@pytest.mark.parametrize("command", [["fuse", "--check"], ["fuse"], ["inspect"]], ids=" ".join)
@pytest.mark.parametrize(
    "model",
    [scaled(w=with_one(np.nan, (4, 4, 1, 1))), normalized(v=with_one(-1, (4,))), normalized(0.0, v=with_one(0, (4,)))],
    ids=["nan", "negative-variance", "zero-variance"],
)
def test_such_models_end_in_exit_0_and_no_warning(tmp_path, run, model, command):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    ran = run(*command, path)
    assert (ran.code, ran.err) == (0, "")


INTEGERS = np.iinfo(np.int64)


@pytest.mark.parametrize("op_type", ["Div", "Mod"])
@pytest.mark.parametrize(("one", "other"), [(7, 0), (INTEGERS.min, -1)], ids=["by-zero", "smallest-by-minus-one"])
def test_integer_divisions_that_stop_a_process_are_not_tried(op_type, one, other):
    model = build(
        f"""net (float[1,4,5,7] x) => (float[1,4,5,7] y) {{
            q = {op_type}(one, other)  s = Cast<to=1>(q)  a = Conv(x, w)  y = Mul(a, s)
        }}""",
        w=(4, 4, 1, 1),
        one=np.int64([one]),
        other=np.int64([other]),
    )
    assert_refuses(model)


@pytest.mark.parametrize(("one", "other"), [(7, -2), (-7, 2), (INTEGERS.min, 1), (7, -1)])
def test_other_integer_divisions_are_made(one, other):
    model = build(
        """net (float[1,4,5,7] x) => (float[1,4,5,7] y) {
            q = Div(one, other)  s = Cast<to=1>(q)  a = Conv(x, w)  y = Mul(a, s)
        }""",
        w=(4, 4, 1, 1),
        one=np.int64([one]),
        other=np.int64([other]),
    )
    fused = fuse(model).model
    assert len(fused.graph.node) == 1
    assert_same_outputs(model, fused)
