"""Training with momentum and a cosine schedule, that can stop after any epoch and goes on to the same bits."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from image_sets import ImageSet
from torch import Tensor, nn
from torch.nn import functional

from repvgg_onnx.errors import CheckError, ModelError
from repvgg_onnx.graph.storage.staging import staging
from repvgg_onnx.zoo.checkpoint import read_plain

FORMAT = "repvgg-onnx samples/train 1"
"""Marks the checkpoints of this program."""


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        epochs: passes over the images.
        batch_size: images in a step.
        lr: learning rate of the first step; the last one's is nearly zero.
        momentum: of Nesterov's kind.
        weight_decay: of the kernels and matrices.
        norm_decay: of everything that has one axis: gammas, betas and biases.
        vary: what a batch goes through before it is learned from.
    """

    epochs: int
    batch_size: int = 64
    lr: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 1e-4
    norm_decay: float = 0.0
    vary: Callable[[Tensor], Tensor] | None = None

    def optimizer(self, network: nn.Module) -> torch.optim.SGD:
        """The optimizer of all parameters of ``network``."""
        flat = [value for value in network.parameters() if value.ndim <= 1]
        deep = [value for value in network.parameters() if value.ndim > 1]
        groups = [
            {"params": deep, "weight_decay": self.weight_decay},
            {"params": flat, "weight_decay": self.norm_decay},
        ]
        return torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0)


@dataclass(frozen=True)
class Variation:
    """Images as they are learned from: each moved, and perhaps mirrored, by torch's random state.

    Attributes:
        reach: pixels that an image is moved by at most, each way; zeros come in.
        flip: whether every other image is mirrored, which suits neither digits nor text.
    """

    reach: int
    flip: bool = False

    def __call__(self, images: Tensor) -> Tensor:
        """A variation of the images (n  c  h  w)."""
        count, _, height, width = images.shape
        padded = functional.pad(images, (self.reach,) * 4)
        starts = torch.randint(0, 2 * self.reach + 1, (count, 2)).tolist()
        moved = [image[:, y : y + height, x : x + width] for image, (y, x) in zip(padded, starts, strict=True)]
        if self.flip:
            mirrored = (torch.rand(count) < 0.5).tolist()
            moved = [image.flip(-1) if turned else image for image, turned in zip(moved, mirrored, strict=True)]
        return torch.stack(moved)


class Training:
    """A network that is being trained; torch's global random state is part of it.

    Args:
        network: what to train; on its device.
        images: what to learn from; images beyond the last whole batch of an epoch are left out of it.
        recipe: how.
    """

    def __init__(self, network: nn.Module, images: ImageSet, recipe: Recipe) -> None:
        self.network, self.images, self.recipe = network, images, recipe
        self.batch_size = min(recipe.batch_size, len(images))
        self.steps = len(images) // self.batch_size  # in one epoch
        self.epochs_done = 0
        self.optimizer = recipe.optimizer(network)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, recipe.epochs * self.steps)

    def run_epoch(self, on_step: Callable[[float], object]) -> float:
        """Trains for one epoch and returns the mean loss.

        Args:
            on_step: called with the loss of each step.

        Raises:
            CheckError: the loss is no longer a finite number.
        """
        self.network.train()
        order = torch.randperm(len(self.images))[: self.steps * self.batch_size]
        total = 0.0
        for images, labels in self.images.batches(order, self.batch_size):
            loss = self._step(images, labels)
            total += loss
            on_step(loss)
        self.network.eval()
        self.epochs_done += 1
        return total / self.steps

    def _step(self, images: Tensor, labels: Tensor) -> float:
        device = next(self.network.parameters()).device
        varied = self.recipe.vary(images) if self.recipe.vary else images
        scores = self.network(varied.to(device))
        loss = functional.cross_entropy(scores, labels.to(device))
        if not torch.isfinite(loss):
            raise CheckError(f"the loss is {loss.item()} in epoch {self.epochs_done + 1}; try a smaller learning rate")
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()
        return float(loss.item())

    def state(self) -> dict[str, Any]:
        """Everything that the epochs to come depend on, but the images and the recipe."""
        return {
            "epochs_done": self.epochs_done,
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": torch.get_rng_state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on where ``state`` was taken; torch's random state is as it was there."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        self.epochs_done = int(state["epochs_done"])


def save_checkpoint(training: Training, settings: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """The state stands at ``path``, whole; a failure or a kill leaves the one that was there before.

    Args:
        training: what to save.
        settings: numbers and texts that the same training is known by.
        path: where.

    Raises:
        ModelError: it cannot be written.
    """
    content = {"format": FORMAT, "settings": dict(settings), **training.state()}
    with staging(path) as place:
        with place.create(place.file.name) as stream:
            torch.save(content, stream)
        place.commit()


def load_checkpoint(training: Training, settings: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """``training`` goes on where the checkpoint at ``path`` was saved; only tensors and plain values are read.

    Raises:
        CheckError: the checkpoint is of other settings.
        ModelError: the file cannot be read, or is not a whole checkpoint of this program.
    """
    content = read_plain(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ModelError(f"{path} is not a checkpoint of this program")
    saved = content.get("settings", {})
    for name, value in settings.items():
        if saved.get(name) != value:
            raise CheckError(f"{path} was made with {name} = {saved.get(name)}, and this is {value}")
    try:
        training.restore(content)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{path} does not fit the network, or is damaged") from error
