"""The program run, networks about to be trained, and pictures to train on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

TRAIN = Path(__file__).parents[3] / "samples" / "train"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TRAIN.parents[1]), "NO_COLOR": "1"}
SMALL = ("--model", "plain-block", "--size", "16", "--limit", "48", "--seconds", "0.01", "--threads", "1")


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TRAIN / "train.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)


def small_training(seed: int, epochs: int = 3) -> Any:
    """A small network about to be trained on 48 digits of 16×16."""
    from classifiers import classifier
    from image_sets import digits
    from learning import Recipe, Training, Variation

    torch.manual_seed(seed)
    network = classifier("repvgg-plain-block", classes=10, size=16, seed=seed)
    return Training(
        network, digits(16, 3).training.thinned(48), Recipe(epochs, batch_size=20, vary=Variation(2, flip=True))
    )


def flat(state: Any) -> list[Any]:
    """Tensors and numbers of a nested state, in order."""
    if isinstance(state, dict):
        return [each for value in state.values() for each in flat(value)]
    if isinstance(state, list | tuple):
        return [each for value in state for each in flat(value)]
    return [state]


def assert_same(one: Any, two: Any) -> None:
    """Equal to the bit."""
    left, right = flat(one), flat(two)
    assert len(left) == len(right) > 20
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a, b) if torch.is_tensor(a) else a == b


def pictures(folder: Path, classes: tuple[str, ...] = ("bright", "dark"), count: int = 6) -> Path:
    """PNGs and JPEGs of 18×11, those of a class of one brightness."""
    generator = np.random.default_rng(0)
    for part in ("train", "val"):
        for level, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(200 - 180 * level, 240 - 180 * level, (11, 18, 3), dtype=np.uint8)
                suffix = "jpg" if number % 2 else "PNG"
                Image.fromarray(pixels).save(folder / part / name / f"{number}.{suffix}")
    return folder
