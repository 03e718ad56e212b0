"""Parts of a graph as models of their own: they compute what the whole computes there."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from repvgg_onnx.graph.cut import Cutter
from tests.models import build
from tests.oracle import run

CAPTURING = """net (float[2,4,5,7] x, bool yes, float[4,1,1] t) => (float[2,4,5,7] y) {
    a = Mul(x, two)
    b = If(yes) <then_branch = whole () => (float[2,4,5,7] p) { p = Add(a, t) },
                 else_branch = none () => (float[2,4,5,7] q) { q = Mul(a, three) }>
    y = Relu(b)
}"""


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def part(model: onnx.ModelProto, root: str, sink: str) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (root, sink)]
    return Cutter(model).cut(ends[:1], ends[1:])


def test_what_a_subgraph_reads_is_cut_with_its_node():
    model = build(CAPTURING, two=(4, 1, 1), three=(4, 1, 1))
    x, t = drawn(2, 4, 5, 7), drawn(4, 1, 1)
    two = next(numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.name == "two")

    cut = part(model, "a", "y")

    assert [value.name for value in cut.graph.input] == ["a", "t", "yes"]
    assert [node.op_type for node in cut.graph.node] == ["If", "Relu"]
    for yes in (np.array(True), np.array(False)):
        expected = run(model, {"x": x, "yes": yes, "t": t})
        assert np.array_equal(run(cut, {"a": x * two, "yes": yes, "t": t}), expected)


def test_a_sparse_initializer_is_cut_with_its_reader():
    model = build("net (float[2,4,5,7] x) => (float[2,4,5,7] y) { a = Relu(x)  y = Mul(a, gain) }", gain=(4, 1, 1))
    del model.graph.initializer[:]
    values, indices = numpy_helper.from_array(drawn(2), "gain"), numpy_helper.from_array(np.array([1, 2]), "places")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4, 1, 1]))
    x = drawn(2, 4, 5, 7)

    cut = part(model, "a", "y")

    assert [value.name for value in cut.graph.input] == ["a"]
    assert np.array_equal(run(cut, {"a": np.maximum(x, 0)}), run(model, {"x": x}))


CHAIN = """net (float[2,4,5,7] x) => (float[2,4,5,7] y, float[2,4,5,7] z) {
    a = Relu(x)  b = Mul(a, two)  c = Neg(b)  y = Relu(c)  d = Abs(b)  z = Tanh(d)
}"""


def test_the_way_back_ends_at_known_tensors_and_at_what_no_node_makes():
    whole = Cutter(build(CHAIN, two=(4, 1, 1)))
    indices, ends = whole.back_from(["z"], {"a", "y", "z"})
    assert ([node.output[0] for node in whole.nodes(indices)], ends) == (["b", "d", "z"], {"a", "two"})
    assert whole.back_from(["b"], ()) == ([0, 1], {"x", "two"})
    assert whole.back_from(["z", "b"], {"b"}) == ([0, 1, 4, 5], {"b", "x", "two"})


def test_what_is_between_leaves_out_sinks_that_are_roots():
    whole = Cutter(build(CHAIN, two=(4, 1, 1)))
    assert whole.between(["a"], ["a", "b"]) == ([1], {"two"})
    assert whole.between(["b"], ["b"]) == ([], set())


def test_a_deep_ladder_is_walked_once():
    """Every node reads the one before twice: 2 ** 400 ways."""
    steps = " ".join(f"t{i + 1} = Add(t{i}, t{i})" for i in range(400))
    model = build(f"net (float[2,3] x) => (float[2,3] y) {{ t0 = Relu(x) {steps} y = Relu(t400) }}")
    indices, ends = Cutter(model).back_from(["y"], {"t0"})
    assert (len(indices), ends) == (401, {"t0"})
