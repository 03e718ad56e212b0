"""What a network is built of stays: folds never undo a design, and never make it cost more."""

import math
from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from repvgg_onnx import Fusion, fuse
from repvgg_onnx.census import census
from samples.zoo import BLOCKS, architecture, build, export, perturb_statistics
from tests.backend.networks import light
from tests.models import assert_same_outputs, assert_settled, attributes_of, count, fill, weights_of
from tests.models import build as build_model

DEEP = 1e-5  # normalized error of a dozen layers

# Convolutions and normalizations of networks in which every normalization follows a convolution.
WHOLE = {"resnet50": (53, 53), "inception_v2": (69, 69), "shufflenet": (49, 49), "squeezenet": (26, 0)}


class Network:
    """A network in the making; every normalization has random statistics."""

    def __init__(self, channels: int, *size: int) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.channels = {"x": channels}
        self.shape = (1, channels, *size)

    def weight(self, name: str, *shape: int) -> str:
        scale = np.sqrt(np.prod(shape[1:])) if len(shape) > 1 else 1.0
        array = np.float32(fill(name, shape, self.rng) / scale)
        self.weights.append(numpy_helper.from_array(array, f"{name}{len(self.weights)}"))
        return self.weights[-1].name

    def node(self, op_type: str, *inputs: str, channels: int, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        self.channels[name] = channels
        return name

    def conv(self, x: str, c_out: int, size: int = 1, *, stride: int = 1, group: int = 1, act: str = "") -> str:
        """Conv, BatchNormalization and, if named, what follows."""
        kernel = self.weight("kernel", c_out, self.channels[x] // group, size, size)
        place = {"strides": [stride] * 2, "pads": [size // 2] * 4, "group": group}
        made = self.node("Conv", x, kernel, channels=c_out, **place)
        statistics = [self.weight(name, c_out) for name in ("gamma", "beta", "mean", "var")]
        made = self.node("BatchNormalization", made, *statistics, channels=c_out)
        return self.node(act, made, channels=c_out) if act else made

    def add(self, *parts: str, act: str = "") -> str:
        made = self.node("Add", *parts, channels=self.channels[parts[0]])
        return self.node(act, made, channels=self.channels[made]) if act else made

    def model(self, last: str) -> onnx.ModelProto:
        start = helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)
        end = helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", self.channels[last], "H", "W"])
        graph = helper.make_graph(self.nodes, "net", [start], [end], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


def mobilenet_v2() -> onnx.ModelProto:
    """The first seven inverted residuals of MobileNetV2: linear bottlenecks, which no activation follows."""
    net = Network(3, 64, 96)
    x = net.conv("x", 32, 3, stride=2, act="Relu")
    for c_out, expansion, stride in [
        (16, 1, 1),
        (24, 6, 2),
        (24, 6, 1),
        (32, 6, 2),
        (32, 6, 1),
        (32, 6, 1),
        (64, 6, 2),
    ]:
        wide = net.channels[x] * expansion
        inner = net.conv(x, wide, act="Relu") if expansion > 1 else x
        inner = net.conv(inner, wide, 3, stride=stride, group=wide, act="Relu")
        inner = net.conv(inner, c_out)
        x = net.add(x, inner) if stride == 1 and net.channels[x] == c_out else inner
    return net.model(x)


def resnet_50() -> onnx.ModelProto:
    """The stem of ResNet-50 and two bottlenecks of each of its first two stages."""
    net = Network(3, 64, 96)
    x = net.conv("x", 64, 7, stride=2, act="Relu")
    x = net.node("MaxPool", x, channels=64, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    for width, stride in [(64, 1), (64, 1), (128, 2), (128, 1)]:
        skip = net.conv(x, 4 * width, stride=stride) if net.channels[x] != 4 * width else x
        inner = net.conv(x, width, act="Relu")
        inner = net.conv(inner, width, 3, stride=stride, act="Relu")
        x = net.add(net.conv(inner, 4 * width), skip, act="Relu")
    return net.model(x)


def convolutions(model: onnx.ModelProto) -> list[tuple]:
    """Kernel dims, group, strides and pads of each Conv, in order."""
    dims = {name: array.shape for name, array in weights_of(model).items()}
    places = [(node, attributes_of(node)) for node in model.graph.node if node.op_type == "Conv"]
    return [
        (dims[node.input[1]], place["group"], list(place["strides"]), list(place["pads"])) for node, place in places
    ]


@pytest.mark.parametrize("network", [mobilenet_v2, resnet_50])
def test_a_network_without_branches_keeps_all_but_its_normalizations(network):
    model = network()
    fused = fuse(model).model
    assert convolutions(fused) == convolutions(model)
    assert count(fused) + Counter(BatchNormalization=count(fused)["Conv"]) == count(model)
    assert_same_outputs(model, fused, DEEP)


@pytest.mark.parametrize("network", WHOLE)
def test_whole_networks_keep_all_but_their_normalizations(network):
    """Some of their weights follow from inputs that have initializers; frozen, they are constants."""
    model = light(network)
    convs, norms = WHOLE[network]
    assert (count(model)["Conv"], count(model)["BatchNormalization"]) == (convs, norms)
    fused = fuse(model, freeze_initializers=True, max_constant_mb=512).model
    assert (count(fused)["Conv"], count(fused)["BatchNormalization"]) == (convs, 0)
    assert groups(fused) == groups(model)
    for op_type in ("Sum", "Concat", "Relu", "AveragePool", "MaxPool", "Gemm"):
        assert count(fused)[op_type] == count(model)[op_type]


def groups(model: onnx.ModelProto) -> list[int]:
    return [attributes_of(node).get("group", 1) for node in model.graph.node if node.op_type == "Conv"]


@cache
def fused_block(name: str) -> tuple[onnx.ModelProto, Fusion]:
    pytest.importorskip("torch")
    shape = architecture(name).input_shape
    model = export(perturb_statistics(build(name), 1), shape=shape, fold=False)
    return model, fuse(model)


@pytest.mark.parametrize("name", [entry.name for entry in BLOCKS])
def test_every_fold_pays_for_itself(name):
    _, fusion = fused_block(name)
    assert fusion.regions
    for region in fusion.regions:
        before, after = region.cost_before, region.cost_after
        assert after.total < before.total
        assert after.macs - before.macs < before.bytes - after.bytes


@pytest.mark.parametrize("name", [entry.name for entry in BLOCKS])
def test_every_block_is_final_once_fused(name):
    assert_settled(fused_block(name)[1])


@pytest.mark.parametrize("name", [entry.name for entry in BLOCKS])
def test_no_block_gets_more_to_compute_or_to_store_than_its_bytes_pay_for(name):
    """Counted from the two models, not by the compiler."""
    model, fusion = fused_block(name)
    saved = sum(region.cost_before.bytes - region.cost_after.bytes for region in fusion.regions)
    assert macs(fusion.model) - macs(model) < saved
    assert 4 * (census(fusion.model).parameters - census(model).parameters) < saved


def macs(model: onnx.ModelProto) -> int:
    """Multiply-adds of the nodes that have kernels."""
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {name: array.shape for name, array in weights_of(model).items()}
    for value in (*graph.input, *graph.output, *graph.value_info):
        shapes[value.name] = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            positions = node.output[0] if node.op_type == "Conv" else node.input[0]
            total += math.prod((*shapes[positions], *shapes[node.input[1]][1:]))
        elif node.op_type in ("Gemm", "MatMul"):
            total += math.prod((*shapes[node.output[0]], shapes[node.input[0]][-1]))
    return total


def test_the_count_of_multiply_adds_is_right():
    text = """net (float[1,4,9,11] x) => (float[1,6,5,7] y) {
        a = Conv<group=2, strides=[2,2], pads=[1,1,1,3]>(x, w)  y = ConvTranspose<pads=[0,0,0,0]>(a, v)
    }"""
    assert macs(build_model(text, w=(6, 2, 3, 3), v=(6, 6, 1, 1))) == 5 * 7 * (6 * 2 * 9 + 6 * 6)
