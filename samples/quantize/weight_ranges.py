"""How far the weights of a layer reach, before and after its branches were summed, and what int8 keeps of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from repvgg_onnx import Region

STEPS = 127
"""Int8 steps on either side of zero, as onnxruntime quantizes weights."""

Kernel = np.ndarray  # c_out  c_in/group  *k


@dataclass(frozen=True)
class Layer:
    """One convolution of the fused model.

    Attributes:
        branches: what was summed in it, such as ``3x3 + 1x1``.
        alone: kernel of its 3×3 branch, normalization included.
        fused: kernel of the sum.
    """

    branches: str
    alone: Kernel
    fused: Kernel


def layers(branches: onnx.ModelProto, fused: onnx.ModelProto, regions: Sequence[Region]) -> list[Layer]:
    """Every region's layer, in the order of the graph.

    Args:
        branches: the original, each normalization that follows a convolution folded into it.
        fused: the fused model, whose convolutions have the names of the 3×3 branches.
        regions: of the fold.
    """
    alone, summed = kernels(branches), kernels(fused)
    return [
        Layer(
            " + ".join(branch.replace(" Conv", "") for branch in region.branches),
            alone[region.name],
            summed[region.name],
        )
        for region in regions
    ]


def kernels(model: onnx.ModelProto) -> dict[str, Kernel]:
    """Name of a convolution to its kernel."""
    values = {each.name: each for each in model.graph.initializer}
    return {
        node.name: numpy_helper.to_array(values[node.input[1]]) for node in model.graph.node if node.op_type == "Conv"
    }


def reach(kernel: Kernel) -> float:
    """The largest weight in standard deviations of all of them: how much of int8 the outliers take.

    Example:
        >>> round(reach(np.array([[1.0, -1.0, 1.0, -1.0]])), 1)
        1.0
    """
    return float(np.abs(kernel).max() / kernel.std())


def rounded(kernel: Kernel, *, per_channel: bool) -> Kernel:
    """The kernel as symmetric int8 keeps it, with one scale, or with one for each output channel.

    Example:
        >>> rounded(np.array([[127.0, 0.3], [0.3, 0.1]]), per_channel=False).tolist()
        [[127.0, 0.0], [0.0, 0.0]]
    """
    axes = tuple(range(1, kernel.ndim)) if per_channel else None
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / STEPS
    kept: Kernel = np.rint(kernel / scale) * scale
    return kept


def signal_to_noise(reference: np.ndarray, value: np.ndarray) -> float:
    """Power of ``reference`` over that of the difference, in decibels; infinite where there is none.

    Example:
        >>> signal_to_noise(np.ones(4), np.full(4, 1.1)).__round__(3)
        20.0
    """
    noise = float(np.sum(np.square(value - reference, dtype=np.float64)))
    return 10 * float(np.log10(np.sum(np.square(reference, dtype=np.float64)) / noise)) if noise else float("inf")


def table(found: Sequence[Layer]) -> list[str]:
    """A row for each layer: its branches, how far its weights reach, and the signal-to-noise ratio of int8 weights."""
    text = [
        f"{'':<35}{'max|w| / std(w)':^18}{'SNR of int8 weights':>26}",
        f"{'fused layer':<35}{'3x3 alone':>10}{'fused':>8}{'per tensor':>13}{'per channel':>13}",
    ]
    for layer in found:
        kept = [rounded(layer.fused, per_channel=per_channel) for per_channel in (False, True)]
        ratios = [f"{signal_to_noise(layer.fused, each):.1f} dB" for each in kept]
        text.append(
            f"{layer.branches:<35}{reach(layer.alone):>10.1f}{reach(layer.fused):>8.1f}{ratios[0]:>13}{ratios[1]:>13}"
        )
    return text
