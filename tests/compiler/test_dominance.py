"""Post-dominators against their definition, on random graphs."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from repvgg_onnx.compiler.dominance import PostDominators
from repvgg_onnx.graph.link import view_model
from tests.models import build

NODES = 14


def random_graph(seed):
    """Nodes that read one or two of the tensors before; the last one and perhaps another are outputs."""
    rng = np.random.default_rng(seed)
    nodes = []
    for number in range(NODES):
        known = ["x", *(f"t{index}" for index in range(max(number - 4, 0), number))]
        read = rng.choice(known, size=min(rng.integers(1, 3), len(known)), replace=False)
        nodes.append(helper.make_node("Sum", [str(name) for name in read], [f"t{number}"]))
    ends = {NODES - 1, int(rng.integers(NODES))} if rng.random() < 0.5 else {NODES - 1}
    values = [helper.make_tensor_value_info(f"t{index}", TensorProto.FLOAT, [2]) for index in sorted(ends)]
    start = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])
    graph = helper.make_graph(nodes, "net", [start], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def escapes(view, node, without):
    """Whether what a node makes reaches an output, or nobody at all, around another node."""
    if node == without:
        return False
    name = view.nodes[node].outputs[0]
    readers = view.readers.get(name, ())
    return view.is_output(name) or not readers or any(escapes(view, reader, without) for reader in readers)


@pytest.mark.parametrize("seed", range(30))
def test_everything_goes_through_a_post_dominator(seed):
    view = view_model(random_graph(seed), {})
    through = PostDominators(view)

    for node in range(NODES):
        around = [other for other in range(NODES) if not escapes(view, node, other)]
        assert [other for other in range(NODES) if through.passes(node, other)] == around
        assert through.above(node) == min((other for other in around if other != node), default=NODES)


def test_what_a_subgraph_reads_goes_through_nothing():
    text = """net (float[2] x, bool c) => (float[2] y) {
        a = Neg(x)
        b = If(c) <then_branch = one () => (float[2] u) { u = Neg(a) },
                   else_branch = two () => (float[2] v) { v = Abs(x) }>
        y = Add(a, b)
    }"""
    through = PostDominators(view_model(build(text), {}))

    assert [through.above(node) for node in range(3)] == [3, 2, 3]
