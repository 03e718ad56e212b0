"""Every region is checked on what arrives there, and one that fails is left as it was."""

import math
import pickle
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import repvgg_onnx.compiler.fuse as compiler_fuse
import repvgg_onnx.workflows.prove as proof_module
from repvgg_onnx import Refusal, fuse
from repvgg_onnx.workflows.fleet import fuse_many
from repvgg_onnx.workflows.prove import prove
from tests.models import assert_same_outputs, batch_norm, branch_to_fold, build, ops

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
    fold = compiler_fuse.fold

    def spoiled(value, *arguments):
        folded = fold(value, *arguments)
        if value.channels == {"e": 4, "y": 6}[sink]:
            return replace(folded, kernel=(folded.kernel * folded.kernel.dtype.type(factor)))
        return folded

    monkeypatch.setattr(compiler_fuse, "fold", spoiled)


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
    model = branch_to_fold()
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


# The whole


def chain(count: int) -> onnx.ModelProto:
    """Convolutions with a gain each, and a Tanh between them; names of sinks are s0, s1 ..."""
    steps = " ".join(
        f"c{i} = Conv<pads=[1,1,1,1]>({f't{i - 1}' if i else 'x'}, k{i}) s{i} = Mul(c{i}, gain) t{i} = Tanh(s{i})"
        for i in range(count)
    )
    text = f"net (float[1,4,5,7] x) => (float[1,4,5,7] y) {{ {steps} y = Neg(t{count - 1}) }}"
    return build(text, gain=(4, 1, 1), **{f"k{i}": (4, 4, 3, 3) for i in range(count)})


def spoiled(model: onnx.ModelProto, tensor: str, factor: float = 1.01) -> onnx.ModelProto:
    """The model with a factor on the tensor, wherever it is read or put out; itself where no node is a fused one."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    (index,) = (index for index, node in enumerate(changed.graph.node) if tensor in node.output)
    changed.graph.node[index].output[0] = "before_factor"
    changed.graph.node.insert(index + 1, helper.make_node("Mul", ["before_factor", "factor"], [tensor]))
    changed.graph.initializer.append(numpy_helper.from_array(np.float32([factor]), "factor"))
    return changed


def is_folded(model: onnx.ModelProto, sink: str) -> bool:
    return any(sink in node.output and node.op_type == "Conv" for node in model.graph.node)


def test_the_proof_has_the_parity_of_the_whole():
    proof = prove(chain(3))
    assert proof.parity.passed
    assert proof.parity.error < 1e-5
    assert proof.parity.noise > 0
    assert proof.parity.levels == ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")
    assert not proof.failed


@pytest.mark.parametrize("guilty", range(5))
def test_a_fault_that_only_the_whole_shows_is_bisected_to_its_region(guilty):
    """A node behind the region goes wrong, but only while that is folded: every region by itself is right."""
    sink = f"s{guilty}"
    proof = prove(chain(5), written=lambda it: spoiled(it, f"t{guilty}") if is_folded(it, sink) else it)
    assert [(region.sink, region.bound) for region in proof.failed] == [(sink, math.inf)]
    assert proof.failed[0].error > 1e-5
    assert [region.sink for region in proof.fusion.regions] == [f"s{i}" for i in range(5) if i != guilty]
    (refusal,) = (refusal for refusal in proof.fusion.refusals if refusal.code == "check-failed")
    assert refusal.sentence.startswith("with it folded, the outputs differ: output 'y': error ")
    assert proof.parity.passed
    assert_same_outputs(chain(5), proof.fusion.model, 1e-5)


def test_two_faults_are_found_one_after_the_other():
    def written(model):
        for sink, behind in (("s1", "t1"), ("s3", "t3")):
            if is_folded(model, sink):
                return spoiled(model, behind)
        return model

    proof = prove(chain(5), written=written)
    assert {region.sink for region in proof.failed} == {"s1", "s3"}
    assert [region.sink for region in proof.fusion.regions] == ["s0", "s2", "s4"]
    assert proof.parity.passed


def test_nothing_is_kept_where_every_fold_fails():
    model = chain(3)
    proof = prove(model, written=lambda it: spoiled(it, "y"))
    assert proof.fusion.model is model
    assert (proof.fusion.regions, proof.regions, proof.parity) == ((), (), None)
    assert {region.sink for region in proof.failed} == {"s0", "s1", "s2"}
    assert {refusal.code for refusal in proof.fusion.refusals} == {"check-failed"}


def test_after_many_guilty_regions_all_that_are_left_are_rolled_back(monkeypatch):
    monkeypatch.setattr(proof_module, "MOST_ROLLED_BACK", 2)
    judged = []

    def written(model):
        judged.append(model)
        return spoiled(model, "y")

    proof = prove(chain(12), written=written)
    assert len(proof.failed) == 12
    assert proof.fusion.regions == ()
    assert len(judged) < 12


def test_a_model_that_cannot_be_loaded_when_written_costs_its_region_only():
    def written(model):
        if is_folded(model, "s1"):
            model = onnx.ModelProto.FromString(model.SerializeToString())
            model.graph.node[0].op_type = "NoSuchOperator"
        return model

    proof = prove(chain(3), written=written)
    assert [region.sink for region in proof.failed] == ["s1"]
    assert [region.sink for region in proof.fusion.regions] == ["s0", "s2"]


def test_a_region_that_cannot_be_loaded_costs_itself_only(monkeypatch):
    def spoil_one(model, fusion):
        for piece in pieces_of(model, fusion):
            broken = onnx.ModelProto.FromString(piece.model.SerializeToString())
            broken.graph.node[0].op_type = "NoSuchOperator"
            yield replace(piece, model=broken) if piece.sink == "s1" else piece

    pieces_of = proof_module.pieces_of
    monkeypatch.setattr(proof_module, "pieces_of", spoil_one)
    proof = prove(chain(3))
    assert [(region.sink, region.error) for region in proof.failed] == [("s1", math.inf)]
    assert [region.sink for region in proof.fusion.regions] == ["s0", "s2"]
    (refusal,) = (refusal for refusal in proof.fusion.refusals if refusal.code == "check-failed")
    assert "it cannot be run there, or its result has another shape" in refusal.sentence


def test_what_is_written_is_what_is_compared(tmp_path):
    def written(model):
        onnx.save(model, tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    proof = prove(chain(2), written=written)
    assert proof.parity.passed
    assert (tmp_path / "m.onnx").read_bytes() == proof.fusion.model.SerializeToString()


def test_the_tolerance_and_inputs_are_those_of_the_whole():
    wrong = {"written": lambda it: spoiled(it, "y", 1.001)}
    assert prove(chain(2), tolerance=0.1, **wrong).parity.tolerance_reason == "0.1: as asked"
    assert prove(chain(2), **wrong).fusion.regions == ()
    given = prove(chain(2), inputs={"x": np.ones((1, 4, 5, 7), np.float32)}, seeds=())
    assert given.parity.feeds == ("inputs",)


# Roots that a fold made


def narrow() -> onnx.ModelProto:
    """Two linear layers with few channels between them, turned before and after: convolutions one after the other."""
    text = """net (float[1,80,9] x) => (float[1,60,9] y) {
        t = Transpose<perm=[0,2,1]>(x)  a = MatMul(t, w)  b = Add(a, c)
        d = MatMul(b, v)  f = Add(d, e)  y = Transpose<perm=[0,2,1]>(f)
    }"""
    return build(text, w=(80, 12), c=(12,), v=(12, 60), e=(60,))


def test_a_region_on_a_tensor_that_another_fold_made_is_checked_from_the_tensor_before_it():
    model = narrow()
    proof = prove(model)
    made = {name for node in model.graph.node for name in node.output} | {"x"}
    (region,) = (region for region in proof.fusion.regions if region.root not in made)
    (parity,) = (parity for parity in proof.regions if parity.sink == region.sink)
    assert parity.passed
    assert parity.error < 1e-6
    assert not proof.failed
    assert proof.parity.passed


def test_a_fault_in_such_a_region_is_seen(monkeypatch):
    fold = compiler_fuse.fold

    def wrong(value, *arguments):
        folded = fold(value, *arguments)
        return replace(folded, bias=folded.bias * np.float32(1.01)) if value.channels == 60 else folded

    monkeypatch.setattr(compiler_fuse, "fold", wrong)
    proof = prove(narrow())
    assert "y" in {region.sink for region in proof.failed}
    assert_same_outputs(narrow(), proof.fusion.model)


# What fuse() keeps for the proof


def twice_folded() -> onnx.ModelProto:
    """Two convolutions that all but cancel, whose difference is put out and then scaled: folded in two rounds."""
    text = """net (float[1,1,9,11] x) => (float[1,4,9,11] t, float[1,4,9,11] y) {
        a = Conv(x, v)  b = Conv(x, w)  t = Sub(a, b)  c = Mul(t, s)  y = Add(c, o)
    }"""
    weights = np.random.default_rng(0).normal(size=(4, 1, 1, 1)).astype(np.float32)
    return build(text, v=weights, w=weights * np.float32(1.001), s=(4, 1, 1), o=(4, 1, 1))


def test_a_region_of_a_second_round_has_the_bound_of_what_its_weights_were_rounded_from(monkeypatch):
    first, known = prove(twice_folded()).regions
    assert (first.sink, known.sink) == ("t", "y")  # the first one's node stays, since its result is put out
    assert fuse(twice_folded()).origins["y"].roundings == 41
    monkeypatch.setattr(compiler_fuse, "note_origin", lambda node, conv: None)
    _, bare = prove(twice_folded()).regions
    assert known.bound > 10 * bare.bound
    assert known.used < 0.5


def test_proving_looks_at_the_graph_no_more_often_than_folding_does(monkeypatch):
    seen, view_model = [], compiler_fuse.view_model
    monkeypatch.setattr(
        compiler_fuse, "view_model", lambda model, *args, **kw: seen.append(model) or view_model(model, *args, **kw)
    )
    assert not hasattr(proof_module, "view_model")
    fuse(blocks())
    once = len(seen)
    assert len(prove(blocks()).regions) == 2
    assert len(seen) == 2 * once


def test_weights_that_nodes_compute_can_be_read_when_the_graph_has_been_edited():
    """The majorant of a kernel that is transposed at run time, asked for when its nodes are gone."""
    text = """net (float[2,4] x) => (float[2,6] y) {
        u = Transpose(w)  r = Relu(x)  a = MatMul(r, u)  b = Add(a, c)  d = MatMul(r, v)  y = Sub(b, d)
    }"""
    proof = prove(build(text, w=(6, 4), v=(4, 6), c=(6,)))
    assert ops(proof.fusion.model) == ["Relu", "Gemm"]
    (region,) = proof.regions
    assert 0 < region.bound < 1e-4


def test_what_a_region_was_folded_from_stays_in_the_process():
    fusion = fuse(blocks())
    assert fusion.origins.keys() == {"e", "y"}
    again = pickle.loads(pickle.dumps(fusion))
    assert again.origins == {}
    assert again == fusion
    assert "origins" not in repr(fusion)
    assert len(pickle.dumps(replace(fusion, model=onnx.ModelProto()))) < 10_000


def test_weights_in_a_file_are_not_kept(tmp_path):
    onnx.save(blocks(), tmp_path / "m.onnx")
    fusion = fuse(tmp_path / "m.onnx")
    assert len(fusion.regions) == 2
    assert fusion.origins == {}


def test_what_became_of_one_file_of_many_is_small(tmp_path):
    """Whatever the size of its model: it goes from process to process."""
    text = "net (float[1,64,5,7] x) => (float[1,64,5,7] y) { a = Conv<pads=[1,1,1,1]>(x, w)  y = Mul(a, s) }"
    onnx.save(build(text, w=(64, 64, 3, 3), s=(64, 1, 1)), tmp_path / "m.onnx")
    (made,) = fuse_many([tmp_path / "m.onnx"], tmp_path / "out")
    assert len(made.regions) == 1
    assert len(pickle.dumps(made)) < 10_000
