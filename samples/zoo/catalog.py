"""The baselines and the networks of a few blocks, by family.

A new block is a function of a module of ``samples.zoo.blocks`` and a row in the table of its family. A training-time
module that has another deployed form gives it by a method ``deployed_form()`` (see ``samples.zoo.deploy``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from repvgg_onnx.zoo import Architecture, architecture
from samples.zoo.deploying import deploy

if TYPE_CHECKING:
    import torch

Shape = tuple[int, ...]

_B0 = architecture("repvgg-b0")


@dataclass(frozen=True)
class BlockNetwork(Architecture):
    """A few blocks of one kind in narrow surroundings, for tests and demonstrations.

    The factory takes ``options`` only: such a network has no classifier whose width could be chosen, and its deployed
    form is computed from its training-time form, so that of one random state both compute the same.
    """

    def build(self, *, deployed: bool = False, num_classes: int | None = None) -> torch.nn.Module:
        """As of ``Architecture``; ``num_classes`` has no effect."""
        network = self.imported_factory()(**self.options)
        return deploy(network).float().train() if deployed else network


def _resnet(name: str, num_blocks: tuple[int, ...], block: str, summary: str) -> Architecture:
    options = {"num_blocks": num_blocks, "block": block}
    return Architecture(name, summary, "samples.zoo.baselines.resnet:resnet", options)


def _b0_without(name: str, summary: str, *, identity: bool, pointwise: bool) -> Architecture:
    """A row of table 6 of the paper."""
    options = {**_B0.options, "identity": identity, "pointwise": pointwise}
    return replace(_B0, name=name, summary=summary, options=options)


def _pspnet(label: str, a: float, b: float, *, groups: int, fast: bool) -> Architecture:
    """A row of table 8 of the paper, for images of a moderate size."""
    return Architecture(
        name=f"pspnet-repvgg-{label.lower()}{'-fast' if fast else ''}",
        summary=f"PSPNet on RepVGG-{label}, {'the last five layers' if fast else 'the last two stages'} dilated",
        factory="samples.zoo.baselines.pspnet:pspnet",
        options={
            "num_blocks": architecture("repvgg-b0").options["num_blocks"],
            "width_multipliers": (a, b),
            "groups": groups,
            "fast": fast,
        },
        input_shape=(1, 3, 240, 240),
        num_classes=19,  # those of Cityscapes
    )


BASELINES = (
    _b0_without("repvgg-b0-plain", "RepVGG-B0 with the 3×3 branch alone", identity=False, pointwise=False),
    _b0_without("repvgg-b0-identity", "RepVGG-B0 with 3×3 and identity branches", identity=True, pointwise=False),
    _b0_without("repvgg-b0-1x1", "RepVGG-B0 with 3×3 and 1×1 branches", identity=False, pointwise=True),
    _resnet("resnet-18", (2, 2, 2, 2), "basic", "ResNet-18"),
    _resnet("resnet-34", (3, 4, 6, 3), "basic", "ResNet-34"),
    _resnet("resnet-50", (3, 4, 6, 3), "bottleneck", "ResNet-50, stride 2 in the first 1×1 of a block"),
    _resnet("resnet-101", (3, 4, 23, 3), "bottleneck", "ResNet-101, stride 2 in the first 1×1 of a block"),
    _resnet("resnet-152", (3, 8, 36, 3), "bottleneck", "ResNet-152, stride 2 in the first 1×1 of a block"),
    _resnet("resnext-50", (3, 4, 6, 3), "aggregated", "ResNeXt-50 (32×4d)"),
    _resnet("resnext-101", (3, 4, 23, 3), "aggregated", "ResNeXt-101 (32×4d)"),
    Architecture("vgg-16", "VGG-16, with three fully connected layers", "samples.zoo.baselines.vgg:vgg16"),
    _pspnet("B1g2", 2, 4, groups=2, fast=False),
    _pspnet("B1g2", 2, 4, groups=2, fast=True),
    _pspnet("B2", 2.5, 5, groups=1, fast=False),
    _pspnet("B2", 2.5, 5, groups=1, fast=True),
)
"""What the RepVGG paper compares with (tables 4, 5 and 6), and its networks for segmentation (table 8)."""

_IMAGE: Shape = (1, 3, 20, 28)

# name, module and function of samples.zoo.blocks, input shape, summary
_REPVGG_BLOCKS: tuple[tuple[str, str, Shape, str], ...] = (
    ("repvgg-strided-block", "variants:strided", (1, 3, 21, 28), "RepVGG blocks of stride 2 on odd and even sizes"),
    ("repvgg-dilated-block", "variants:dilated", _IMAGE, "RepVGG blocks with dilated 3×3 branches"),
    ("repvgg-grouped-block", "variants:grouped", _IMAGE, "RepVGG blocks, groupwise and depthwise"),
    ("repvgg-identity-block", "variants:identity_only", _IMAGE, "RepVGG table 6: 3×3 and identity branches"),
    ("repvgg-1x1-block", "variants:pointwise_only", _IMAGE, "RepVGG table 6: 3×3 and 1×1 branches"),
    ("repvgg-plain-block", "variants:plain", _IMAGE, "RepVGG table 6: the 3×3 branch alone"),
    ("repvgg-bare-identity-block", "variants:bare_identity", _IMAGE, "RepVGG table 7: identity without BN"),
    ("repvgg-post-bn-block", "variants:post_addition_norm", _IMAGE, "RepVGG table 7: BN after the addition"),
    ("repvgg-relu-block", "variants:relu_in_branch", _IMAGE, "RepVGG table 7: a Relu in each branch"),
    ("repvgg-residual-block", "variants:residual_reorganization", _IMAGE, "RepVGG table 7: residual blocks of two"),
    ("acb-block", "variants:asymmetric", _IMAGE, "ACNet: 3×3, 1×3 and 3×1 branches"),
    ("repvgg-psp", "psp:psp", (1, 3, 96, 144), "PSPNet on a narrow dilated RepVGG"),
    ("repvgg-psp-fast", "psp:psp_fast", (1, 3, 96, 144), "PSPNet, only the last five layers dilated"),
)

_EXPRESSION_BLOCKS: tuple[tuple[str, str, Shape, str], ...] = (
    ("diracnet-block", "expressions:diracnet", _IMAGE, "DiracNet: kernels diag(a) I + diag(b) W/‖W‖"),
    ("trivial-reparam-block", "expressions:trivial", _IMAGE, "RepVGG table 7: kernels I + W"),
    ("do-conv-block", "expressions:do_conv", _IMAGE, "DO-Conv: depthwise over-parameterized kernels"),
    ("orepa-block", "expressions:orepa", _IMAGE, "OREPA: branches summed as kernels"),
    ("weight-standard-block", "expressions:standardized", _IMAGE, "Standardized kernels and group normalization"),
    ("expandnet-block", "expandnet:expanded", _IMAGE, "ExpandNet: chains 1×1, 3×3, 1×1"),
)

_MOBILE_BLOCKS: tuple[tuple[str, str, Shape, str], ...] = (
    ("mobileone-block", "mobileone:mobileone", _IMAGE, "MobileOne: like branches, scale branch, skip"),
    ("repmixer-block", "fastvit:repmixer", _IMAGE, "FastViT: RepMixer with layer scale, feed-forward"),
    ("fastvit-large-kernel-block", "fastvit:large_kernel", _IMAGE, "FastViT: strided 7×7 beside 3×3, depthwise"),
    ("repvit-block", "repvit:repvit", _IMAGE, "RepViT: depthwise mixer with BN after the sum"),
    ("repvit-heads", "repvit:averaged_heads", _IMAGE, "RepViT: two classifiers averaged"),
    ("repghost-block", "repghost:repghost", _IMAGE, "RepGhost: ghost modules that add"),
    ("inceptionnext-block", "strips:inceptionnext", _IMAGE, "InceptionNeXt: 3×3, 1×11, 11×1 on channel parts"),
    ("repnext-block", "strips:repnext", _IMAGE, "RepNeXt: branched kernels on channel quarters"),
)

_CONVOLUTION_BLOCKS: tuple[tuple[str, str, Shape, str], ...] = (
    ("replknet-block", "large_kernels:replknet", (1, 3, 36, 52), "RepLKNet: 13×13 beside 5×5, BN before 1×1"),
    ("unireplknet-block", "large_kernels:unireplknet", _IMAGE, "UniRepLKNet: dilated branches, channels-last layers"),
    ("dbb-block", "dbb:dbb", _IMAGE, "Diverse Branch Block: chains and averages with BN borders"),
    ("yolov6-block", "yolo:yolov6", _IMAGE, "YOLOv6: RepVGG blocks"),
    ("yolov7-block", "yolo:yolov7", _IMAGE, "YOLOv7: aggregation and RepConv with Silu"),
    ("yolov9-block", "yolo:yolov9", _IMAGE, "YOLOv9: RepConv without identity in bottlenecks"),
    ("yolov7-implicit-block", "yolo:implicit", _IMAGE, "YOLOv7: implicit knowledge around a 1×1"),
    ("ecbsr-block", "ecbsr:ecbsr", (1, 1, 10, 14), "ECBSR: edge-oriented blocks for super-resolution"),
    ("transposed-block", "transposed:transposed", (1, 3, 10, 14), "Transposed convolutions, parallel, with BN"),
    ("siblings-mixed-block", "siblings:mixed", _IMAGE, "Siblings concatenated, then mixed by a 1×1"),
    ("siblings-stacked-block", "siblings:stacked", _IMAGE, "Siblings concatenated"),
    ("tdnn-block", "other_ranks:tdnn", (1, 12, 61), "Time-delay network: BN before convolutions"),
    ("repvgg-1d-block", "other_ranks:repvgg_1d", (1, 12, 45), "RepVGG blocks on sequences"),
    ("repvgg-3d-block", "other_ranks:repvgg_3d", (1, 3, 5, 10, 14), "RepVGG blocks on video"),
)

_DENSE_BLOCKS: tuple[tuple[str, str, Shape, str], ...] = (
    ("repmlp-block", "dense:repmlp", (2, 4, 5, 7), "RepMLP: parallel linear layers with BN"),
    ("linear-bn-block", "dense:normalized", (3, 20), "Linear layers with BN before and after"),
    ("adapter-block", "dense:adapters", (2, 5, 7, 24), "Linear layers with low-rank adapters"),
    ("channels-last-block", "dense:channels_last", (1, 12, 5, 7), "Parallel linear layers, channels last"),
    ("convnext-block", "dense:convnext", _IMAGE, "ConvNeXt: layer scale after a linear layer"),
)

BLOCKS = tuple(
    BlockNetwork(name, summary, f"samples.zoo.blocks.{factory}", input_shape=shape)
    for family in (_REPVGG_BLOCKS, _EXPRESSION_BLOCKS, _MOBILE_BLOCKS, _CONVOLUTION_BLOCKS, _DENSE_BLOCKS)
    for name, factory, shape, summary in family
)
"""Networks of a few blocks."""
