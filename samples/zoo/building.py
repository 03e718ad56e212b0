"""Every network by its name, RepVGGs included, ready to be exported or compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repvgg_onnx import zoo
from repvgg_onnx.extras import import_extra
from samples.zoo.catalog import BASELINES, BLOCKS

if TYPE_CHECKING:
    import torch

_OWN = {entry.name: entry for entry in (*BASELINES, *BLOCKS)}


def names() -> tuple[str, ...]:
    """The names of all networks: what ``repvgg-onnx export`` lists, then baselines and blocks."""
    return (*zoo.names(), *_OWN)


def architecture(name: str) -> zoo.Architecture:
    """The entry called ``name``.

    Raises:
        CheckError: no network has this name.
    """
    return _OWN[name] if name in _OWN else zoo.architecture(name)


def build(name: str, *, deployed: bool = False, num_classes: int | None = None, seed: int = 0) -> torch.nn.Module:
    """As ``repvgg_onnx.zoo.build``, of any of ``names()``; the networks of a few blocks have no classifier.

    Raises:
        CheckError: no network has this name.
        ExtraMissingError: torch is not installed.
    """
    return zoo.build(architecture(name), deployed=deployed, num_classes=num_classes, seed=seed)


def perturb_statistics(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """``module`` itself, with random statistics, gammas and betas in every batch normalization.

    A fresh normalization is nearly the identity and would hide a wrong fold. Means and betas are drawn from
    N(0, 0.2²), variances and gammas from U(0.5, 1.5), and every tenth gamma or so is negative.

    Raises:
        ExtraMissingError: torch is not installed.
    """
    torch = import_extra("torch", extra="export")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for norm in module.modules():
            if not isinstance(norm, torch.nn.modules.batchnorm._BatchNorm):
                continue
            norm.running_mean.normal_(0, 0.2, generator=generator)
            norm.running_var.uniform_(0.5, 1.5, generator=generator)
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.weight[torch.rand(norm.weight.shape, generator=generator) < 0.1] *= -1
            norm.bias.normal_(0, 0.2, generator=generator)
    return module
