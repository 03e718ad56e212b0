"""The referee catches what a compiler could do wrong, also in a network whose output is all noise."""

import itertools
from dataclasses import dataclass, replace

import onnx
import pytest

pytest.importorskip("torch")

from repvgg_onnx import Fusion, Region, fuse
from repvgg_onnx.checks.options import CheckOptions
from repvgg_onnx.checks.parity import Parity, verify
from repvgg_onnx.checks.reference import LOUD, Reference, reference
from repvgg_onnx.checks.regions import check_regions
from repvgg_onnx.workflows.prove import pieces_of, prove
from tests.referee import mutations, networks

FAULTS = ("kernel_off", "bias_off", "wrong_stride", "dropped_relu", "swapped_input", "lost_branch")
SMALL = ("small_repvgg", "small_mobileone", "small_detector")
LARGE = ("repvgg_a0", "mobileone_s4", "detector")
QUICK = [
    *(("small_repvgg", fault) for fault in FAULTS),
    ("small_mobileone", "bias_off"),
    ("small_detector", "kernel_off"),
]
PIECEWISE = ("kernel_off", "bias_off", "wrong_stride", "lost_branch")
ON_PIECES = list(itertools.product(SMALL, PIECEWISE))
ROUNDING = 5e-7
"""Of outputs that differ by less, the ratio to the own noise is one of two maxima of a few roundings: luck."""


@dataclass(frozen=True)
class Case:
    """A network and what it is fused to."""

    name: str
    original: onnx.ModelProto
    fusion: Fusion

    def region(self, fault: str) -> Region:
        """A region in the middle of the network to which the fault can be done."""
        regions = [region for region in self.fusion.regions if _takes(self, region, fault)]
        return regions[len(regions) // 2]

    def mutated(self, fault: str, model: onnx.ModelProto) -> onnx.ModelProto:
        """A fused model, or a piece of it, with the fault."""
        make = mutations.lost_branch(self.original) if fault == "lost_branch" else getattr(mutations, fault)
        return mutations.mutated(model, self.region(fault), make)


def _takes(case: Case, region: Region, fault: str) -> bool:
    graph = case.fusion.model.graph
    node = next(node for node in graph.node if node.name == region.name)
    readers = [reader.op_type for reader in graph.node if region.sink in reader.input]
    summed = any(member.op_type == "Add" for member in region.members)
    return {
        "bias_off": len(node.input) > 2,
        "dropped_relu": bool({"Relu", "Tanh"} & set(readers)),
        "swapped_input": summed and all(step == 1 for step in region.strides) and region.c_in == region.c_out,
        "lost_branch": summed,
    }.get(fault, True) and node.op_type == "Conv"


@pytest.fixture(scope="module")
def cases():
    """Networks by name, each made once."""
    made: dict[str, Case] = {}

    def case(name: str) -> Case:
        if name not in made:
            original = getattr(networks, name)()
            made[name] = Case(name, original, fuse(original))
        return made[name]

    return case


@pytest.fixture(scope="module")
def known(cases):
    """The original of a network, run once."""
    made: dict[str, Reference] = {}

    def run(name: str) -> Reference:
        if name not in made:
            case = cases(name)
            ends = [end for region in case.fusion.regions for end in (region.root, region.sink)]
            source = case.original.SerializeToString()
            made[name] = reference(case.original, source, CheckOptions(), exposed=ends)
        return made[name]

    return run


@pytest.mark.parametrize(("name", "parameters"), [("mobileone_s4", 14_951_248), ("unet_resnet18", 14_328_209)])
def test_networks_of_the_benchmarks_have_the_size_of_the_published_ones(name, parameters):
    with networks.torch.device("meta"):
        net = getattr(networks.larger_networks, name)()
    assert sum(weights.numel() for weights in net.parameters()) == parameters


def slow(values, quick=()):
    """What only the slow suite runs."""
    return [
        pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.slow)
        for value in values
        if value not in quick
    ]


def assert_right(parity: Parity) -> None:
    assert parity.passed
    for output in parity.outputs:
        assert output.error < max(3 * output.noise, ROUNDING)


@pytest.mark.parametrize("name", [*SMALL, *slow((*LARGE, "unet"))])
def test_what_is_right_passes_and_is_as_near_as_the_network_is_to_itself(cases, name):
    proof = prove(cases(name).original)
    assert (proof.failed, len(proof.regions)) == ((), len(cases(name).fusion.regions))
    assert_right(proof.parity)
    assert_right(verify(cases(name).original, cases(name).fusion.model))
    if "detector" in name:
        assert {output.decided_by for output in proof.parity.outputs} == {"inner tensors"}
        assert proof.parity.noise > LOUD


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [*SMALL, *slow(LARGE)])
def test_a_fault_in_the_fused_model_is_seen_from_outside(cases, name, fault):
    case = cases(name)
    assert not verify(case.original, case.mutated(fault, case.fusion.model)).passed


@pytest.mark.parametrize(("name", "fault"), [*QUICK, *slow(itertools.product(SMALL + LARGE, FAULTS), QUICK)])
def test_the_region_with_a_fault_is_rolled_back_and_all_others_are_kept(cases, name, fault):
    case = cases(name)
    proof = prove(case.original, written=lambda model: case.mutated(fault, model))
    assert [region.sink for region in proof.failed] == [case.region(fault).sink]
    kept = {region.sink for region in proof.fusion.regions}
    assert kept >= {region.sink for region in case.fusion.regions} - {case.region(fault).sink}
    assert_right(proof.parity)


@pytest.mark.parametrize(
    ("name", "fault"),
    # One weight of a wide layer, off by a thousandth, moves its results by less than their roundings may.
    [*((name, "one_weight_off") for name in SMALL), *ON_PIECES, *slow(itertools.product(LARGE, PIECEWISE))],
)
def test_a_piece_with_a_fault_is_seen_on_its_own(cases, known, name, fault):
    case = cases(name)
    pieces = list(pieces_of(case.original, case.fusion))
    region = case.region(fault)
    spoiled = [
        replace(piece, model=case.mutated(fault, piece.model)) if piece.sink == region.sink else piece
        for piece in pieces
    ]
    checked = check_regions(known(name), spoiled)
    assert [parity.sink for parity in checked if not parity.passed] == [region.sink]
    assert all(parity.passed for parity in check_regions(known(name), pieces))
