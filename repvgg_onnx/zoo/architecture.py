"""What an entry of the zoo is."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repvgg_onnx.zoo.deploying import deploy
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
        return self._imported_factory()(deployed=deployed, num_classes=outputs, **self.options)

    def _imported_factory(self) -> Callable[..., torch.nn.Module]:
        import_extra("torch")
        module, _, function = self.factory.partition(":")
        factory: Callable[..., torch.nn.Module] = getattr(importlib.import_module(module), function)
        return factory


@dataclass(frozen=True)
class BlockNetwork(Architecture):
    """A few blocks of one kind in narrow surroundings, for tests and demonstrations.

    The factory takes ``options`` only: such a network has no classifier whose width could be chosen, and its deployed
    form is computed from its training-time form, so that of one random state both compute the same.
    """

    def build(self, *, deployed: bool = False, num_classes: int | None = None) -> torch.nn.Module:
        """As of ``Architecture``; ``num_classes`` has no effect."""
        network = self._imported_factory()(**self.options)
        return deploy(network).float().train() if deployed else network
