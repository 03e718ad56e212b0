"""Who makes and who reads a tensor, and every graph inside a graph, however it is held."""

import onnx

from repvgg_onnx import fuse
from repvgg_onnx.graph.bodies import all_bodies, all_nodes, nodes_at, operator_of, subgraphs, uses_of
from repvgg_onnx.graph.link import view_model
from tests.models import build, unchecked

CAPTURING = """net (float[2,3] x, bool c) => (float[2,3] y) {
    a = Relu(x)
    b = Add(a, a)
    d = If(c) <then_branch = t () => (float[2,3] p) { p = Add(a, b) },
               else_branch = e () => (float[2,3] q) { q = Neg(x) }>
    y = Mul(d, a)
}"""
HEADER = '<ir_version: 10, opset_import: ["" : 17, "com.acme" : 1]>'


def listed():
    """A node that holds two graphs in one attribute, as no operator of ONNX's own does."""
    graphs = [
        onnx.helper.make_graph(
            [onnx.helper.make_node("Neg", ["a"], [f"p{number}"])],
            f"g{number}",
            [],
            [onnx.helper.make_tensor_value_info(f"p{number}", onnx.TensorProto.FLOAT, (2, 3))],
        )
        for number in (1, 2)
    ]
    model = unchecked(f"{HEADER} net (float[2,3] x) => (float[2,3] y) {{ a = Relu(x)  y = com.acme.Choose(a) }}")
    model.graph.node[1].attribute.append(onnx.helper.make_attribute("choices", graphs))
    return model


def test_readers_are_the_nodes_and_captors_those_around_the_graphs_that_read():
    uses = uses_of(build(CAPTURING).graph)

    assert uses.makers == {"a": 0, "b": 1, "d": 2, "y": 3}
    assert uses.readers == {"x": [0], "a": [1, 3], "c": [2], "d": [3]}
    assert uses.captors == {"a": [2], "b": [2], "x": [2], "p": [2], "q": [2]}
    assert uses.all_readers("a") == [1, 2, 3]
    assert uses.all_readers("y") == []


def test_a_view_marks_what_is_captured():
    view = view_model(build(CAPTURING), {})

    assert view.readers["a"] == (-1, 1, 3)
    assert view.readers["d"] == (3,)
    assert view.is_captured("b")
    assert not view.is_captured("d")


def test_every_walk_sees_the_graphs_of_a_list():
    model = listed()

    assert len(subgraphs(model.graph.node[1])) == 2
    assert [len(body.node) for body in all_bodies(model.graph)] == [2, 1, 1]
    assert sorted(map(operator_of, all_nodes(model.graph))) == ["Neg", "Neg", "Relu", "com.acme.Choose"]
    assert [node.op_type for node in nodes_at(model.graph.node[0])] == ["Relu"]
    assert [len(view.nodes) for view in view_model(model, {}).subgraphs] == [1, 1]


def test_what_a_graph_of_a_list_reads_has_to_stay():
    model = listed()

    assert fuse(model).model is model
