"""What tensors inside may be that are compared one by one."""

import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx.checks.inner import InnerParity
from repvgg_onnx.checks.parity import verify
from tests.checks.models import model
from tests.checks.noisy import chaos, only, regrouped

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
