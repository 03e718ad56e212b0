"""A graph of onnx-graphsurgeon goes in and comes out, with everything that such a graph holds."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from repvgg_onnx import fuse
from tests.models import assert_same_outputs, batch_norm, build, ops

BLOCK = """net (float[1,4,9,11] x, bool t) => (float[1,4,9,11] y, float[1,4,9,11] z) {
    a = Conv<pads=[1,1,1,1]>(x, k)  b = BatchNormalization(a, gamma, beta, mean, var)  c = Conv(x, p)
    d = Add(b, c)  y = Relu(d)
    z = If(t)<then_branch = one () => (float[1,4,9,11] p1) { q1 = Conv(x, p)  p1 = Mul(q1, s) },
              else_branch = two () => (float[1,4,9,11] r1) { r1 = Relu(x) }>
}"""


def block() -> onnx.ModelProto:
    return build(BLOCK, k=(4, 4, 3, 3), p=(4, 4, 1, 1), s=(4, 1, 1), **batch_norm(4))


def surgeon(model: onnx.ModelProto) -> gs.Graph:
    graph = gs.import_onnx(model)
    graph.name, graph.doc_string, graph.producer_name = "the net", "what it is for", "a tool"
    return graph


def exported(graph: gs.Graph) -> bytes:
    return gs.export_onnx(graph).SerializeToString(deterministic=True)


def test_a_graph_gives_a_graph_that_computes_the_same(capsys):
    graph = surgeon(block())
    before = exported(graph)

    fusion = fuse(graph)

    assert isinstance(fusion.model, gs.Graph)
    assert len(fusion.regions) == 2
    assert exported(graph) == before, "the graph that was given is changed"
    fused = gs.export_onnx(fusion.model)
    assert ops(fused) == ["Conv", "Relu", "If"]
    assert_same_outputs(block(), fused)
    assert capsys.readouterr().out == ""


def test_it_is_what_fusing_the_model_gives_and_nothing_of_the_graph_is_lost():
    graph = surgeon(block())

    fused = fuse(graph).model

    assert (fused.name, fused.doc_string, fused.producer_name) == ("the net", "what it is for", "a tool")
    assert (fused.opset, fused.ir_version) == (graph.opset, graph.ir_version)
    assert [tensor.name for tensor in fused.inputs + fused.outputs] == ["x", "t", "y", "z"]
    of_model = gs.import_onnx(fuse(gs.export_onnx(graph)).model)
    assert exported(fused) == exported(of_model)


def test_a_graph_in_the_making_without_types_and_with_unsorted_nodes_is_taken():
    x, y = gs.Variable("x", np.float32, (1, 2, 5, 7)), gs.Variable("y", np.float32)
    middle = gs.Variable("m")
    kernel, gain = np.ones((4, 2, 1, 1), np.float32), np.full((4, 1, 1), 3, np.float32)
    conv = gs.Node("Conv", "conv", inputs=[x, gs.Constant("k", kernel)], outputs=[middle])
    mul = gs.Node("Mul", "mul", inputs=[middle, gs.Constant("s", gain)], outputs=[y])
    graph = gs.Graph([mul, conv], [x], [y], opset=17)

    fused = fuse(graph).model

    assert [node.op for node in fused.nodes] == ["Conv"]
    assert np.array_equal(fused.nodes[0].inputs[1].values, 3 * kernel)


def test_a_graph_in_which_nothing_folds_is_given_back():
    graph = surgeon(build("net (float[1,4,5,7] x) => (float[1,4,5,7] y) { y = Relu(x) }"))

    assert fuse(graph).model is graph
