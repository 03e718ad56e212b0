"""What the zoo holds: one entry per architecture, readable without torch.

A new family is a module with a factory ``f(*, deployed, num_classes, **options) -> torch.nn.Module`` and its entries
in ``_ARCHITECTURES``. A training-time module that has another deployed form gives it by a method ``deployed_form()``
(see ``repvgg_onnx.zoo.building.deploy``).
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repvgg_onnx.errors import CheckError
from repvgg_onnx.zoo.extra import import_extra

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Architecture:
    """A network that the zoo can build.

    Attributes:
        name: what the user types, lower case.
        summary: one line without a full stop.
        factory: ``module:function``; the module may import torch, so it is imported on use.
        options: keyword arguments of the factory beside ``deployed`` and ``num_classes``.
        input_shape: n  c  *size of the usual input.
    """

    name: str
    summary: str
    factory: str
    options: Mapping[str, Any] = field(default_factory=dict)
    input_shape: tuple[int, ...] = (1, 3, 224, 224)

    def build(self, *, deployed: bool = False, num_classes: int = 1000) -> torch.nn.Module:
        """The network in training mode, initialized from torch's current random state.

        Raises:
            ExtraMissingError: torch is not installed.
        """
        import_extra("torch")
        module, _, function = self.factory.partition(":")
        factory: Callable[..., torch.nn.Module] = getattr(importlib.import_module(module), function)
        return factory(deployed=deployed, num_classes=num_classes, **self.options)


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

_ARCHITECTURES = {
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


def names() -> tuple[str, ...]:
    """The names of all architectures, in the order in which they are listed to a user."""
    return tuple(_ARCHITECTURES)


def architecture(name: str) -> Architecture:
    """The entry called ``name``.

    Raises:
        CheckError: no architecture has this name.
    """
    if name in _ARCHITECTURES:
        return _ARCHITECTURES[name]
    close = difflib.get_close_matches(name.lower(), _ARCHITECTURES, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise CheckError(f"unknown architecture {name!r}{hint}")


def describe(name: str) -> str:
    """One line about the architecture called ``name``.

    Raises:
        CheckError: no architecture has this name.

    Example:
        >>> describe("repvgg-b1g4")
        'RepVGG-B1g4: 28 blocks, width multipliers 2 and 4, 4 groups in every other block'
    """
    return architecture(name).summary
