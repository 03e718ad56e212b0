"""Every block exports, computes what torch computes, and has a deployed form of few nodes that computes the same."""

import copy
from collections import Counter
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest

from samples.zoo import BLOCKS, architecture, build, deploy, export, perturb_statistics
from tests.oracle import error, run

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from samples.zoo.folding import Foldable  # noqa: E402

# The nodes with weights of the training-time form, every normalization kept, and of the deployed form.
NODES = {
    "repvgg-strided-block": ("6 Conv 6 BN", "3 Conv"),
    "repvgg-dilated-block": ("6 Conv 7 BN", "3 Conv"),
    "repvgg-grouped-block": ("6 Conv 8 BN", "3 Conv"),
    "repvgg-identity-block": ("3 Conv 4 BN", "3 Conv"),
    "repvgg-1x1-block": ("6 Conv 6 BN", "3 Conv"),
    "repvgg-plain-block": ("3 Conv 3 BN", "3 Conv"),
    "repvgg-bare-identity-block": ("6 Conv 6 BN", "3 Conv"),
    "repvgg-post-bn-block": ("6 Conv 3 BN", "3 Conv"),
    "repvgg-relu-block": ("6 Conv 7 BN", "6 Conv 1 BN"),
    "repvgg-residual-block": ("6 Conv 6 BN", "6 Conv"),
    "acb-block": ("9 Conv 9 BN", "3 Conv"),
    "repvgg-psp": ("28 Conv 33 BN", "17 Conv"),
    "repvgg-psp-fast": ("28 Conv 33 BN", "17 Conv"),
    "diracnet-block": ("3 Conv 3 BN", "3 Conv"),
    "trivial-reparam-block": ("3 Conv 3 BN", "3 Conv"),
    "do-conv-block": ("3 Conv 3 BN", "3 Conv"),
    "orepa-block": ("3 Conv 3 BN", "3 Conv"),
    "weight-standard-block": ("3 Conv", "3 Conv"),
    "expandnet-block": ("9 Conv 3 BN", "3 Conv"),
    "mobileone-block": ("20 Conv 22 BN", "5 Conv"),
    "repmixer-block": ("11 Conv 11 BN", "9 Conv"),
    "fastvit-large-kernel-block": ("7 Conv 9 BN", "5 Conv"),
    "repvit-block": ("15 Conv 13 BN", "13 Conv"),
    "repvit-heads": ("1 Conv 2 Gemm 3 BN", "1 Conv 1 Gemm"),
    "repghost-block": ("12 Conv 16 BN", "12 Conv"),
    "inceptionnext-block": ("11 Conv 3 BN", "11 Conv"),
    "repnext-block": ("31 Conv 7 BN", "13 Conv"),
    "replknet-block": ("11 Conv 14 BN", "9 Conv"),
    "unireplknet-block": ("15 Conv 4 MatMul 15 BN", "7 Conv 4 MatMul"),
    "dbb-block": ("18 Conv 22 BN", "4 Conv"),
    "yolov6-block": ("6 Conv 8 BN", "3 Conv"),
    "yolov7-block": ("8 Conv 9 BN", "7 Conv"),
    "yolov9-block": ("10 Conv 10 BN", "8 Conv"),
    "yolov7-implicit-block": ("4 Conv 3 BN", "3 Conv"),
    "ecbsr-block": ("27 Conv", "3 Conv"),
    "transposed-block": ("1 Conv 3 ConvTranspose 4 BN", "1 Conv 2 ConvTranspose"),
    "siblings-mixed-block": ("5 Conv 5 BN", "2 Conv"),
    "siblings-stacked-block": ("4 Conv 4 BN", "2 Conv"),
    "tdnn-block": ("4 Conv 3 BN", "4 Conv"),
    "repvgg-1d-block": ("6 Conv 7 BN", "3 Conv"),
    "repvgg-3d-block": ("4 Conv 5 BN", "2 Conv"),
    "repmlp-block": ("1 Gemm 4 MatMul 6 BN", "3 Gemm"),
    "linear-bn-block": ("1 Gemm 2 MatMul 4 BN", "3 Gemm"),
    "adapter-block": ("6 MatMul", "2 MatMul"),
    "channels-last-block": ("4 MatMul", "2 MatMul"),
    "convnext-block": ("3 Conv 4 MatMul 1 BN", "3 Conv 4 MatMul"),
}

ABBREVIATIONS = {
    "Conv": "Conv",
    "ConvTranspose": "ConvTranspose",
    "Gemm": "Gemm",
    "MatMul": "MatMul",
    "BatchNormalization": "BN",
}


def test_every_block_has_a_row() -> None:
    assert list(NODES) == [entry.name for entry in BLOCKS]


@cache
def trained(name: str) -> Any:
    return perturb_statistics(build(name), 1)


def image_of(name: str) -> Any:
    return torch.randn(architecture(name).input_shape, generator=torch.Generator().manual_seed(2))


def weighted_nodes(model: onnx.ModelProto) -> str:
    counts = Counter(node.op_type for node in model.graph.node)
    return " ".join(f"{counts[op_type]} {short}" for op_type, short in ABBREVIATIONS.items() if counts[op_type])


def assert_same_outputs(model: onnx.ModelProto, name: str) -> None:
    image = image_of(name)
    with torch.no_grad():
        expected = trained(name)(image).numpy()
    assert np.ptp(expected) > 1e-2, "an output that hardly varies hides mistakes"
    assert error(expected, run(model, {"image": image.numpy()})[0]) <= 1e-5


@pytest.mark.parametrize("name", NODES)
def test_the_training_time_form_keeps_its_branches(name: str) -> None:
    model = export(trained(name), shape=architecture(name).input_shape, fold=False)
    onnx.checker.check_model(model)
    assert weighted_nodes(model) == NODES[name][0]
    assert_same_outputs(model, name)


@pytest.mark.parametrize("name", NODES)
def test_the_deployed_form_has_the_fewest_nodes(name: str) -> None:
    model = export(deploy(trained(name)).float(), shape=architecture(name).input_shape, fold=False)
    assert weighted_nodes(model) == NODES[name][1]
    assert_same_outputs(model, name)


@pytest.mark.parametrize("name", NODES)
def test_the_deployed_form_computes_the_same(name: str) -> None:
    image = image_of(name).double()
    deployed = deploy(trained(name))
    assert not any(isinstance(child, Foldable) for child in deployed.modules())
    with torch.no_grad():
        expected, found = copy.deepcopy(trained(name)).double()(image), deployed(image)
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()
