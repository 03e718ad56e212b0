"""Regions inside the branches and bodies of If and Loop."""

import numpy as np
import onnx
import pytest

from repvgg_onnx import fuse
from tests.models import WORST, assert_same_outputs, assert_settled, build, feeds, ops, repvgg_block
from tests.oracle import error, run

SCALED = "a = Conv(x, w)  u = Mul(a, s)"


def branches(first: str, second: str = "v = Relu(x)", *, before: str = "", **weights) -> onnx.ModelProto:
    """An If on the input ``c``; the branches end in ``u`` and ``v``."""
    end = "u" if "u = " in second else "v"
    text = f"""net (float[1,4,5,7] x, bool c) => (float[1,4,5,7] y) {{
        {before}
        y = If(c) <then_branch = one () => (float[1,4,5,7] u) {{ {first} }},
                   else_branch = two () => (float[1,4,5,7] {end}) {{ {second} }}>
    }}"""
    return build(text, **{"w": (4, 4, 1, 1), **weights})


def bodies(model: onnx.ModelProto) -> list[list[str]]:
    """Operators of each subgraph of the main graph's nodes."""
    inner = (attribute.g for node in model.graph.node for attribute in node.attribute if attribute.HasField("g"))
    return [[node.op_type for node in body.node] for body in inner]


def assert_same_both_ways(before: onnx.ModelProto, after: onnx.ModelProto) -> None:
    """The same outputs whichever branch is taken."""
    for condition in (True, False):
        given = feeds(before) | {"c": np.array(condition)}
        for level in ("disabled", "all"):
            assert error(run(before, given, level)[0], run(after, given, level)[0]) <= WORST


def test_a_branch_folds_with_weights_of_the_graph_around_it():
    model = branches(SCALED, s=(4, 1, 1))
    fusion = fuse(model)
    assert bodies(fusion.model) == [["Conv"], ["Relu"]]
    assert_same_both_ways(model, fusion.model)
    assert_settled(fusion)


def test_weights_that_only_folded_branches_read_are_gone():
    model = branches(SCALED, "b = Conv(x, w)  v = Mul(b, t)", s=(4, 1, 1), t=(4, 1, 1))
    fusion = fuse(model)
    assert not fusion.model.graph.initializer
    assert_same_both_ways(model, fusion.model)


def test_branches_with_equal_names_inside_are_two_regions():
    model = branches(SCALED, "a = Conv(x, w)  u = Mul(a, t)", s=(4, 1, 1), t=(4, 1, 1))
    fusion = fuse(model)
    assert bodies(fusion.model) == [["Conv"], ["Conv"]]
    assert len(fusion.regions) == 2
    assert_same_both_ways(model, fusion.model)


def test_an_intermediate_of_a_branch_that_a_deeper_branch_reads_stays():
    deeper = """a = Conv(x, w)  b = Mul(a, s)
        u = If(c) <then_branch = three () => (float[1,4,5,7] p) { p = Relu(a) },
                   else_branch = four () => (float[1,4,5,7] q) { q = Neg(b) }>"""
    model = branches(deeper, s=(4, 1, 1))
    fusion = fuse(model)
    assert fusion.model is model
    assert "captured" in {refusal.code for refusal in fusion.refusals}


def test_a_root_of_the_graph_around_a_branch():
    model = branches("a = Conv(r, w)  u = Mul(a, s)", "v = Mul(r, s)", before="r = Relu(x)", s=(4, 1, 1))
    fusion = fuse(model)
    assert bodies(fusion.model) == [["Conv"], ["Mul"]]
    assert_same_both_ways(model, fusion.model)


LOOP = """<ir_version: 10, opset_import: ["" : 17]>
    net (float[1,4,5,7] x, int64 n, bool t) => (float[1,4,5,7] y) {{
        y, z = Loop(n, t, x, start) <body = turn (int64 i, bool k, float[1,4,5,7] p, float[{size}] {name})
            => (bool again, float[1,4,5,7] q, float[{size}] next) {{
                again = Identity(k)  a = Conv(p, w)  next = Neg({name})  q = Mul(a, {name})
            }}>
    }}"""


@pytest.mark.parametrize("name", ["state", "s"], ids=["own-name", "name-of-an-outer-constant"])
def test_what_a_loop_carries_is_no_constant_whatever_it_is_called(name):
    model = onnx.parser.parse_model(LOOP.format(size="1", name=name))
    rng = np.random.default_rng(0)
    for weight, shape in {"w": (4, 4, 1, 1), "start": (1,), "s": (1,)}.items():
        array = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, weight))
    onnx.checker.check_model(model)
    fused = fuse(model).model
    given = feeds(repvgg_block(size="5,7")) | {"n": np.array(3), "t": np.array(True)}
    assert error(run(model, given)[0], run(fused, given)[0]) <= WORST


def test_the_body_of_a_loop_folds():
    text = """net (float[1,4,5,7] x, int64 n, bool t) => (float[1,4,5,7] y) {
        y = Loop(n, t, x) <body = turn (int64 i, bool k, float[1,4,5,7] p) => (bool again, float[1,4,5,7] q) {
            again = Identity(k)  a = Conv<pads=[1,1,1,1]>(p, w)  b = Mul(a, s)  q = Add(b, p)
        }>
    }"""
    model = build(text, w=np.full((4, 4, 3, 3), 0.01, np.float32), s=(4, 1, 1))
    fused = fuse(model).model
    assert (ops(fused), bodies(fused)) == (["Loop"], [["Identity", "Conv"]])
    given = feeds(repvgg_block(size="5,7")) | {"n": np.array(3), "t": np.array(True)}
    assert error(run(model, given)[0], run(fused, given)[0]) <= WORST


def test_a_branch_and_the_graph_around_it_fold_together():
    model = branches("a = Conv(r, w)  u = Mul(a, s)", before="o = Conv(x, w)  r = Mul(o, s)", s=(4, 1, 1))
    fused = fuse(model).model
    assert (ops(fused), bodies(fused)) == (["Conv", "If"], [["Conv"], ["Relu"]])
    assert_same_both_ways(model, fused)
    assert_same_outputs(model, fused)
