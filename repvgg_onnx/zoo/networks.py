"""The RepVGGs that ``export`` knows, listed without torch and built with it."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repvgg_onnx.errors import CheckError
from repvgg_onnx.extras import import_extra
from repvgg_onnx.zoo.checkpoint import load_checkpoint

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Architecture:
    """A network that can be built.

    Attributes:
        name: what the user types, lower case.
        summary: one line without a full stop.
        factory: ``module:function``; the module may import torch, so it is imported on use.
        options: keyword arguments of the factory beside ``deployed`` and ``num_classes``.
        input_shape: n  c  *size of the usual input.
        num_classes: outputs of the usual classifier.
    """

    name: str
    summary: str
    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)
    input_shape: tuple[int, ...] = (1, 3, 224, 224)
    num_classes: int = 1000

    def build(self, *, deployed: bool = False, num_classes: int | None = None) -> torch.nn.Module:
        """The network in training mode, initialized from torch's current random state; None for the usual classifier.

        Raises:
            ExtraMissingError: torch is not installed.
        """
        outputs = self.num_classes if num_classes is None else num_classes
        return self.imported_factory()(deployed=deployed, num_classes=outputs, **self.options)

    def imported_factory(self) -> Callable[..., torch.nn.Module]:
        """What ``factory`` names.

        Raises:
            ExtraMissingError: torch is not installed.
        """
        import_extra("torch", extra="export")
        module, _, function = self.factory.partition(":")
        factory: Callable[..., torch.nn.Module] = getattr(importlib.import_module(module), function)
        return factory


def _repvgg(
    label: str, num_blocks: tuple[int, ...], a: float, b: float, *, groups: int = 1, squeeze_excite: bool = False
) -> Architecture:
    """One row of tables 2 and 3 of the RepVGG paper: blocks per stage, width multipliers ``a`` and ``b``."""
    grouped = f", {groups} groups in every other block" if groups > 1 else ""
    excited = ", squeeze-and-excite" if squeeze_excite else ""
    return Architecture(
        name=f"repvgg-{label.lower()}",
        summary=f"RepVGG-{label}: {1 + sum(num_blocks)} blocks, width multipliers {a:g} and {b:g}{grouped}{excited}",
        factory="repvgg_onnx.zoo.repvgg:repvgg",
        options={
            "num_blocks": num_blocks,
            "width_multipliers": (a, b),
            "groups": groups,
            "squeeze_excite": squeeze_excite,
        },
    )


_A, _B, _D = (2, 4, 14, 1), (4, 6, 16, 1), (8, 14, 24, 1)

NETWORKS = {
    entry.name: entry
    for entry in (
        _repvgg("A0", _A, 0.75, 2.5),
        _repvgg("A1", _A, 1, 2.5),
        _repvgg("A2", _A, 1.5, 2.75),
        _repvgg("B0", _B, 1, 2.5),
        _repvgg("B1", _B, 2, 4),
        _repvgg("B1g2", _B, 2, 4, groups=2),
        _repvgg("B1g4", _B, 2, 4, groups=4),
        _repvgg("B2", _B, 2.5, 5),
        _repvgg("B2g2", _B, 2.5, 5, groups=2),
        _repvgg("B2g4", _B, 2.5, 5, groups=4),
        _repvgg("B3", _B, 3, 5),
        _repvgg("B3g2", _B, 3, 5, groups=2),
        _repvgg("B3g4", _B, 3, 5, groups=4),
        _repvgg("D2se", _D, 2.5, 5, squeeze_excite=True),
    )
}
"""By their names, in the order in which they are listed to a user."""


def names() -> tuple[str, ...]:
    """The names of all networks, in the order in which they are listed to a user."""
    return tuple(NETWORKS)


def architecture(name: str) -> Architecture:
    """The entry called ``name``.

    Raises:
        CheckError: no network has this name.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    close = difflib.get_close_matches(name.lower(), NETWORKS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise CheckError(
        f"unknown architecture {name!r}{hint} (export knows the RepVGG family; the blocks and baselines of earlier "
        "versions are defined in samples/zoo of the source repository)"
    )


def describe(name: str) -> str:
    """One line about the network called ``name``.

    Raises:
        CheckError: no network has this name.

    Example:
        >>> describe("repvgg-b1g4")
        'RepVGG-B1g4: 28 blocks, width multipliers 2 and 4, 4 groups in every other block'
    """
    return architecture(name).summary


def build(
    network: str | Architecture,
    *,
    deployed: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> torch.nn.Module:
    """A network in eval mode, float32, on the CPU.

    Args:
        network: one of ``names()``, or an entry of one's own.
        deployed: build the deployed form rather than the training-time form.
        checkpoint: a state dict of the form asked for, as ``torch.save`` wrote it; without one the weights are random.
        num_classes: outputs of the classifier, 1000 or what is usual by default.
        seed: seed of the random weights; torch's own random state stays as it was.

    Raises:
        CheckError: no network has this name.
        ExtraMissingError: torch is not installed.
        ModelError: the checkpoint cannot be read or does not fit.
    """
    entry = architecture(network) if isinstance(network, str) else network
    torch = import_extra("torch", extra="export")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = entry.build(deployed=deployed, num_classes=num_classes)
    if checkpoint is not None:
        load_checkpoint(module, checkpoint)
    return module.eval()
