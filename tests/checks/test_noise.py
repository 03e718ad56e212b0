"""What is passed by the original's own noise, what is not, and what is decided inside the models."""

import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx.checks.conditions import Conditions
from repvgg_onnx.checks.inner import InnerParity
from repvgg_onnx.checks.parity import Parity, verify
from repvgg_onnx.checks.reference import OF_NOISE, PATTERNS, PLAIN, SHIPPED, moved_by, reference
from tests.checks.models import BFLOAT16, model


def only(parity: Parity):
    (output,) = parity.outputs
    return output


def known(net: onnx.ModelProto, **conditions):
    return reference(net, net.SerializeToString(), Conditions(**conditions))


def chaos(steps: int = 8) -> onnx.ModelProto:
    """Sines of twenty times the sine before, in which a little noise grows twentyfold with every step."""
    lines = [
        f"m{step} = Mul(s{step}, ten) p{step} = Mul(m{step}, two) s{step + 1} = Sin(p{step})" for step in range(steps)
    ]
    text = f"g (float[2,3] x) => (float[2,3] y) {{ s0 = Tanh(x) {' '.join(lines)} y = Identity(s{steps}) }}"
    return model(text, {"ten": np.float32([10]), "two": np.float32([2])})


def regrouped(step: int = 2, factor: float = 1.0) -> onnx.ModelProto:
    """The same with both products of a step in one, off by one rounding; or by a factor."""
    changed = chaos()
    (node,) = (node for node in changed.graph.node if node.output[0] == f"p{step}")
    node.input[:] = [f"s{step}", "both"]
    changed.graph.node.remove(next(node for node in changed.graph.node if node.output[0] == f"m{step}"))
    both = np.float32([20 * factor]) * np.float32(1 + 2.0**-23)
    changed.graph.initializer.append(numpy_helper.from_array(both, "both"))
    return changed


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


# What tensors inside may be


INSIDE = {
    "several outputs": "a, b = Split<axis = 1, num_outputs = 2>(h) y = Mul(a, b)",
    "captured by a body": """t = ReduceMax<keepdims = 0>(h) c = Greater(t, zero)
        y = If(c)<
            then_branch = p () => (float[2,4] u) { u = Mul(h, two) },
            else_branch = q () => (float[2,4] v) { v = Neg(h) }>""",
    "a loop": """y = Loop(n, go, h)<body = b (int64 i, bool c, float[2,4] s) => (bool d, float[2,4] r) {
        d = Identity(c) k = Mul(h, two) r = Sub(s, k) }>""",
    "a sequence": "q = SequenceConstruct(h, w) r = Identity(q) y = SequenceAt(r, first)",
    "an integer": "i = ArgMax<axis = 1>(h) y = Gather<axis = 1>(h, i)",
    "a string": "e = Equal(name, name) f = Cast<to = 1>(e) y = Mul(h, f)",
}


def inside(body: str, factor: float = 1.0) -> onnx.ModelProto:
    """A product before the body, whose factor may be wrong; behind the body all is amplified to noise."""
    amplify = " ".join(
        f"m{step} = Mul(z{step}, fast) z{step + 1} = Sin(m{step})" for step in range(12)
    )  # an error grows a hundredfold with every step
    head = f"w = Mul(x, two) h = Mul(w, factor) {body} z0 = Identity(y)"
    text = f"g (float[2,4] x) => (float z) {{ {head} {amplify} z = Identity(z12) }}"
    weights = {"two": 2, "zero": 0, "factor": 0.7 * factor, "fast": 100}
    arrays = {name: np.array(value, np.float32) for name, value in weights.items()}
    return model(
        text, {**arrays, "n": np.array(2), "go": np.array(True), "first": np.array(0), "name": np.array(["a"])}
    )


def regrouped_inside(body: str, factor: float = 1.0) -> onnx.ModelProto:
    """The same, with both products before the body in one."""
    made = inside(body, factor)
    first, second = made.graph.node[:2]
    second.input[:] = ["x", "both"]
    both = np.array(2 * np.float32(0.7) * np.float32(factor) * (1 + 2e-7), np.float32)
    made.graph.initializer.append(numpy_helper.from_array(both, "both"))
    if "w)" not in body:
        made.graph.node.remove(first)
    return made


@pytest.mark.parametrize("body", INSIDE.values(), ids=INSIDE)
def test_tensors_inside_may_be_anything(body):
    parity = verify(inside(body), regrouped_inside(body), seeds=(0,))
    assert only(parity).decided_by == "inner tensors"
    assert parity.passed, only(parity).reason
    assert {"h", "m3"} <= {tensor.name for tensor in parity.inner}
    wrong = verify(inside(body), regrouped_inside(body, 1.001), seeds=(0,))
    assert not wrong.passed
    assert "h" in {tensor.name for tensor in wrong.inner if not tensor.passed}


def test_a_fault_in_a_body_is_found():
    first, second = (inside(INSIDE["captured by a body"]) for _ in range(2))
    (node,) = (node for node in second.graph.node if node.op_type == "If")
    for attribute in node.attribute:
        attribute.g.node[0].op_type = "Abs"
        del attribute.g.node[0].input[1:]
    parity = verify(first, second, seeds=(0,))
    assert [tensor.name for tensor in parity.inner if not tensor.passed] == ["y"]


def test_many_tensors_are_compared_in_batches(monkeypatch):
    from repvgg_onnx.checks import exposure

    whole = verify(chaos(), regrouped()).inner
    monkeypatch.setattr(exposure, "BYTES_AT_ONCE", 300)
    assert [tensor.name for tensor in verify(chaos(), regrouped()).inner] == [it.name for it in whole]
    wrong = verify(chaos(), regrouped(2, 1.01))
    assert [tensor.name for tensor in wrong.inner if not tensor.passed] == ["p2"]


@pytest.mark.parametrize(("type_", "unit"), [("FLOAT16", 2.0**-10), ("BFLOAT16", 2.0**-7)])
def test_half_types_inside(type_, unit):
    def net(factor: float) -> onnx.ModelProto:
        amplify = " ".join(f"m{step} = Mul(h{step}, fast) h{step + 1} = Sin(m{step})" for step in range(6))
        half = f"c = Mul(x, k) d = Cast<to = {onnx.TensorProto.DataType.Value(type_)}>(c) h0 = Cast<to = 1>(d)"
        text = f"g (float[2,3] x) => (float[2,3] y) {{ {half} {amplify} y = Identity(h6) }}"
        return model(text, {"k": np.float32([factor]), "fast": np.float32([100])})

    parity = verify(net(1.5), net(1.5 * (1 + unit)))
    assert (parity.passed, only(parity).decided_by) == (True, "inner tensors")
    assert "d" in {tensor.name for tensor in parity.inner}
    assert not verify(net(1.5), net(2.0)).passed


def test_models_may_be_files_with_external_data(tmp_path):
    paths = []
    for name, net in (("a", chaos()), ("b", regrouped()), ("c", regrouped(2, 1.01))):
        folder = tmp_path / name
        folder.mkdir()
        onnx.save_model(net, folder / "m.onnx", save_as_external_data=True, location="w", size_threshold=0)
        paths.append(folder / "m.onnx")
    first, second, wrong = paths
    assert verify(first, second).passed
    assert len(verify(first, second).inner) > 20
    assert not verify(first, wrong).passed


def test_an_inner_tensor_passes_up_to_its_limit():
    assert InnerParity("t", 1e-5, 0, 1e-5, "feed").passed
    assert not InnerParity("t", 1.1e-5, 0, 1e-5, "feed").passed
    assert not InnerParity("t", math.inf, 0, 1e-5, "feed").passed


# Ranges


def test_an_error_is_measured_against_the_range():
    text = "g (float[2,3] x) => (float[2,3] y) { s = Sub(x, far) y = Sigmoid(s) }"
    unknown = text.replace("y = Sigmoid(s)", "z = Sigmoid(s) y = Abs(z)")
    pairs = [[model(it, {"far": np.float32([value])}) for value in (10, 10.001)] for it in (text, unknown)]
    output, of_unknown = (only(verify(*pair, seeds=(0,), ranges={"x": (-1, 1)})) for pair in pairs)
    assert (output.passed, output.range, output.decided_by) == (True, 1.0, "tolerance")
    assert (of_unknown.passed, of_unknown.range) == (False, None)


def test_a_difference_of_a_thousandth_of_the_range_fails():
    text = "g (float[2,3] x) => (float[2,3] y) { s = Add(x, near) y = Sigmoid(s) }"
    first, second = (model(text, {"near": np.float32([value])}) for value in (0, 0.004))
    output = only(verify(first, second, seeds=(0,)))
    assert not output.passed
    assert 5e-4 < output.error <= 1.01e-3


# Jumps


def jumping(factor: float = 1.0, shift: float = 0.0) -> onnx.ModelProto:
    """The place of the largest of six scores, the last of which are off by a factor and a shift."""
    text = """g (float[40,6] x) => (int64[40] y) {
        h = Mul(x, factors) t = Add(h, shifts) y = ArgMax<axis = 1, keepdims = 0>(t) }"""
    return model(text, {"factors": np.float32([1] * 5 + [factor]), "shifts": np.float32([0] * 5 + [shift])})


def scores(*last_two: float) -> dict[str, np.ndarray]:
    return {"x": np.float32([[1, 2, 3, 4, *last_two]] * 40)}


NEARLY_EQUAL = (5, 5 - 2.0**-20)
"""Two units in the last place apart."""


def test_a_jump_that_the_original_makes_itself_is_compared_at_what_leads_to_it():
    parity = verify(jumping(), jumping(shift=2e-6), inputs=scores(*NEARLY_EQUAL), seeds=())
    output = only(parity)
    assert output.error == 1
    assert (parity.passed, output.decided_by) == (True, "inner tensors")
    assert output.remark.startswith("output 'y' jumps: the original itself gives other values")
    assert {"h", "t", "y"} == {tensor.name for tensor in parity.inner}
    assert parity.error < 1e-5


def test_a_jump_that_hides_a_fault_does_not_pass():
    parity = verify(jumping(), jumping(factor=1.001), inputs=scores(*NEARLY_EQUAL), seeds=())
    assert not parity.passed
    assert only(parity).reason.startswith("tensor 'h' inside differs")


@pytest.mark.parametrize(("units", "passed"), [(5, True), (40, False)])
def test_the_original_may_jump_within_eight_units(units, passed):
    apart = scores(5, 5 - units * 2.0**-21)
    parity = verify(jumping(), jumping(shift=2 * units * 2.0**-21), inputs=apart, seeds=())
    assert only(parity).error == 1
    assert parity.passed is passed


def test_a_floating_point_output_behind_a_jump_is_decided_inside_too():
    text = """g (float[40,6] x) => (float[40] y) { h = Mul(x, one) t = Add(h, shifts)
        i = ArgMax<axis = 1, keepdims = 0>(t) y = Cast<to = 1>(i) }"""
    nets = [model(text, {"one": np.float32([1]), "shifts": np.float32([0] * 5 + [shift])}) for shift in (0, 2e-6, 2e-2)]
    parity = verify(*nets[:2], inputs=scores(*NEARLY_EQUAL), seeds=())
    assert (parity.passed, only(parity).decided_by, only(parity).dtype) == (True, "inner tensors", "float32")
    assert not verify(nets[0], nets[2], inputs=scores(*NEARLY_EQUAL), seeds=()).passed


BOXES = np.float32([[[0, 0, 1, 1], [2, 2, 3, 3], [4, 4, 5, 5], [6, 6, 7, 7]]])


def boxes(shift: float) -> onnx.ModelProto:
    """The boxes whose scores, off by a shift, are above a half."""
    text = """g (float[1,4,4] x, float[1,1,4] s) => (int64[K,3] y) {
        t = Add(s, shift) y = NonMaxSuppression(x, t, most, half, half) }"""
    return model(text, {"shift": np.float32([shift]), "half": np.float32([0.5]), "most": np.array([9])})


@pytest.mark.parametrize(
    ("score", "shift", "decided_by", "reason"),
    [
        (0.1, -3e-7, "tolerance", None),
        (0.505, -1e-2, "tolerance", "the shape is (2, 3) instead of (3, 3)"),
        (0.50000006, -3e-7, "inner tensors", None),
        (0.50000006, -1e-2, "inner tensors", "tensor 't' inside differs"),
    ],
)
def test_another_number_of_boxes_is_excused_only_where_the_original_finds_another_one_itself(
    score, shift, decided_by, reason
):
    given = {"x": BOXES, "s": np.float32([[[0.9, score, 0.9, 0.1]]])}
    output = only(verify(boxes(0), boxes(shift), inputs=given, seeds=()))
    assert (output.passed, output.decided_by) == (reason is None, decided_by)
    assert output.reason.startswith(reason or "")


# Not finite


def test_it_is_said_which_model_is_not_finite_and_on_which_feed_and_level():
    first = model("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    second = model("g (float[2,3] x) => (float[2,3] y) { r = Sqrt(x) y = Mul(r, r) }")
    output = only(verify(first, second, seeds=(3,)))
    assert (output.passed, output.error) == (False, math.inf)
    assert output.reason == "the second model's output holds NaN or infinity, and the original's does not"
    assert (output.worst_feed, output.worst_level) == ("normal, seed 3", "ORT_DISABLE_ALL")
    output = only(verify(second, first, seeds=(3,)))
    assert output.reason == "the original's output holds NaN or infinity, and the second model's does not"


def test_a_missing_output_is_never_excused_by_noise():
    """The original's own places of NaN change with a unit in the last place, so that its noise is infinite."""
    text = """g (float[40,6] x) => (float[40,6] y, float[40,6] h) {
        w = Mul(x, third) v = Mul(w, three) h = Sub(v, x) y = Sqrt(h) }"""
    weights = {"third": np.float32([1 / 3]), "three": np.float32([3])}
    first = model(text, weights)
    assert known(first, seeds=(0,)).noise(0)["y"] == math.inf
    shorter = model(text.replace("(float[40,6] y, float[40,6] h)", "(float[40,6] h)"), weights)
    y, _ = verify(first, shorter, seeds=(0,)).outputs
    assert (y.passed, y.reason) == (False, "the second model has no such output")
    turned = model(
        text.replace("y = Sqrt(h)", "r = Sqrt(h) y = Transpose(r)").replace("(float[40,6] y", "(float[6,40] y"), weights
    )
    y, _ = verify(first, turned, seeds=(0,)).outputs
    assert not y.passed
    assert y.reason == "the shape is (6, 40) instead of (40, 6)"


def test_a_level_at_which_only_the_original_overflows_decides_nothing(monkeypatch):
    """onnxruntime's fusions for float16 can overflow where the graph does not."""
    from repvgg_onnx.checks import session as sessions

    first = model("g (float16[2,3] x) => (float16[2,3] y) { y = Relu(x) }")
    wrong = model("g (float16[2,3] x) => (float16[2,3] y) { y = Abs(x) }")
    original = sessions.Session.run
    content = first.SerializeToString()
    opened = {}

    def opening(self, inner):
        make(self, inner)
        opened[id(self)] = inner.get_session_options().graph_optimization_level == sessions.LEVELS[SHIPPED]

    def run(self, values, names=None):
        results = original(self, values, names)
        if opened.get(id(self)) and id(self) == next((key for key, shipped in opened.items() if shipped), None):
            results = {name: np.full_like(value, np.inf) for name, value in results.items()}
        return results

    make = sessions.Session.__init__
    monkeypatch.setattr(sessions.Session, "__init__", opening)
    monkeypatch.setattr(sessions.Session, "run", run)
    parity = verify(content, first, seeds=(0,))
    assert parity.passed
    assert parity.error == 0
    assert only(parity).worst_level == PLAIN
    assert any("'y' is not finite at ORT_ENABLE_ALL on normal, seed 0" in remark for remark in parity.remarks)
    opened.clear()
    assert not verify(content, wrong, seeds=(0,)).passed


# Models that draw random numbers

SPEECH = """g (float[2,6,9] x) => (float[2,4,9] y) {
    a = Conv(x, w) m = Mul(a, gain) r = RandomNormalLike(m) s = Mul(r, half) z = Add(m, s) y = Conv(z, v)
}"""
SPEECH_WEIGHTS = {"w": (4, 6, 1), "gain": (4, 1), "half": np.float32([0.5]), "v": (4, 4, 1)}


def speech(**factors: float) -> onnx.ModelProto:
    """A model in which numbers are drawn, some weights scaled."""
    net = model(SPEECH, SPEECH_WEIGHTS)
    for tensor in net.graph.initializer:
        scaled = numpy_helper.to_array(tensor) * np.float32(factors.get(tensor.name, 1))
        tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))
    return net


def drawing_others(net: onnx.ModelProto) -> onnx.ModelProto:
    """The model with a node in front, since onnxruntime's numbers depend on the number of a node."""
    net.graph.node.insert(0, onnx.helper.make_node("Neg", ["x"], ["unused"]))
    return net


def test_what_is_drawn_at_random_is_given_to_both_models():
    parity = verify(speech(), drawing_others(speech()))
    assert parity.passed
    assert only(parity).decided_by == "inner tensors"
    assert {tensor.name for tensor in parity.inner} == {"a", "m", "s", "z", "y"}
    assert any("'r' is drawn at random" in remark for remark in parity.remarks)


@pytest.mark.parametrize("name", ["w", "gain", "half", "v"])
def test_a_fault_beside_what_is_drawn_at_random_is_found(name):
    assert not verify(speech(), drawing_others(speech(**{name: 1.001}))).passed
