"""Heads and necks reach their hand-written cheapest forms, as every exporter writes them."""

import math
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from repvgg_onnx import fuse, prove
from tests.models import assert_final
from tests.oracle import error, run

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
sys.path.insert(0, str(Path(__file__).parents[2] / "samples" / "benchmarks"))

import below  # noqa: E402
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


def macs(model, feeds):
    """Multiply-adds, from the sizes that tensors really have."""
    copied = onnx.ModelProto.FromString(model.SerializeToString())
    kernels = [node for node in copied.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    dims = {tensor.name: tuple(tensor.dims) for tensor in copied.graph.initializer}
    known = {value.name for value in copied.graph.output}
    names = [node.output[0] for node in kernels]
    copied.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in known)
    made = dict(zip([value.name for value in copied.graph.output], run(copied, feeds), strict=True))
    return sum(made[node.output[0]].size * math.prod(reach(node, dims[node.input[1]])) for node in kernels)


def reach(node, dims):
    """What an element of a kernel's result is a sum over."""
    if node.op_type == "Conv":
        return dims[1:]
    turned = node.op_type == "Gemm" and any(each.name == "transB" and each.i for each in node.attribute)
    return dims[1:] if turned else dims[:1]


def drawn(shapes, seed=0):
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


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
    feeds = drawn(shapes)
    assert macs(fusion.model, feeds) == macs(optimal, feeds) < macs(before, feeds)
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
        stages = enumerate(named(shapes).items())
        feeds = drawn({name: (batch, shape[1], height >> stage, width >> stage) for stage, (name, shape) in stages})
        expected, made = (run(model, feeds)[0] for model in (before, proof.fusion.model))
        assert error(expected, made) < 2e-6
    feeds = drawn(named(shapes))
    assert macs(proof.fusion.model, feeds) == macs(exported(OptimalSegFormerHead(module).eval(), shapes), feeds)


def test_a_fused_head_is_final():
    head = HEADS["yolo-neck"]
    assert_final(fuse(exported(built(head), head.shapes)))


def test_the_table_has_a_line_for_each_head(capsys):
    assert below.main(["--seconds", "0.1", "--threads", "1", "--names", "yolo-neck"]) in (0, 1)

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:5] for line in lines if "->" in line] == [["yolo-neck", "78.6", "M", "->", "0.500"]]
