"""Networks that the referee has to judge: an easy one, a deep one, and one whose outputs are all noise."""

import sys
from pathlib import Path

import onnx
import torch
from torch import nn
from torch.nn import functional

from samples import zoo
from samples.zoo.blocks.parts import conv_bn

sys.path.insert(0, str(Path(__file__).parents[2] / "samples" / "benchmarks"))

import larger_networks


class _Loud(nn.Module):
    """A 3×3 and a 1×1 branch before a Tanh so steep that it makes a little noise larger, as deep detectors do."""

    def __init__(self, c_in: int, c_out: int, stride: int, gain: float) -> None:
        super().__init__()
        self.dense, self.point = (conv_bn(c_in, c_out, size, stride=stride) for size in (3, 1))
        self.gain = gain

    def forward(self, x):
        return torch.tanh(self.gain * (self.dense(x) + self.point(x)))


class Detector(nn.Module):
    """A feature pyramid and the two maps of a DB head; the output is the steep difference, without its Sigmoid.

    Args:
        widths: channels of the stages, each of which halves the size.
        depth: blocks of a stage.
        gain: before each Tanh; from 4 on, noise grows from block to block.

    Source: Liao et al., "Real-time Scene Text Detection with Differentiable Binarization", 2020; Lin et al.,
        "Feature Pyramid Networks for Object Detection", 2017.
    """

    def __init__(self, widths: tuple[int, ...], depth: int, gain: float) -> None:
        super().__init__()
        ends = list(zip((3, *widths), widths, strict=False))
        self.stages = nn.ModuleList(
            nn.Sequential(_Loud(c_in, c_out, 2, gain), *(_Loud(c_out, c_out, 1, gain) for _ in range(depth - 1)))
            for c_in, c_out in ends
        )
        self.lateral = nn.ModuleList(conv_bn(width, 12, 1) for width in widths)
        self.smooth = nn.ModuleList(conv_bn(12, 6, 3) for _ in widths)
        self.head = nn.Sequential(
            *(
                conv_bn(6 * len(widths), 10, 3),
                nn.ReLU(),
                nn.ConvTranspose2d(10, 8, 2, 2),
                nn.BatchNorm2d(8),
                nn.ReLU(),
            ),
            nn.ConvTranspose2d(8, 2, 2, 2),
        )

    def forward(self, x):
        levels = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        for index in range(len(levels) - 2, -1, -1):
            levels[index] = levels[index] + functional.interpolate(levels[index + 1], scale_factor=2, mode="nearest")
        merged = [
            functional.interpolate(smooth(level), scale_factor=2**index, mode="nearest")
            for index, (smooth, level) in enumerate(zip(self.smooth, levels, strict=True))
        ]
        maps = self.head(torch.cat(merged, dim=1))
        return 50.0 * (maps[:, :1] - maps[:, 1:])


def small_repvgg() -> onnx.ModelProto:
    """Trained, with strides, groups and identities."""
    return onnx.load(Path(__file__).parents[2] / "samples" / "digits" / "digits.onnx")


def small_mobileone() -> onnx.ModelProto:
    net = larger_networks.built(lambda: larger_networks.mobileone((8, 16, 32), (1, 2), (0, 1), count=2, classes=10))
    return larger_networks.exported(net, (1, 3, 36, 44))


def small_detector() -> onnx.ModelProto:
    return larger_networks.exported(larger_networks.built(lambda: Detector((4, 6, 8), 5, 40.0)), (1, 3, 40, 56))


def repvgg_a0() -> onnx.ModelProto:
    return larger_networks.exported(zoo.build("repvgg-a0"), (1, 3, 96, 128))


def mobileone_s4() -> onnx.ModelProto:
    return larger_networks.exported(larger_networks.mobileone_s4(), (1, 3, 96, 128))


def unet() -> onnx.ModelProto:
    return larger_networks.exported(larger_networks.unet_resnet18(), (1, 3, 64, 96))


def detector() -> onnx.ModelProto:
    return larger_networks.exported(larger_networks.built(lambda: Detector((8, 12, 16, 24), 6, 10.0)), (1, 3, 64, 96))
