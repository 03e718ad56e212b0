"""Graphs of any length, as linear code and long networks make them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.models import fill

SHAPE = (1, 2, 5, 7)
CHANNELS = SHAPE[1]


class Long:
    """A graph on ``x`` in the making; every tensor has the input's shape."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        self.weights.append(
            numpy_helper.from_array(np.float32(fill(name, shape, self.rng)), f"{name}{len(self.weights)}")
        )
        return self.weights[-1].name

    def node(self, op_type: str, *inputs: str, **attributes) -> str:
        self.nodes.append(helper.make_node(op_type, inputs, [f"t{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def conv(self, x: str, size: int = 1) -> str:
        kernel = self.weight("kernel", CHANNELS, CHANNELS, size, size)
        return self.node("Conv", x, kernel, pads=[size // 2] * 4)

    def scaled(self, x: str) -> str:
        return self.node("Mul", x, self.weight("gamma", CHANNELS, 1, 1))

    def norm(self, x: str) -> str:
        statistics = (self.weight(name, CHANNELS) for name in ("gamma", "beta", "mean", "var"))
        return self.node("BatchNormalization", x, *statistics)

    def model(self, last: str) -> onnx.ModelProto:
        start, end = (helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in ("x", last))
        graph = helper.make_graph(self.nodes, "net", [start], [end], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def muls_before_a_conv(count: int) -> onnx.ModelProto:
    """One chain of multiplications, and then a convolution."""
    long, x = Long(), "x"
    for _ in range(count):
        x = long.scaled(x)
    return long.model(long.conv(x, 3))


def muls_behind_a_conv(count: int) -> onnx.ModelProto:
    """A convolution, and then one chain of multiplications."""
    long = Long()
    x = long.conv("x", 3)
    for _ in range(count):
        x = long.scaled(x)
    return long.model(x)


def branches(count: int) -> onnx.ModelProto:
    """As many convolutions of one tensor, added one by one."""
    long = Long()
    total = long.conv("x", 3)
    for _ in range(count):
        total = long.node("Add", total, long.conv("x"))
    return long.model(total)


def diamonds(count: int) -> onnx.ModelProto:
    """As many diamonds, each of which adds two multiples of the one before."""
    long = Long()
    x = long.conv("x", 3)
    for _ in range(count):
        x = long.node("Add", long.scaled(x), long.scaled(x))
    return long.model(x)


def blocks(count: int) -> onnx.ModelProto:
    """As many RepVGG blocks."""
    long, x = Long(), "x"
    for _ in range(count):
        dense = long.norm(long.conv(x, 3))
        total = long.node("Add", dense, long.norm(long.conv(x)))
        x = long.node("Relu", long.node("Add", total, long.norm(x)))
    return long.model(x)


KINDS = {
    "Muls before a Conv": muls_before_a_conv,
    "Muls behind a Conv": muls_behind_a_conv,
    "branches of a sum": branches,
    "diamonds": diamonds,
    "RepVGG blocks": blocks,
}
