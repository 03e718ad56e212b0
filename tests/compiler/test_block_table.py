"""The table: block × exporter × type. What is fused has no more nodes than what was deployed by hand."""

import json
from collections import Counter
from functools import cache
from typing import Any, Literal

import onnx
import pytest

from repvgg_onnx import Fusion, fuse, verify
from repvgg_onnx.compiler.emit import PROVENANCE, VERSION
from repvgg_onnx.compiler.results import Member
from samples.zoo import BLOCKS, architecture, build, export, perturb_statistics
from tests.models import assert_explained, assert_final

pytest.importorskip("torch")
pytest.importorskip("onnxscript")

Exporter = Literal["torchscript", "dynamo"]
Form = tuple[Exporter, bool]  # which exporter, and whether it folds constants
Type = Literal["float32", "float16"]

NAMES = [entry.name for entry in BLOCKS]
TOLERANCES: dict[Type, float] = {"float32": 1e-5, "float16": 1e-2}
KERNELS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
ARITHMETIC = ("Add", "Sub", "Mul", "Div")

FAST: Form = ("torchscript", True)
FORMS: tuple[tuple[Form, Type], ...] = (
    (("torchscript", False), "float32"),
    (("dynamo", True), "float32"),
    (("torchscript", True), "float16"),
    (("torchscript", False), "float16"),
    (("dynamo", True), "float16"),
)


@cache
def exported(name: str, form: Form, type_: Type, *, deployed: bool = False) -> onnx.ModelProto:
    module: Any = build(name, deployed=deployed)
    module = module if deployed else perturb_statistics(module, 1)
    exporter, fold = form
    shape = architecture(name).input_shape
    return export(module.half() if type_ == "float16" else module, shape=shape, exporter=exporter, fold=fold)


def computing(model: onnx.ModelProto) -> Counter[str]:
    """Operators by the number of nodes that make tensors of the output's type: no shapes, constants or copies.

    Scales that an exporter computes of sizes are of that type as well, and depend on the input through its shape only.
    """
    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    copies = ("Constant", "Identity", "Unsqueeze")
    own = types[graph.output[0].name]
    live = {value.name for value in graph.input}
    counted: Counter[str] = Counter()
    for node in graph.node:
        if node.op_type != "Shape" and not live.isdisjoint(node.input):
            live.update(node.output)
            counted[node.op_type] += node.op_type not in copies and types.get(node.output[0]) == own
    return counted


def figures(model: onnx.ModelProto, *, exact: bool) -> dict[str, int]:
    """What must not grow: nodes (all if ``exact``), those with kernels, normalizations, arithmetic."""
    nodes = computing(model)
    return {
        "nodes": len(model.graph.node) if exact else nodes.total(),
        "kernels": sum(nodes[op_type] for op_type in KERNELS),
        "normalizations": nodes["BatchNormalization"],
        "arithmetic": sum(nodes[op_type] for op_type in ARITHMETIC),
    }


def assert_reaches_the_deployed_form(name: str, form: Form, type_: Type) -> None:
    exporter, fold = form
    before = exported(name, form, type_)
    deployed = exported(name, (exporter, True), type_, deployed=True)
    fusion = fuse(before)
    found, wanted = (figures(model, exact=fold) for model in (fusion.model, deployed))
    assert {key: number for key, number in found.items() if number > wanted[key]} == {}, wanted
    parity = verify(before, fusion.model, tolerance=TOLERANCES[type_], threads=1)
    assert parity.passed, parity.error
    assert_provenance(before, fusion)
    assert_final(fusion)
    assert_explained(fusion)


def assert_provenance(before: onnx.ModelProto, fusion: Fusion) -> None:
    """Each emitted node lists the nodes of its region, all of which were in the model, and none are in two."""
    stated = [
        tuple(Member(name, op_type) for op_type, name in json.loads(entry.value))
        for node in fusion.model.graph.node
        for entry in node.metadata_props
        if entry.key == PROVENANCE
    ]
    assert Counter(stated) == Counter(region.members for region in fusion.regions)
    there = Counter(Member(node.name or node.output[0], node.op_type) for node in before.graph.node)
    removed = Counter(member for members in stated for member in members)
    assert removed.keys() <= there.keys()
    assert VERSION in {entry.key for entry in fusion.model.metadata_props} or not fusion.regions


@pytest.mark.parametrize("name", NAMES)
def test_a_block_reaches_its_deployed_form(name: str) -> None:
    assert_reaches_the_deployed_form(name, FAST, "float32")


@pytest.mark.slow
@pytest.mark.parametrize(("form", "type_"), FORMS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_block_reaches_its_deployed_form_from_other_exports(name: str, form: Form, type_: Type) -> None:
    assert_reaches_the_deployed_form(name, form, type_)


BEYOND = {"repvit-block"}
"""Deployed forms in which the authors leave a composition that saves multiply-adds.

RepViT's own ``fuse()`` makes each Conv and BN one Conv, and does no more in a block of stride 2. Nothing stands between
the pointwise convolution that ends its token mixer (16 to 24 channels here) and the first one of the channel mixer (24
to 48). The former stays, since the residual reads it, and 16 to 48 channels are fewer products than 24 to 48.
Source: THU-MIG/RepViT, model/repvit.py, RepViTBlock and Residual.fuse.
"""


@pytest.mark.parametrize("name", NAMES)
def test_a_deployed_form_has_nothing_left_to_fold(name: str) -> None:
    regions = fuse(exported(name, FAST, "float32", deployed=True)).regions
    if name in BEYOND:
        assert all(region.cost_after.macs < region.cost_before.macs for region in regions)
    else:
        assert regions == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_deployed_form_by_the_other_exporter_has_nothing_left_to_fold(name: str) -> None:
    regions = fuse(exported(name, ("dynamo", True), "float32", deployed=True)).regions
    assert regions == () or name in BEYOND
