"""Heads and necks reach their hand-written cheapest forms, as every exporter writes them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from repvgg_onnx import fuse, prove
from repvgg_onnx.census import profile
from tests.models import assert_final
from tests.oracle import error, run

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
sys.path.insert(0, str(Path(__file__).parents[2] / "samples" / "benchmarks"))

from heads import HEADS, OptimalSegFormerHead, SegFormerHead, exported  # noqa: E402

from samples import zoo  # noqa: E402

FORMS = [
    ("torchscript", False),
    ("torchscript", True),
    pytest.param("dynamo", False, marks=pytest.mark.slow),
    pytest.param("dynamo", True, marks=pytest.mark.slow),
]


def built(head):
    """A head with seeded weights and statistics, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return zoo.perturb_statistics(head.build()).eval()


def macs(model, shapes):
    return sum(layer.macs for layer in profile(model, shapes=shapes).layers)


def named(shapes):
    return {f"x{number}": shape for number, shape in enumerate(shapes)}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize(("exporter", "dynamic"), FORMS)
def test_a_fused_head_multiplies_as_little_as_its_optimal_form(name, exporter, dynamic):
    head = HEADS[name]
    module, shapes = built(head), named(head.shapes)
    before = exported(module, head.shapes, dynamo=exporter == "dynamo", dynamic=dynamic)
    optimal = exported(head.optimal(module).eval(), head.shapes)

    fusion = fuse(before, shapes=shapes)

    assert any(region.moved for region in fusion.regions)
    assert macs(fusion.model, shapes) == macs(optimal, shapes) < macs(before, shapes)
    generator = np.random.default_rng(0)
    feeds = {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    expected, written, made = (run(model, feeds)[0] for model in (before, optimal, fusion.model))
    assert error(expected, made) < 2e-6
    assert error(expected, written) < 2e-6


def test_a_dynamic_head_runs_on_other_sizes():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = zoo.perturb_statistics(SegFormerHead((6, 10, 16, 20), 24, 5)).eval()
    shapes = tuple((1, width, 16 >> stage, 24 >> stage) for stage, width in enumerate((6, 10, 16, 20)))
    before = exported(module, shapes, dynamic=True)

    proof = prove(before, shapes=named(shapes))

    assert proof.parity.passed
    assert any(region.moved for region in proof.fusion.regions)
    assert all(region.used <= 1 for region in proof.regions)
    assert not proof.failed
    for batch, height, width in ((2, 8, 8), (1, 40, 16)):
        generator = np.random.default_rng(1)
        sizes = {name: (batch, shape[1], height >> stage, width >> stage)
                 for stage, (name, shape) in enumerate(named(shapes).items())}  # fmt: skip
        feeds = {name: generator.normal(size=shape).astype(np.float32) for name, shape in sizes.items()}
        expected, made = (run(model, feeds)[0] for model in (before, proof.fusion.model))
        assert error(expected, made) < 2e-6
    assert macs(proof.fusion.model, named(shapes)) == macs(
        exported(OptimalSegFormerHead(module).eval(), shapes), named(shapes)
    )


def test_a_fused_head_is_final():
    head = HEADS["yolo-neck"]
    assert_final(fuse(exported(built(head), head.shapes)))
