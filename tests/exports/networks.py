"""RepVGGs with perturbed statistics, their exports, and the plain networks that they amount to.

Inputs are small: global average pooling takes a map of any size, so 32×64 images exercise the very convolutions that
224×224 images do in a twentieth of the time.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from samples.zoo import build, deploy, export, perturb_statistics

SHAPE = (1, 3, 32, 64)
SEED = 1

Array = NDArray[Any]
Exporter = Literal["torchscript", "dynamo"]
Export = tuple[Exporter, bool]  # which exporter, and whether it folds constants
Conv = tuple[Array, Array]  # kernel: c_out  c_in/group  kh  kw, and bias: c_out

# What stands between the last block and the logits.
HEADS = {
    "torchscript": ["GlobalAveragePool", "Flatten", "Gemm"],
    "dynamo": ["ReduceMean", "Reshape", "Gemm"],
}

# Depth of stages 1 to 4 and options of a network with the shape of each family, and widths that differ.
NARROW: dict[str, dict[str, Any]] = {
    "A": {"num_blocks": (1, 2, 3, 1)},
    "B": {"num_blocks": (2, 1, 2, 1)},
    "Bg2": {"num_blocks": (2, 1, 2, 1), "groups": 2},
    "Bg4": {"num_blocks": (2, 1, 2, 1), "groups": 4},
    "Dse": {"num_blocks": (1, 1, 2, 1), "squeeze_excite": True},
}
WIDTHS, STRIDES = (16, 24, 32, 48, 80), (2, 2, 2, 2, 2)


def trained(name: str) -> Any:
    """The network of the zoo with statistics and gates that let a wrong fold show in the logits."""
    return _perturbed(build(name))


def narrow(family: str, *, deployed: bool = False) -> Any:
    """A network built as the family is, with few channels and 7 classes."""
    import torch

    from repvgg_onnx.zoo.repvgg import RepVGG

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        module = RepVGG(widths=WIDTHS, strides=STRIDES, num_classes=7, deployed=deployed, **NARROW[family])
    return _perturbed(module).eval()


def _perturbed(module: Any) -> Any:
    """No normalization is nearly the identity, and no gate nearly 1/2: 48 of those would leave nothing of the image."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    for child in module.modules():
        if hasattr(child, "up"):
            torch.nn.init.normal_(child.up.bias, 4, 1, generator=generator)
    return perturb_statistics(module, SEED)


def exported(module: Any, form: Export) -> onnx.ModelProto:
    exporter, fold = form
    return export(module, shape=SHAPE, exporter=exporter, fold=fold)


def image_of(seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(SHAPE, dtype=np.float32)


def logits_of(module: Any, image: Array) -> Array:
    """What torch itself computes with the training-time network."""
    import torch

    with torch.no_grad():
        logits: Array = module(torch.from_numpy(image)).numpy()
    return logits


def deployed_convs(module: Any) -> list[Conv]:
    """Kernel and bias of every deployed block, in order, computed in float64 without the compiler and rounded once."""
    blocks = [block for block in module.modules() if hasattr(block, "deployed_form")]
    convs = (deploy(block).rbr_reparam for block in blocks)
    return [(conv.weight.detach().float().numpy(), conv.bias.detach().float().numpy()) for conv in convs]


def block_convs(model: onnx.ModelProto) -> Iterator[Conv]:
    """Kernel and bias of every convolution that is not part of a squeeze-and-excite, in order."""
    stored = {entry.name: entry for entry in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv" and stored[node.input[1]].dims[2:] != [1, 1]:
            kernel, bias = (numpy_helper.to_array(stored[name]) for name in node.input[1:])
            yield kernel, bias


def plain(exporter: Exporter, blocks: int, *, squeeze_excite: bool = False) -> Counter[str]:
    """Nodes of the plain network: a Conv and a Relu for each block, and the head."""
    nodes = Counter({"Conv": blocks, "Relu": blocks}) + Counter(HEADS[exporter])
    if squeeze_excite:
        gate = [HEADS[exporter][0], "Conv", "Relu", "Conv", "Sigmoid", "Mul"]
        nodes += Counter({op_type: blocks * times for op_type, times in Counter(gate).items()})
    return nodes
