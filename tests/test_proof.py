"""Every region is checked on what arrives there, and one that fails is left as it was."""

from dataclasses import replace

import numpy as np
import pytest

import repvgg_onnx.pipeline as pipeline
from repvgg_onnx import Refusal, fuse
from repvgg_onnx.proof import prove
from tests.models import assert_same_outputs, batch_norm, build, ops

BLOCKS = """net (float[1,4,9,11] x) => (float[1,6,9,11] y) {
    a = Conv<pads=[1,1,1,1]>(x, k)  b = BatchNormalization(a, gamma, beta, mean, var)  c = Conv(x, p)
    d = Add(b, c)  e = Add(d, x)  f = Relu(e)
    g = Conv<pads=[1,1,1,1]>(f, m)  h = Conv(f, n, o)  y = Add(g, h)
}"""


def blocks(dtype=np.float32):
    text = BLOCKS if dtype is np.float32 else BLOCKS.replace("float[", f"{np.dtype(dtype).name}[")
    weights = {"k": (4, 4, 3, 3), "p": (4, 4, 1, 1), "m": (6, 4, 3, 3), "n": (6, 4, 1, 1), "o": (6,)}
    return build(text, dtype=dtype, **weights, **batch_norm(4))


def spoil(monkeypatch, sink, factor=1.001):
    """Makes the fold of one region wrong by a thousandth."""
    fold = pipeline.fold

    def spoiled(value, *arguments):
        folded = fold(value, *arguments)
        if value.channels == {"e": 4, "y": 6}[sink]:
            return replace(folded, kernel=(folded.kernel * folded.kernel.dtype.type(factor)))
        return folded

    monkeypatch.setattr(pipeline, "fold", spoiled)


def test_every_region_is_within_its_bound():
    proof = prove(blocks())
    assert [region.sink for region in proof.regions] == ["e", "y"]
    assert not proof.failed
    for region in proof.regions:
        assert 0 < region.error < region.bound < 1e-4
        assert 0 < region.used < 0.5
    assert proof.worst.error == max(region.error for region in proof.regions)


@pytest.mark.parametrize("sink", ["e", "y"])
def test_a_region_that_is_wrong_is_rolled_back_and_the_rest_kept(monkeypatch, sink):
    model = blocks()
    spoil(monkeypatch, sink)
    proof = prove(model)
    assert [region.sink for region in proof.regions] == [{"e": "y", "y": "e"}[sink]]
    assert sink in {parity.sink for parity in proof.failed}
    refusals = [refusal for refusal in proof.fusion.refusals if refusal.code == "check-failed"]
    assert len(refusals) == len(proof.failed)
    assert "tolerance" in refusals[0].sentence
    assert_same_outputs(model, proof.fusion.model)


def test_the_bound_alone_catches_what_the_tolerance_lets_pass(monkeypatch):
    model = build(
        "net (float[1,2,5,7] x) => (float[1,4,5,7] e) { a = Conv(x, w)  e = Mul(a, s) }", w=(4, 2, 1, 1), s=(4, 1, 1)
    )
    spoil(monkeypatch, "e", factor=1 + 8e-6)
    (parity,) = prove(model).failed
    assert parity.error < parity.tolerance
    assert parity.used > 1


def test_nothing_to_fold_is_nothing_to_prove():
    model = build("net (float[1,4,5,7] x) => (float[1,4,5,7] y) { y = Relu(x) }")
    proof = prove(model)
    assert proof.fusion.model is model
    assert proof.worst is None


def test_regions_in_subgraphs_fold_and_are_not_observed():
    model = build(
        """net (float[1,4,5,7] x, bool t) => (float[1,4,5,7] y) {
            y = If(t)<then_branch = one () => (float[1,4,5,7] p) { q = Conv(x, w)  p = Mul(q, s) },
                      else_branch = two () => (float[1,4,5,7] r) { r = Relu(x) }>
        }""",
        w=(4, 4, 1, 1),
        s=(4, 1, 1),
    )
    proof = prove(model)
    assert len(proof.fusion.regions) == 1
    assert proof.regions == ()


def test_float16_has_its_own_tolerance():
    assert {region.tolerance for region in prove(blocks(dtype=np.float16)).regions} == {1e-2}


def test_refused_sinks_are_reported_as_they_were_given():
    model = blocks()
    reason = fuse(model).regions[0]
    fusion = fuse(model, refused={reason.sink: Refusal("check-failed", "n", "because")})
    assert Refusal("check-failed", "n", "because") in fusion.refusals
    assert reason.sink not in {region.sink for region in fusion.regions}
    assert ops(fusion.model).count("Add") >= 1
