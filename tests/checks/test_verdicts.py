"""Outputs that lie in a range, that jump, that are not finite, and that are drawn at random."""

import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx.checks.parity import verify
from repvgg_onnx.checks.reference import PLAIN, SHIPPED
from tests.checks.models import model
from tests.checks.noisy import known, only

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
