"""What is passed by the original's own noise, and what is not."""

import numpy as np
import onnx
import pytest

from repvgg_onnx.checks.parity import verify
from repvgg_onnx.checks.reference import OF_NOISE, PATTERNS, PLAIN, SHIPPED, moved_by
from tests.checks.models import BFLOAT16, model
from tests.checks.noisy import chaos, known, only, regrouped

# Noise


def test_moved_values_are_next_to_the_values_up_or_down_and_zeros_stay():
    values = {"x": np.float32([[1, -2, 0, 3e-45], [np.inf, np.nan, 1e30, -1e-30]]), "i": np.array([1, 2])}
    moved = moved_by(values, PATTERNS[0], 1)
    usual = np.abs(values["x"]) > 0
    up, down = np.nextafter(values["x"], np.float32(np.inf)), np.nextafter(values["x"], np.float32(-np.inf))
    finite = usual & np.isfinite(values["x"]) & (np.abs(values["x"]) > 1e-40)
    assert ((moved["x"] == up) | (moved["x"] == down))[finite].all()
    assert np.array_equal(moved["x"][~finite], values["x"][~finite], equal_nan=True)
    assert np.array_equal(moved["i"], values["i"])
    wide = {"x": np.ones((40, 50), np.float32)}
    signs = [np.sign(moved_by(wide, seed, 8)["x"] - 1) for seed in PATTERNS]
    assert all(0.4 < (sign > 0).mean() < 0.6 for sign in signs)
    assert not np.array_equal(*signs)
    assert np.unique(moved_by(wide, 11, 8)["x"]).tolist() == [1 - 8 * 2.0**-24, 1 + 8 * 2.0**-23]


@pytest.mark.parametrize(("dtype", "unit"), [(np.float64, 2.0**-52), (np.float16, 2.0**-10), (BFLOAT16, 2.0**-7)])
def test_a_unit_is_one_of_the_type(dtype, unit):
    moved = moved_by({"x": np.ones(50, dtype)}, 11, 1)["x"].astype(np.float64)
    assert set(moved) == {1 + unit, 1 - unit / 2}


def test_where_a_model_computes_in_half_precision_a_unit_is_one_of_that():
    moved = moved_by({"x": np.ones(50, np.float32), "z": np.ones(50, BFLOAT16)}, 11, 1, "float16")
    assert set(moved["x"]) == {1 + 2.0**-10, 1 - 2.0**-11}
    assert set(moved["z"].astype(float)) == {1 + 2.0**-7, 1 - 2.0**-8}
    text = "g (float[2,3] x) => (float[2,3] y) { h = Cast<to = 10>(x) y = Cast<to = 1>(h) }"
    run = known(model(text), inputs={"x": np.ones((2, 3), np.float32)}, seeds=())
    assert 2.0**-11 <= run.noise(0)["y"] <= 2.0**-10


def test_the_noise_is_what_moved_inputs_change():
    run = known(off_by_units(0), inputs=NEAR_ONE, seeds=())
    unit = 2.0**-23
    assert run.noise(0)["y"] == pytest.approx(unit / 1e-3, rel=1e-2)
    assert run.noise_of_moves(0, 8)["y"] == pytest.approx(8 * unit / 1e-3, rel=1e-2)


def test_the_noise_is_what_the_other_level_changes():
    """At ORT_ENABLE_ALL the normalization is folded into the convolution, which rounds otherwise."""
    text = """g (float[1,4,9,11] x) => (float[1,6,9,11] y) {
        c = Conv<pads = [1,1,1,1]>(x, k) y = BatchNormalization(c, s, b, m, v) }"""
    ones = {name: np.ones(6, np.float32) * 0.3 for name in ("s", "b", "m", "v")}
    run = known(model(text, {"k": (6, 4, 3, 3), **ones}), seeds=(0, 1))
    for index, (plain, shipped) in enumerate(zip(run.outputs(PLAIN), run.outputs(SHIPPED), strict=True)):
        assert run.noise(index)["y"] >= run.distance("y", plain["y"], shipped["y"]) > 0


def test_the_noise_is_reported_with_the_error():
    parity = verify(chaos(1), chaos(1), seeds=(0, 1))
    output = only(parity)
    assert 1e-8 < output.noise < 1e-4
    assert parity.noise == output.noise
    assert (output.decided_by, output.remark) == ("tolerance", "")


# Outputs that noise decides


NEAR_ONE = {"x": np.float32([[1.001, 1.001, 1.001], [1.001, 0.999, 1.001]])}


def off_by_units(units: int) -> onnx.ModelProto:
    """A small difference of values near 1, which are off by units in the last place."""
    text = "g (float[2,3] x) => (float[2,3] y) { h = Mul(x, k) y = Sub(h, one) }"
    return model(text, {"k": np.float32([1 + units * 2.0**-23]), "one": np.float32([1])})


def test_an_error_of_a_few_times_the_noise_passes_and_says_so():
    output = only(verify(off_by_units(0), off_by_units(3), inputs=NEAR_ONE, seeds=()))
    assert output.passed
    assert output.tolerance < output.error <= OF_NOISE * output.noise
    assert output.decided_by == "noise"
    assert output.remark == f"these inputs do not determine output 'y' to better than {output.noise:.1e}"


def test_an_error_of_many_times_the_noise_fails():
    output = only(verify(off_by_units(0), off_by_units(40), inputs=NEAR_ONE, seeds=()))
    assert not output.passed
    assert output.error > OF_NOISE * output.noise > output.tolerance
    assert f"error {output.error:.2g} is above" in output.difference


def test_a_tolerance_that_is_asked_for_decides_alone():
    pair = off_by_units(0), off_by_units(3)
    assert verify(*pair, inputs=NEAR_ONE, seeds=()).passed
    output = only(verify(*pair, inputs=NEAR_ONE, seeds=(), tolerance=1e-5))
    assert (output.passed, output.decided_by) == (False, "tolerance")
    assert OF_NOISE * output.noise > output.error > 1e-5
    assert verify(off_by_units(0), off_by_units(40), inputs=NEAR_ONE, seeds=(), tolerance=0.1).passed


# Outputs that are all noise


def test_noise_above_a_thousandth_decides_nothing_and_the_tensors_inside_do():
    parity = verify(chaos(), regrouped())
    output = only(parity)
    assert output.noise > 1e-3
    assert output.error > 1e-3
    assert (parity.passed, output.decided_by) == (True, "inner tensors")
    assert {"s0", "s1", "s3", "p2", "y"} <= {tensor.name for tensor in parity.inner}
    assert "m2" not in {tensor.name for tensor in parity.inner}
    assert all(tensor.error <= 1e-5 for tensor in parity.inner)
    assert parity.error == max(tensor.error for tensor in parity.inner)


def test_what_is_equal_is_within_the_tolerance_whatever_the_noise():
    assert only(verify(chaos(), chaos())).decided_by == "tolerance"


@pytest.mark.parametrize("factor", [1 + 1e-4, 1.5])
def test_a_fault_is_found_inside_although_the_output_is_noise(factor):
    parity = verify(chaos(), regrouped(2, factor))
    output = only(parity)
    assert not parity.passed
    assert [tensor.name for tensor in parity.inner if not tensor.passed] == ["p2"]
    assert output.reason.startswith("tensor 'p2' inside differs: its error is ")


def test_a_wrong_wiring_is_found_inside_although_the_output_is_noise():
    wrong = chaos()
    (node,) = (node for node in wrong.graph.node if node.output[0] == "m5")
    node.input[0] = "s3"
    parity = verify(chaos(), wrong)
    assert not parity.passed
    assert [tensor.name for tensor in parity.inner if not tensor.passed] == ["m5"]


def renamed(net: onnx.ModelProto, kept=()) -> onnx.ModelProto:
    changed = onnx.ModelProto.FromString(net.SerializeToString())
    given = {value.name for value in (*changed.graph.input, *changed.graph.output)}
    given |= {tensor.name for tensor in changed.graph.initializer} | set(kept)
    for node in changed.graph.node:
        for names in (node.input, node.output):
            names[:] = [name if not name or name in given else f"{name}_other" for name in names]
    return changed


def test_noise_without_tensors_of_one_name_is_undecided():
    parity = verify(chaos(), renamed(regrouped()))
    assert not parity.passed
    assert only(parity).reason.startswith("no feed determines this output, and the models name no tensors alike")


def test_an_early_tensor_of_one_name_tells_nothing_of_what_is_behind_it():
    """From there to the output the original is as noisy as before, so that everything behind might be wrong."""
    for second in (regrouped(), regrouped(5, 1.5)):
        parity = verify(chaos(), renamed(second, kept=["s1"]))
        assert not parity.passed
        assert "the original itself differs by" in only(parity).reason


def test_a_name_that_means_something_else_is_no_fault():
    """As where a tool folds a node into the one before it and gives the result the name of the first."""
    first = chaos()
    second = regrouped()
    names = {"p4": "s5", "s5": "p4"}
    for node in second.graph.node:
        for tensors in (node.input, node.output):
            tensors[:] = [names.get(name, name) for name in tensors]
    parity = verify(first, second)
    assert parity.passed
    assert only(parity).decided_by == "inner tensors"
    compared = {tensor.name for tensor in parity.inner}
    assert {"p5", "s6"} <= compared
    assert not {"p4", "s5"} & compared


def test_another_shape_inside_is_found_although_the_output_is_noise():
    wrong = regrouped()
    (node,) = (node for node in wrong.graph.node if node.output[0] == "s3")
    node.op_type = "Concat"
    node.input[:] = ["p2", "p2"]
    node.attribute.append(onnx.helper.make_attribute("axis", 0))
    assert not verify(chaos(), wrong).passed
