"""PSPNet on a narrow RepVGG with interleaved groups, for tests and demonstrations."""

from __future__ import annotations

from functools import partial

from torch import nn

from samples.zoo.baselines.pspnet import FAST, PSPHead, backbone

_DEPTHS, _WIDTHS = (1, 1, 2, 6, 1), (8, 8, 12, 16, 24)

_backbone = partial(backbone, _DEPTHS, _WIDTHS, groups=2)
_head = partial(PSPHead, _WIDTHS[-1], 16, num_classes=19)


def psp() -> nn.Sequential:
    """Every layer of the last two stages dilated; height and width are multiples of 48."""
    return nn.Sequential(_backbone(dilated_layers=None), _head())


def psp_fast() -> nn.Sequential:
    """The form "-fast": only the last five layers dilated; height and width are multiples of 48."""
    return nn.Sequential(_backbone(dilated_layers=FAST), _head())
