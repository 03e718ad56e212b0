"""FastViT: a token mixer without attention, and large kernels.

Source: Vasu, Gabriel, Zhu, Tuzel, Ranjan, "FastViT: A Fast Hybrid Vision Transformer using Structural
Reparameterization", 2023.
"""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from torch import Tensor, nn

from samples.zoo.blocks.mobileone import branches
from samples.zoo.blocks.parts import Gain, Residual, Sum, as_conv, conv, conv_bn, foldable_conv_bn, trained
from samples.zoo.folding import Foldable


class _RepMixer(nn.Module):
    """``x + layer_scale * (mixer(x) - norm(x))``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mixer = branches(channels, channels, 3, groups=channels, count=1)
        self.norm = Sum(nn.BatchNorm2d(channels), from_zero=True)
        self.layer_scale = nn.Parameter(trained(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layer_scale * (self.mixer(x) - self.norm(x))


def _feed_forward(channels: int, hidden: int) -> Residual:
    """A 7×7 depthwise convolution, then two pointwise ones around a Gelu, then the layer scale."""
    scaled = nn.Sequential(conv(hidden, channels, 1), Gain(channels, 1, 1))
    return Residual(
        nn.Sequential(
            foldable_conv_bn(channels, channels, 7, groups=channels),
            conv(channels, hidden, 1),
            nn.GELU(),
            as_conv(scaled, hidden, channels, 1),
        )
    )


def _mixer_block(channels: int) -> nn.Sequential:
    mixer = as_conv(_RepMixer(channels), channels, channels, 3, groups=channels)
    return nn.Sequential(mixer, _feed_forward(channels, 2 * channels))


def repmixer() -> nn.Sequential:
    """A first convolution and two blocks with RepMixer."""
    return nn.Sequential(foldable_conv_bn(3, 12, 3, stride=2), nn.GELU(), _mixer_block(12), _mixer_block(12))


def _large_kernel(c_in: int, c_out: int, size: int, small: int, stride: int, groups: int) -> Foldable:
    body = Sum(*(conv_bn(c_in, c_out, taps, stride=stride, groups=groups) for taps in (size, small)))
    return as_conv(body, c_in, c_out, size, stride=stride, groups=groups)


def large_kernel() -> nn.Sequential:
    """Two patch embeddings: 7×7 beside 3×3, stride 2, two filters a channel, then a pointwise MobileOne block."""
    return nn.Sequential(
        foldable_conv_bn(3, 8, 3),
        nn.GELU(),
        _large_kernel(8, 16, 7, 3, 2, 8),
        nn.GELU(),
        branches(16, 16, 1, count=1),
        nn.GELU(),
        _large_kernel(16, 32, 7, 3, 2, 16),
        nn.GELU(),
        branches(32, 32, 1, count=1),
        nn.GELU(),
    )
