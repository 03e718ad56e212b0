"""Training-time networks in their deployed form."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def deploy(module: torch.nn.Module) -> torch.nn.Module:
    """The deployed form of a training-time ``module``, computed by its blocks themselves, in eval mode and float64.

    It owes nothing to the compiler, so it serves as the reference for it. Blocks are the submodules that have a
    ``deployed_form`` method; ``module`` keeps its weights, its type and its mode.
    """
    return _deployed(copy.deepcopy(module).double().eval())


def _deployed(module: torch.nn.Module) -> torch.nn.Module:
    if hasattr(module, "deployed_form"):
        form: torch.nn.Module = module.deployed_form()
        return form
    for name, child in list(module.named_children()):
        setattr(module, name, _deployed(child))
    return module
