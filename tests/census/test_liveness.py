"""Live bytes against a simulation that walks forward and frees what nobody reads any more."""

from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from repvgg_onnx.census import profile
from repvgg_onnx.census.profiling import Step, live_bytes


@st.composite
def runs(draw, most_outputs=2):
    """Steps over tensors, their inputs and outputs, and the sizes of all tensors."""
    inputs = [f"x{index}" for index in range(draw(st.integers(1, 3)))]
    known, steps = list(inputs), []
    for index in range(draw(st.integers(1, 8))):
        reads = draw(st.lists(st.sampled_from(known), min_size=1, max_size=3, unique=True))
        writes = [f"t{index}_{number}" for number in range(draw(st.integers(1, most_outputs)))]
        steps.append(Step(tuple(reads), tuple(writes)))
        known += writes
    outputs = draw(st.lists(st.sampled_from(known[len(inputs) :]), min_size=1, max_size=2, unique=True))
    return steps, inputs, outputs, {name: draw(st.integers(1, 1000)) for name in known}


def simulated(steps, inputs, outputs, sizes):
    held, sums = set(inputs), [sum(sizes[name] for name in inputs)]
    for index, step in enumerate(steps):
        needed = {name for later in steps[index:] for name in later.reads} | set(outputs)
        held = (held & needed) | set(step.writes)
        sums.append(sum(sizes[name] for name in held))
    return tuple(sums)


def model_of(steps, inputs, outputs, sizes):
    """Nodes that nobody knows, between tensors of as many bytes as the sizes say."""

    def values(names):
        return [helper.make_tensor_value_info(name, TensorProto.INT8, (sizes[name],)) for name in names]

    inside = [name for name in sizes if name not in {*inputs, *outputs}]
    nodes = [helper.make_node("Any", step.reads, step.writes, domain="test") for step in steps]
    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), value_info=values(inside))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("test", 1)]
    return helper.make_model(graph, ir_version=10, opset_imports=imports)


@given(runs())
@settings(max_examples=200, deadline=None)
def test_live_bytes_are_those_of_a_simulation(case):
    steps, inputs, outputs, sizes = case

    assert live_bytes(steps, inputs=inputs, outputs=outputs, bytes_of=sizes) == simulated(*case)


@given(runs(most_outputs=1))
@settings(max_examples=60, deadline=None)
def test_layers_of_a_model_live_as_in_a_simulation(case):
    expected = simulated(*case)

    found = profile(model_of(*case))

    assert [layer.live_bytes for layer in found.layers] == list(expected[1:])
    assert found.peak_activation_bytes == max(expected)


def test_what_nobody_reads_lives_while_it_is_made():
    steps = [Step(("x",), ("dead",)), Step(("x",), ("y",))]

    assert live_bytes(steps, inputs=["x"], outputs=["y"], bytes_of={"x": 1, "dead": 10, "y": 100}) == (1, 11, 101)


def test_unknown_tensors_count_as_nothing():
    assert live_bytes([Step(("w", "x"), ("y",))], inputs=["x"], outputs=["y"], bytes_of={"w": 7, "x": 1}) == (1, 1)
