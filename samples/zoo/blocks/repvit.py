"""RepViT: a depthwise mixer with one normalization after the sum, and two classifiers that are averaged.

Source: Wang, Chen, Lin, Han, Ding, "RepViT: Revisiting Mobile CNN From ViT Perspective", 2024.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from torch import Tensor, nn

from repvgg_onnx.zoo.repvgg import SEBlock
from samples.zoo.blocks.parts import Residual, Sum, as_conv, as_linear, conv, conv_bn, foldable_conv_bn


def _mixer(channels: int) -> nn.Module:
    """``BN(BN(conv3×3(x)) + conv1×1(x) + x)``, all depthwise."""
    terms = Sum(
        conv_bn(channels, channels, 3, groups=channels), conv(channels, channels, 1, groups=channels), nn.Identity()
    )
    body = nn.Sequential(terms, nn.BatchNorm2d(channels))
    return as_conv(body, channels, channels, 3, groups=channels)


def _channel_mixer(channels: int) -> Residual:
    hidden = 2 * channels
    layers = foldable_conv_bn(channels, hidden, 1), nn.GELU(), foldable_conv_bn(hidden, channels, 1)
    return Residual(nn.Sequential(*layers))


def _downsample(c_in: int, c_out: int) -> nn.Sequential:
    """A depthwise convolution of stride 2 and a pointwise one, without an activation between them."""
    return nn.Sequential(foldable_conv_bn(c_in, c_in, 3, stride=2, groups=c_in), foldable_conv_bn(c_in, c_out, 1))


def repvit() -> nn.Sequential:
    """A block with squeeze-and-excite, a downsampling block, a block without."""
    return nn.Sequential(
        foldable_conv_bn(3, 16, 3, stride=2),
        nn.GELU(),
        nn.Sequential(_mixer(16), SEBlock(16, 4), _channel_mixer(16)),
        nn.Sequential(_downsample(16, 24), _channel_mixer(24)),
        nn.Sequential(_mixer(24), _channel_mixer(24)),
    )


class _AveragedHeads(nn.Module):
    """The mean of two classifiers, each a BN and a linear layer; one was trained by distillation."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.head, self.head_dist = (
            nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, classes)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        return (self.head(x) + self.head_dist(x)) / 2


def averaged_heads() -> nn.Sequential:
    """A convolution, the mean over the image, and two averaged classifiers."""
    heads = as_linear(_AveragedHeads(16, 11), 16, 11)
    return nn.Sequential(foldable_conv_bn(3, 16, 3, stride=2), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), heads)
