"""Networks that people deploy and that ``samples/zoo`` has only blocks of, in torch, for benchmarks and tests.

They are built with random weights; ``exported`` gives the ONNX model with every batch normalization kept as a node, as
an export in training form leaves it. Needs ``pip install 'repvgg-onnx[export]'``.

    python samples/benchmarks/larger_networks.py FOLDER

writes them there, RepVGG-A0 beside them, for ``real_files.py`` and whoever wants to look at them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[2]))

from samples import zoo
from samples.zoo.blocks.mobileone import branches
from samples.zoo.blocks.parts import conv_bn


def exported(module: nn.Module, shape: tuple[int, ...], *, seed: int = 0) -> onnx.ModelProto:
    """The module in eval mode as ONNX, with every normalization a node, and random statistics in each of them.

    Args:
        module: it is changed: its normalizations get statistics.
        shape: n  c  h  w of the input.
        seed: of the statistics.
    """
    return zoo.export(zoo.perturb_statistics(module.eval(), seed), shape=shape, fold=False)


def built(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """What ``make`` makes with seeded weights; torch's own random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


# MobileOne


class _SqueezeExcite(nn.Module):
    """Channels weighed by what their averages say."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 16, 1)
        self.expand = nn.Conv2d(channels // 16, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.expand(functional.relu(self.reduce(functional.adaptive_avg_pool2d(x, 1))))
        return x * torch.sigmoid(weights)


def _mobileone_layer(
    c_in: int, c_out: int, size: int, *, stride: int, groups: int, count: int, weighs: bool
) -> nn.Module:
    """The branches, squeeze-and-excite in the last blocks of the network, and a Relu."""
    body = branches(c_in, c_out, size, stride=stride, groups=groups, count=count)
    return nn.Sequential(body, _SqueezeExcite(c_out) if weighs else nn.Identity(), nn.ReLU())


def mobileone(
    widths: Sequence[int], depths: Sequence[int], weighing: Sequence[int], *, count: int = 1, classes: int = 1000
) -> nn.Sequential:
    """A MobileOne in its training form.

    Args:
        widths: channels of the stem and of each stage.
        depths: blocks of each stage, a depthwise and a pointwise layer each; the first one halves the size.
        weighing: how many of the last blocks of each stage have squeeze-and-excite.
        count: like branches of a layer.
        classes: outputs.

    Source: Vasu, Gabriel, Zhu, Tuzel, Ranjan, "MobileOne: An Improved One Millisecond Mobile Backbone", 2023, tables 2
        and 3, and the authors' code.
    """
    layers = [_mobileone_layer(3, widths[0], 3, stride=2, groups=1, count=count, weighs=False)]
    channels = widths[0]
    for width, depth, last in zip(widths[1:], depths, weighing, strict=True):
        for block in range(depth):
            stride, weighs = 2 if block == 0 else 1, block >= depth - last
            depthwise = {"stride": stride, "groups": channels, "count": count, "weighs": weighs}
            layers.append(_mobileone_layer(channels, channels, 3, **depthwise))
            layers.append(_mobileone_layer(channels, width, 1, stride=1, groups=1, count=count, weighs=weighs))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def mobileone_s4(seed: int = 0) -> nn.Module:
    """MobileOne-S4: 14.8 million parameters and 2.98 billion multiply-adds at 224×224 in its deployed form."""
    return built(lambda: mobileone((64, 192, 448, 896, 2048), (2, 8, 10, 1), (0, 0, 5, 1)), seed)


# U-Net


class _Residual(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is one 1×1 convolution where the shape changes."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(c_in, c_out, 3, stride=stride), nn.ReLU(), conv_bn(c_out, c_out, 3))
        keeps = stride == 1 and c_in == c_out
        self.shortcut = nn.Identity() if keeps else conv_bn(c_in, c_out, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.body(x) + self.shortcut(x))


class _Decoder(nn.Module):
    """Twice the size by repetition, beside the encoder's features of that size, and two 3×3 convolutions."""

    def __init__(self, c_in: int, c_skip: int, c_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(c_in + c_skip, c_out, 3), nn.ReLU(), conv_bn(c_out, c_out, 3), nn.ReLU())

    def forward(self, x: Tensor, skip: Tensor | None) -> Tensor:
        large = functional.interpolate(x, scale_factor=2, mode="nearest")
        return self.body(large if skip is None else torch.cat([large, skip], dim=1))


class UNet(nn.Module):
    """A ResNet that halves the size five times, and a decoder that doubles it as often.

    Args:
        widths: channels of the encoder's stem and of its four stages.
        depth: residual blocks of a stage.
        narrowing: channels of the five steps of the decoder.
        classes: channels of the output, which has the size of the input.

    Source: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015; He et
        al., "Deep Residual Learning for Image Recognition", 2016, table 1; joined as segmentation_models.pytorch does.
    """

    def __init__(self, widths: Sequence[int], depth: int, narrowing: Sequence[int], classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_bn(3, widths[0], 7, stride=2), nn.ReLU())
        stages, channels = [], widths[0]
        for index, width in enumerate(widths[1:]):
            blocks = [
                _Residual(channels, width, 2 if index else 1),
                *(_Residual(width, width, 1) for _ in range(depth - 1)),
            ]
            stages.append(nn.Sequential(*blocks))
            channels = width
        self.stages = nn.ModuleList(stages)
        skips = [*reversed(widths[1:-1]), widths[0], 0]
        inputs = [widths[-1], *narrowing]
        self.decoder = nn.ModuleList(_Decoder(*ends) for ends in zip(inputs, skips, narrowing, strict=False))
        self.head = nn.Conv2d(narrowing[-1], classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits n  classes  h  w of ``x``: n  3  h  w, whose sizes are multiples of 32."""
        features = [self.stem(x)]
        large = functional.max_pool2d(features[0], 3, 2, 1)
        for stage in self.stages:
            large = stage(large)
            features.append(large)
        x = features.pop()
        for step in self.decoder:
            x = step(x, features.pop() if features else None)
        return self.head(x)


def unet_resnet18(seed: int = 0) -> nn.Module:
    """A U-Net on a ResNet-18: 14.3 million parameters."""
    return built(lambda: UNet((64, 64, 128, 256, 512), 2, (256, 128, 64, 32, 16), 1), seed)


def main() -> int:
    """Writes the networks as ONNX files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=224, help="height and width of the input")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    makers = {
        "repvgg-a0": lambda: zoo.build("repvgg-a0"),
        "mobileone-s4": mobileone_s4,
        "unet-resnet18": unet_resnet18,
    }
    for name, make in makers.items():
        model = exported(make(), (1, 3, arguments.size, arguments.size))
        onnx.save(model, arguments.folder / f"{name}.onnx")
        print(arguments.folder / f"{name}.onnx")
    return 0


if __name__ == "__main__":
    sys.exit(main())
