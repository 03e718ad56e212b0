"""Networks of the zoo, ready to be exported or compared."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from repvgg_onnx.zoo.checkpoint import load_checkpoint
from repvgg_onnx.zoo.extra import import_extra
from repvgg_onnx.zoo.registry import architecture

if TYPE_CHECKING:
    import torch


def build(
    name: str,
    *,
    deployed: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> torch.nn.Module:
    """The network called ``name`` in eval mode, float32, on the CPU.

    Args:
        name: one of ``names()``.
        deployed: build the deployed form rather than the training-time form.
        checkpoint: a state dict of the form asked for, as ``torch.save`` wrote it; without one the weights are random.
        num_classes: outputs of the classifier, 1000 or what is usual by default; the networks of a few blocks have
            none.
        seed: seed of the random weights; torch's own random state stays as it was.

    Raises:
        CheckError: no architecture has this name.
        ExtraMissingError: torch is not installed.
        ModelError: the checkpoint cannot be read or does not fit.
    """
    entry = architecture(name)
    torch = import_extra("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = entry.build(deployed=deployed, num_classes=num_classes)
    if checkpoint is not None:
        load_checkpoint(module, checkpoint)
    return module.eval()


def perturb_statistics(module: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """``module`` itself, with random statistics, gammas and betas in every batch normalization.

    A fresh normalization is nearly the identity and would hide a wrong fold. Means and betas are drawn from
    N(0, 0.2²), variances and gammas from U(0.5, 1.5), and every tenth gamma or so is negative.

    Raises:
        ExtraMissingError: torch is not installed.
    """
    torch = import_extra("torch")
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
