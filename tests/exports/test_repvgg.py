"""Every RepVGG, as the exporters write it, fuses to exactly the plain network that it amounts to."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from repvgg_onnx import Fusion, Parity, fuse, verify
from repvgg_onnx.checks.parity import normalized_error
from tests.models import assert_final, count

from .networks import (
    NARROW,
    Array,
    Conv,
    Export,
    block_convs,
    deployed_convs,
    exported,
    image_of,
    logits_of,
    narrow,
    plain,
    trained,
)

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

FOLDED: Export = ("torchscript", True)
UNFOLDED: Export = ("torchscript", False)
DYNAMO: Export = ("dynamo", True)
DYNAMO_UNFOLDED: Export = ("dynamo", False)
FORMS = (FOLDED, UNFOLDED, DYNAMO)

# All of the paper and of the release but A0; the largest first, so that parallel workers end together.
FULL_WIDTH = ("d2se", "b3", "b3g2", "b3g4", "b2", "b2g2", "b2g4", "b1", "b1g2", "b1g4", "a2", "b0", "a1")

TOLERANCE = 1e-5
ULP = np.float32(2.0**-23)  # unit in the last place of a float32, relative


@cache
def a0() -> Any:
    return trained("repvgg-a0")


@cache
def a0_exact() -> list[Conv]:
    return deployed_convs(a0())


@cache
def a0_fused(form: Export) -> tuple[onnx.ModelProto, Fusion]:
    before = exported(a0(), form)
    return before, fuse(before)


@cache
def narrow_fused(family: str, form: Export) -> tuple[onnx.ModelProto, Fusion]:
    before = exported(narrow(family), form)
    return before, fuse(before)


def parity(before: onnx.ModelProto, after: onnx.ModelProto) -> Parity:
    return verify(before, after, tolerance=TOLERANCE, threads=1)


def run(model: onnx.ModelProto, image: Array) -> Array:
    """Logits of a model under onnxruntime without its own optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    logits: Array = session.run(["logits"], {"image": image})[0]
    return logits


def assert_kernels(model: onnx.ModelProto, exact: list[Conv], *, fold: bool) -> None:
    """Kernels and biases of the blocks are the deployed ones to float32 rounding, block by block.

    Where every normalization was left to the compiler, each number is within one unit in the last place of the exact
    one (nearly all are equal), except that ONNX keeps epsilon as a float32: that moves a gain by 3e-13 of itself, and
    shows where branches cancel. An exporter that folds normalizations does so in float32: each step of gain,
    gain × kernel and sum rounds, in all by up to two units of the largest number.
    """
    found = list(block_convs(model))
    assert len(found) == len(exact)
    for arrays, references in zip(found, exact, strict=True):
        for array, reference in zip(arrays, references, strict=True):
            assert array.shape == reference.shape
            size = np.abs(reference)
            bound = 2 * ULP * size.max() if fold else ULP * size + np.float32(2.0**-40) * size.max()
            assert np.all(np.abs(array - reference) <= bound)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a0_is_22_convolutions_22_relus_and_the_head(form: Export) -> None:
    before, fusion = a0_fused(form)
    assert count(fusion.model) == plain(form[0], 22)
    assert len(fusion.regions) == 22
    assert_kernels(fusion.model, a0_exact(), fold=form[1])
    assert parity(before, fusion.model).passed
    assert_final(fusion)


def test_a0_by_dynamo_unoptimized_is_the_same_22_convolutions() -> None:
    before, fusion = a0_fused(DYNAMO_UNFOLDED)
    nodes = count(fusion.model)
    assert (nodes["Conv"], nodes["Relu"], nodes["Gemm"]) == (22, 22, 1)
    assert (nodes["BatchNormalization"], nodes["Add"]) == (0, 0)
    assert_kernels(fusion.model, a0_exact(), fold=False)
    assert parity(before, fusion.model).passed
    assert_final(fusion)


@pytest.mark.parametrize(
    ("family", "form"),
    [(family, form) for family in NARROW for form in (FOLDED, UNFOLDED)] + [("Bg4", DYNAMO), ("Dse", DYNAMO)],
    ids=str,
)
def test_a_narrow_one_of_every_family_is_the_plain_network(family: str, form: Export) -> None:
    module = narrow(family)
    exact = deployed_convs(module)
    before, fusion = narrow_fused(family, form)
    assert count(fusion.model) == plain(form[0], len(exact), squeeze_excite=family == "Dse")
    assert len(fusion.regions) == len(exact)
    assert_kernels(fusion.model, exact, fold=form[1])
    assert parity(before, fusion.model).passed
    assert_final(fusion)


@pytest.mark.parametrize("family", NARROW)
def test_the_nodes_are_those_of_the_exported_deployed_form(family: str) -> None:
    """In the same order, with the same attributes and weights of the same shapes."""
    by_hand = exported(narrow(family, deployed=True), UNFOLDED)
    _, fusion = narrow_fused(family, UNFOLDED)
    assert described(fusion.model) == described(by_hand)


def described(model: onnx.ModelProto) -> list[Any]:
    shapes = {entry.name: tuple(entry.dims) for entry in model.graph.initializer}
    return [
        (
            node.op_type,
            {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute},
            [shapes.get(name) for name in node.input],
        )
        for node in model.graph.node
    ]


@pytest.mark.parametrize("name", ["A0", *NARROW])
def test_the_logits_depend_on_the_image(name: str) -> None:
    """A network that is dead or dominated by its biases would make every parity below meaningless."""
    module = a0() if name == "A0" else narrow(name)
    one, other = (logits_of(module, image_of(seed)) for seed in (0, 1))
    assert np.isfinite(one).all()
    assert normalized_error(one, other) > 0.01


def edited(model: onnx.ModelProto, edit: Callable[[onnx.GraphProto], None]) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    edit(copied.graph)
    return copied


def perturb(graph: onnx.GraphProto, block: int) -> None:
    """Every weight of the block's kernel is larger by 1e-3 of itself."""
    conv = [node for node in graph.node if node.op_type == "Conv"][block]
    (kernel,) = (entry for entry in graph.initializer if entry.name == conv.input[1])
    kernel.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(kernel) * np.float32(1.001), kernel.name))


def drop_relu(graph: onnx.GraphProto, block: int) -> None:
    """Whatever read the block's Relu reads its input."""
    relu = [node for node in graph.node if node.op_type == "Relu"][block]
    for node in graph.node:
        node.input[:] = [relu.input[0] if name == relu.output[0] else name for name in node.input]
    graph.node.remove(relu)


@pytest.mark.parametrize("block", range(8))
@pytest.mark.parametrize("edit", [perturb, drop_relu])
def test_a_wrong_block_fails_parity(edit: Callable[[onnx.GraphProto, int], None], block: int) -> None:
    before, fusion = narrow_fused("A", UNFOLDED)
    assert len(fusion.regions) == 8
    assert parity(before, fusion.model).passed
    assert not parity(before, edited(fusion.model, lambda graph: edit(graph, block))).passed


@pytest.mark.parametrize("block", [0, 11, 21])
@pytest.mark.parametrize("edit", [perturb, drop_relu])
def test_a_wrong_block_of_a0_fails_parity(edit: Callable[[onnx.GraphProto, int], None], block: int) -> None:
    before, fusion = a0_fused(FOLDED)
    wrong = edited(fusion.model, lambda graph: edit(graph, block))
    assert not verify(before, wrong, tolerance=TOLERANCE, seeds=(0,), threads=1).passed


@pytest.mark.slow
@pytest.mark.parametrize("name", FULL_WIDTH)
def test_every_repvgg_at_full_width_is_the_plain_network(name: str) -> None:
    """All exports of one network in one test, which builds it and its exact kernels once."""
    module = trained(f"repvgg-{name}")
    exact = deployed_convs(module)
    image = image_of(0)
    expected = logits_of(module, image)
    assert normalized_error(expected, logits_of(module, image_of(1))) > 0.01
    for form in FORMS:
        fused = fused_to_plain(exported(module, form), plain(form[0], len(exact), squeeze_excite=name == "d2se"))
        assert_kernels(fused, exact, fold=form[1])
        assert normalized_error(expected, run(fused, image)) <= TOLERANCE, form


def fused_to_plain(before: onnx.ModelProto, nodes: dict[str, int]) -> onnx.ModelProto:
    fusion = fuse(before)
    assert count(fusion.model) == nodes
    assert_final(fusion)
    return fusion.model
