"""The figures of the RepVGG paper follow from the fused files, and training-time networks keep more in memory."""

import math

import pytest

from repvgg_onnx import fuse
from repvgg_onnx.census import profile
from samples.zoo import build, export, perturb_statistics

pytest.importorskip("torch")

# Tables 4 and 5 of the paper (arXiv 2101.03697): millions of parameters, which it cuts after the second decimal, and
# billions of multiply-adds and of Winograd multiplications, which it rounds.
PAPER = {
    "repvgg-a0": (8.30, 1.4, 0.7), "repvgg-a1": (12.78, 2.4, 1.3), "repvgg-a2": (25.49, 5.1, 2.7),
    "repvgg-b0": (14.33, 3.1, 1.6), "repvgg-b1": (51.82, 11.8, 5.9), "repvgg-b1g2": (41.36, 8.8, 4.6),
    "repvgg-b1g4": (36.12, 7.3, 3.9), "repvgg-b2": (80.31, 18.4, 9.1), "repvgg-b2g4": (55.77, 11.3, 6.0),
    "repvgg-b3": (110.96, 26.2, 12.9), "repvgg-b3g4": (75.62, 16.1, 8.4),
}  # fmt: skip
LARGE = [pytest.param(name, marks=[] if name == "repvgg-a0" else pytest.mark.slow) for name in PAPER]


@pytest.mark.parametrize("name", LARGE)
def test_fused_networks_have_the_figures_of_the_paper_and_training_time_ones_larger_ones(name):
    # Biases of a network that was never trained would all be equal, and equal constants are stored once.
    exported = export(perturb_statistics(build(name)), shape=(1, 3, 224, 224), fold=False)
    before = profile(exported)
    after = profile(fuse(exported).model)

    assert math.floor(after.parameters / 1e4) / 100 == PAPER[name][0]
    assert round(after.macs / 1e9, 1) == PAPER[name][1]
    assert round(after.winograd_multiplications / 1e9, 1) == PAPER[name][2]
    assert before.unknown == after.unknown == ()
    assert sum(layer.parameters for layer in after.layers) == after.parameters
    assert before.peak_activation_bytes >= 1.5 * after.peak_activation_bytes
    assert before.activation_bytes_written > 3 * after.activation_bytes_written


def test_a_training_time_block_keeps_twice_as_much_as_its_fused_form():
    exported = export(build("repvgg-a0"), shape=(1, 3, 32, 64), fold=False)
    before, after = (
        {layer.name: layer for layer in profile(model).layers} for model in (exported, fuse(exported).model)
    )

    block = max(layer.live_bytes for name, layer in before.items() if name.startswith("/stage1/stage1.1/"))
    fused = max(layer.live_bytes for name, layer in after.items() if name.startswith("/stage1/stage1.1/"))

    assert block == 2 * fused
