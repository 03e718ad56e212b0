"""Parts of networks whose deployed form is not their cheapest one: decoder heads, necks and transitions, in torch.

Each has a second form, written by hand from the first one's weights, that computes the same with as few multiply-adds
as is known: linear maps stand before what enlarges an image and behind what makes it smaller, and those that follow
each other are one. It owes nothing to the compiler, so that tests and ``below.py`` judge it by them.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

Shapes = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Head:
    """A part of a network.

    Attributes:
        build: makes it as its authors deploy it.
        optimal: makes the cheapest form of one.
        shapes: of its inputs.
        summary: what it is.
    """

    build: Callable[[], nn.Module]
    optimal: Callable[[nn.Module], nn.Module]
    shapes: Shapes
    summary: str


def exported(module: nn.Module, shapes: Shapes, *, dynamo: bool = False, dynamic: bool = False) -> onnx.ModelProto:
    """The module in ONNX.

    Args:
        module: in eval mode.
        shapes: of its inputs, which are called x0, x1 and so on.
        dynamo: by the newer of torch's exporters.
        dynamic: whether batch, height and width may vary.
    """
    images = tuple(torch.zeros(shape) for shape in shapes)
    names = [f"x{number}" for number in range(len(shapes))]
    given: dict[str, object] = {"input_names": names, "dynamo": dynamo, "opset_version": 18 if dynamo else 17}
    if dynamic and dynamo:
        axes = tuple({0: "batch", 2: f"height{number}", 3: f"width{number}"} for number in range(len(shapes)))
        given["dynamic_shapes"] = (axes,) if isinstance(module, SegFormerHead) else axes
    elif dynamic:
        given["dynamic_axes"] = {name: {0: "batch", 2: f"{name}.height", 3: f"{name}.width"} for name in names}
    with warnings.catch_warnings(), io.BytesIO() as file:
        warnings.simplefilter("ignore")
        if dynamo:
            made: onnx.ModelProto = torch.onnx.export(module, images, verbose=False, **given).model_proto
            return made
        torch.onnx.export(module, images, file, **given)
        return onnx.load_from_string(file.getvalue())


def resized(x: Tensor, like: Tensor, mode: str = "bilinear") -> Tensor:
    """An image in the size of another one."""
    if mode == "nearest":
        return functional.interpolate(x, size=like.shape[2:], mode=mode)
    return functional.interpolate(x, size=like.shape[2:], mode=mode, align_corners=False)


def pointwise(weight: Tensor, bias: Tensor | None = None) -> nn.Conv2d:
    """A 1x1 convolution with these weights, c_out  c_in."""
    made = nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None)
    made.weight.data = weight.detach()[:, :, None, None].clone()
    if bias is not None and made.bias is not None:
        made.bias.data = bias.detach().clone()
    return made


def matrix(conv: nn.Conv2d | nn.Linear) -> Tensor:
    """Weights of a map of the channels, c_out  c_in."""
    return conv.weight.detach().reshape(conv.weight.shape[0], -1).double()


def gain_and_offset(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a normalization does in inference."""
    assert norm.running_var is not None
    assert norm.running_mean is not None
    gain = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    return gain, norm.bias.detach().double() - norm.running_mean.double() * gain


class SegFormerHead(nn.Module):
    """Linear layers of four stages, brought to one size, joined and mixed."""

    def __init__(self, widths: Sequence[int], channels: int, classes: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, channels) for width in widths)
        self.fuse = nn.Conv2d(channels * len(widths), channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, *stages: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        images = []
        for x, linear in zip(stages, self.linears, strict=True):
            batch, _, height, width = x.shape
            rows = linear(x.flatten(2).transpose(1, 2))
            image = rows.permute(0, 2, 1).reshape(batch, -1, height, width)
            images.append(resized(image, stages[0]))
        fused = self.norm(self.fuse(torch.cat(images[::-1], dim=1)))
        return self.classify(functional.relu(fused))


class OptimalSegFormerHead(nn.Module):
    """One 1x1 convolution a stage, in its own size."""

    def __init__(self, head: nn.Module) -> None:
        assert isinstance(head, SegFormerHead)
        super().__init__()
        gain, offset = gain_and_offset(head.norm)
        parts = (matrix(head.fuse) * gain[:, None]).chunk(len(head.linears), dim=1)[::-1]
        for part, linear in zip(parts, head.linears, strict=True):
            offset = offset + part @ linear.bias.detach().double()
        made = [pointwise((part @ matrix(linear)).float()) for part, linear in zip(parts, head.linears, strict=True)]
        made[0] = pointwise((parts[0] @ matrix(head.linears[0])).float(), offset.float())
        self.maps, self.classify = nn.ModuleList(made), head.classify

    def forward(self, *stages: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        total = self.maps[0](stages[0])
        for x, each in zip(stages[1:], list(self.maps)[1:], strict=True):
            total = total + resized(each(x), stages[0])
        result: Tensor = self.classify(functional.relu(total))
        return result


class YoloNeck(nn.Module):
    """An enlarged image joined to a finer one and mixed."""

    def __init__(self, coarse: int, fine: int, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(coarse + fine, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        return functional.silu(self.norm(self.mix(torch.cat([resized(coarse, fine, "nearest"), fine], dim=1))))


class OptimalYoloNeck(nn.Module):
    """Both images mixed in their own size."""

    def __init__(self, neck: nn.Module, fine: int) -> None:
        assert isinstance(neck, YoloNeck)
        super().__init__()
        gain, offset = gain_and_offset(neck.norm)
        weight = (matrix(neck.mix) * gain[:, None]).float()
        self.coarse, self.fine = pointwise(weight[:, :-fine]), pointwise(weight[:, -fine:], offset.float())

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        return functional.silu(self.fine(fine) + resized(self.coarse(coarse), fine, "nearest"))


class DenseNetTransition(nn.Module):
    """A 1x1 convolution and a pool."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(c_in), nn.Conv2d(c_in, c_out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        return functional.avg_pool2d(self.conv(functional.relu(self.norm(x))), 2)


class OptimalDenseNetTransition(nn.Module):
    """The pool first."""

    def __init__(self, transition: nn.Module) -> None:
        assert isinstance(transition, DenseNetTransition)
        super().__init__()
        self.norm, self.conv = transition.norm, transition.conv

    def forward(self, x: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        result: Tensor = self.conv(functional.avg_pool2d(functional.relu(self.norm(x)), 2))
        return result


class DeepLabHead(nn.Module):
    """Features of a pyramid projected, enlarged, and classified in the larger size."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        image = functional.relu(self.norm(self.project(x)))
        larger = functional.interpolate(image, scale_factor=4.0, mode="bilinear", align_corners=False)
        result: Tensor = self.classify(larger)
        return result


class OptimalDeepLabHead(nn.Module):
    """Classified before it is enlarged."""

    def __init__(self, head: nn.Module) -> None:
        assert isinstance(head, DeepLabHead)
        super().__init__()
        gain, offset = gain_and_offset(head.norm)
        self.project = pointwise((matrix(head.project) * gain[:, None]).float(), offset.float())
        self.classify = head.classify

    def forward(self, x: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        small = self.classify(functional.relu(self.project(x)))
        return functional.interpolate(small, scale_factor=4.0, mode="bilinear", align_corners=False)


class Pyramid(nn.Module):
    """A feature pyramid whose levels are mixed again after they were added (FPN, with a 1x1 output map)."""

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(width, channels, 1) for width in widths)
        self.output = nn.Conv2d(channels, channels // 4, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        total = self.laterals[0](fine) + resized(self.laterals[1](coarse), fine, "nearest")
        result: Tensor = self.output(total)
        return result


class OptimalPyramid(nn.Module):
    """Every level is mapped once, in its own size."""

    def __init__(self, pyramid: nn.Module) -> None:
        assert isinstance(pyramid, Pyramid)
        super().__init__()
        out = matrix(pyramid.output)
        fine, coarse = (each for each in pyramid.laterals if isinstance(each, nn.Conv2d))
        assert fine.bias is not None
        assert coarse.bias is not None
        assert pyramid.output.bias is not None
        offset = pyramid.output.bias.double() + out @ (fine.bias + coarse.bias).double()
        self.fine = pointwise((out @ matrix(fine)).float(), offset.float())
        self.coarse = pointwise((out @ matrix(coarse)).float())

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        result: Tensor = self.fine(fine) + resized(self.coarse(coarse), fine, "nearest")
        return result


class LiteHead(nn.Module):
    """LR-ASPP: a gate, an enlarged image, and two classifiers that are added."""

    def __init__(self, low: int, high: int, channels: int, classes: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(high, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.gate = nn.Conv2d(high, channels, 1, bias=False)
        self.low, self.high = nn.Conv2d(low, classes, 1), nn.Conv2d(channels, classes, 1)

    def gated(self, high: Tensor) -> Tensor:
        """What the gate lets through."""
        gate = torch.sigmoid(self.gate(functional.adaptive_avg_pool2d(high, 1)))
        return functional.relu(self.norm(self.conv(high))) * gate

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        result: Tensor = self.low(low) + self.high(resized(self.gated(high), low))
        return result


class OptimalLiteHead(nn.Module):
    """The classifier of the enlarged image before it is enlarged."""

    def __init__(self, head: nn.Module) -> None:
        assert isinstance(head, LiteHead)
        super().__init__()
        self.head = head

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        """What the head makes of its inputs."""
        result: Tensor = self.head.low(low) + resized(self.head.high(self.head.gated(high)), low)
        return result


_B0, _B2 = ((32, 64, 160, 256), 256), ((64, 128, 320, 512), 768)


def _stages(widths: Sequence[int], size: int) -> Shapes:
    return tuple((1, width, size >> stage, size >> stage) for stage, width in enumerate(widths))


HEADS = {
    "segformer-b0-head": Head(
        lambda: SegFormerHead(*_B0, 150), OptimalSegFormerHead, _stages(_B0[0], 64), "SegFormer-B0 decoder at 256x256"
    ),
    "segformer-b2-head": Head(
        lambda: SegFormerHead(*_B2, 150), OptimalSegFormerHead, _stages(_B2[0], 64), "SegFormer-B2 decoder at 256x256"
    ),
    "yolo-neck": Head(
        lambda: YoloNeck(256, 128, 128),
        lambda neck: OptimalYoloNeck(neck, 128),
        ((1, 256, 20, 20), (1, 128, 40, 40)),
        "one joint of a YOLO neck",
    ),
    "densenet-transition": Head(
        lambda: DenseNetTransition(256, 128), OptimalDenseNetTransition, ((1, 256, 56, 56),), "DenseNet-121's first"
    ),
    "deeplab-head": Head(
        lambda: DeepLabHead(256, 21), OptimalDeepLabHead, ((1, 256, 33, 33),), "DeepLabv3's last maps"
    ),
    "fpn": Head(
        lambda: Pyramid((256, 512), 256), OptimalPyramid, ((1, 256, 40, 40), (1, 512, 20, 20)), "two levels of an FPN"
    ),
    "lraspp-head": Head(
        lambda: LiteHead(40, 960, 128, 21),
        OptimalLiteHead,
        ((1, 40, 28, 28), (1, 960, 14, 14)),
        "MobileNetV3's LR-ASPP",
    ),
}
"""By name."""
