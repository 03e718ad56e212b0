"""Random graphs of the operators that fold: the same outputs, and nothing more to find the second time."""

import hypothesis.strategies as st
import numpy as np
import onnx
from hypothesis import given, settings
from onnx import TensorProto, helper, numpy_helper

from repvgg_onnx import fuse
from tests.models import assert_settled, feeds
from tests.oracle import error, run

CHANNELS = 4
SIZE = (5, 7)
UNARY = ("Relu", "Identity", "Neg")
KINDS = (
    "conv",
    "conv",
    "conv",
    "norm",
    "norm",
    "constant",
    "sum",
    "sum",
    "sum",
    "unary",
    "pool",
    "pad",
    "dense",
    "swap",
)
WORST = 1e-5  # a dozen nodes deep, where onnxruntime's own rounding adds up


class Sketch:
    """A graph in the making; every tensor has its shape."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.shapes = {"x": (1, CHANNELS, *SIZE)}
        self.images = ["x"]  # tensors that have four channels on the second axis

    def weight(self, array: np.ndarray) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, np.float32), name))
        return name

    def index(self, numbers: list[int]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.int64(numbers), name))
        return name

    def node(self, op_type: str, inputs: list[str], shape: tuple[int, ...], *, image: bool = True, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        self.shapes[name] = shape
        if image:
            self.images.append(name)
        return name

    def conv(self, source: str, kernel, pads, strides, dilations, group: int, *, bias: bool) -> str | None:
        batch, channels, *sizes = self.shapes[source]
        spans = [(count - 1) * step + 1 for count, step in zip(kernel, dilations, strict=True)]
        out = [
            (size + pads[axis] + pads[axis + 2] - spans[axis]) // strides[axis] + 1 for axis, size in enumerate(sizes)
        ]
        if min(out) < 1:
            return None
        array = self.rng.normal(size=(channels, channels // group, *kernel)) / np.prod(kernel)
        inputs = [source, self.weight(array)]
        inputs += [self.weight(self.rng.normal(size=channels))] if bias else []
        place = {"pads": pads, "strides": strides, "dilations": dilations, "group": group}
        return self.node("Conv", inputs, (batch, channels, *out), **place)

    def norm(self, source: str) -> str:
        gamma, beta, mean = self.rng.normal(size=(3, CHANNELS))
        statistics = [self.weight(each) for each in (gamma, beta, mean, self.rng.uniform(0.5, 2, CHANNELS))]
        return self.node("BatchNormalization", [source, *statistics], self.shapes[source])

    def pool(self, source: str) -> str | None:
        batch, channels, height, width = self.shapes[source]
        if min(height, width) < 2:
            return None
        place = {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1], "count_include_pad": 1}
        return self.node("AveragePool", [source], (batch, channels, height, width), **place)

    def pad(self, source: str) -> str:
        batch, channels, height, width = self.shapes[source]
        return self.node(
            "Pad", [source, self.index([0, 0, 1, 0, 0, 0, 0, 2])], (batch, channels, height + 1, width + 2)
        )

    def dense(self, source: str) -> str:
        batch, channels, height, width = self.shapes[source]
        last = self.node("Transpose", [source], (batch, height, width, channels), perm=[0, 2, 3, 1], image=False)
        matrix = self.weight(self.rng.normal(size=(channels, channels)))
        product = self.node("MatMul", [last, matrix], (batch, height, width, channels), image=False)
        return self.node("Transpose", [product], self.shapes[source], perm=[0, 3, 1, 2])

    def swap(self, source: str) -> str:
        """The channels in another order: the last ones first."""
        zero, one, two, end = (self.index([number]) for number in (0, 1, 2, 99))
        batch, channels, *sizes = self.shapes[source]
        upper = self.node("Slice", [source, two, end, one], (batch, channels - 2, *sizes), image=False)
        lower = self.node("Slice", [source, zero, two, one], (batch, 2, *sizes), image=False)
        return self.node("Concat", [upper, lower], self.shapes[source], axis=1)

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name]) for name in outputs]
        start = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shapes["x"])
        graph = helper.make_graph(self.nodes, "random", [start], ends, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@st.composite
def graphs(draw) -> onnx.ModelProto:
    """Up to a dozen nodes that read any earlier tensor, so that tensors are shared and some are outputs."""
    sketch = Sketch(draw(st.integers(0, 2**16)))
    for _ in range(draw(st.integers(3, 12))):
        source = draw(st.sampled_from(sketch.images[-4:]))
        kind = draw(st.sampled_from(KINDS))
        if kind == "conv":
            sketch.conv(source, *draw(places()), bias=draw(st.booleans()))
        elif kind in ("norm", "pool", "pad", "dense", "swap"):
            getattr(sketch, kind)(source)
        elif kind == "constant":
            constant = sketch.weight(sketch.rng.normal(size=draw(st.sampled_from([(), (1,), (4, 1, 1), (1, 4, 1, 1)]))))
            operands = draw(st.permutations([source, constant]))
            sketch.node(draw(st.sampled_from(("Add", "Sub", "Mul"))), operands, sketch.shapes[source])
        elif kind == "sum":
            equals = [name for name in sketch.images if sketch.shapes[name] == sketch.shapes[source]]
            operands = [source, draw(st.sampled_from(equals))]
            sketch.node(draw(st.sampled_from(("Add", "Sub", "Sum"))), operands, sketch.shapes[source])
        else:
            sketch.node(draw(st.sampled_from(UNARY)), [source], sketch.shapes[source])
    read = {name for node in sketch.nodes for name in node.input}
    ends = [name for name in sketch.shapes if name not in read and name != "x"] or [list(sketch.shapes)[-1]]
    inner = [name for name in sketch.shapes if name in read and name != "x"]
    extra = draw(st.lists(st.sampled_from(inner), max_size=1)) if inner else []
    return sketch.model([*ends, *extra])


@st.composite
def places(draw):
    """Kernel shape, pads, strides, dilations and group; most often what keeps the size."""
    kernel = draw(st.sampled_from([(1, 1), (1, 1), (3, 3), (3, 3), (3, 1), (1, 3), (2, 3)]))
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (1, 2), (2, 2)]))
    spans = [step * (count - 1) for step, count in zip(dilations, kernel, strict=True)]
    even = [*(span // 2 for span in spans), *(span - span // 2 for span in spans)]
    pads = draw(st.sampled_from([even, even, even[2:] + even[:2], [0, 0, 0, 0], [1, 0, 0, 1]]))
    strides = draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (2, 1), (2, 2)]))
    return kernel, pads, strides, dilations, draw(st.sampled_from((1, 1, 2, 4)))


@settings(max_examples=150)
@given(graphs())
def test_a_random_graph_computes_what_it_did(model):
    before = model.SerializeToString(deterministic=True)
    fusion = fuse(model)
    assert model.SerializeToString(deterministic=True) == before
    assert (fusion.model is model) == (not fusion.regions)
    onnx.checker.check_model(fusion.model, full_check=True)
    given_inputs = feeds(model)
    for expected, actual in zip(run(model, given_inputs), run(fusion.model, given_inputs), strict=True):
        assert error(expected, actual) < WORST
    if fusion.regions:
        assert_settled(fusion)
