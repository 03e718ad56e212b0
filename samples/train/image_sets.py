"""Labelled images: the bundled digits, or a folder of pictures with one folder for each class."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from repvgg_onnx.errors import ModelError
from repvgg_onnx.extras import import_extra

DIGITS = Path(__file__).parents[1] / "digits"
SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
"""What the names of pictures end in, in lower case."""
MODES = {1: "L", 3: "RGB"}  # channels to Pillow's name of the mode


@dataclass(frozen=True)
class ImageSet:
    """Labelled images that are read when they are needed.

    Attributes:
        labels: positions of their classes: n, int64.
        names: what to call each.
        read: images at some positions (k, int64), as float32 from 0 to 1: k  c  size  size.
    """

    labels: Tensor
    names: tuple[str, ...]
    read: Callable[[Tensor], Tensor]

    def __len__(self) -> int:
        return len(self.names)

    def batches(self, order: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images and labels in this order, ``size`` at a time; the next batch is read while one is in use."""
        with ThreadPoolExecutor(1) as reader:
            ahead = None
            for positions in order.split(size):
                last, ahead = ahead, (reader.submit(self.read, positions), self.labels[positions])
                if last is not None:
                    yield last[0].result(), last[1]
            if ahead is not None:
                yield ahead[0].result(), ahead[1]

    def in_order(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image and label once, ``size`` at a time."""
        return self.batches(torch.arange(len(self)), size)

    def thinned(self, count: int | None) -> "ImageSet":
        """At most ``count`` of the images, evenly spaced; None for all."""
        if count is None or count >= len(self):
            return self
        kept = torch.linspace(0, len(self) - 1, count, dtype=torch.float64).round().to(torch.int64)
        names = tuple(self.names[position] for position in kept)
        return replace(self, labels=self.labels[kept], names=names, read=lambda positions: self.read(kept[positions]))


@dataclass(frozen=True)
class Data:
    """What to train on, and what to test on.

    Attributes:
        classes: their names.
        training: images to learn from.
        test: images that are never learned from.
    """

    classes: tuple[str, ...]
    training: ImageSet
    test: ImageSet


def digits(size: int, channels: int) -> Data:
    """The 8×8 digits of ``samples/digits``, enlarged to size×size and repeated on every channel.

    Raises:
        ModelError: a file is missing.
    """
    training, test = (_bundled(DIGITS / name, size, channels) for name in ("training.npz", "digits.npz"))
    return Data(tuple("0123456789"), training, test)


def _bundled(path: Path, size: int, channels: int) -> ImageSet:
    try:
        with np.load(path) as content:
            small, labels = torch.from_numpy(content["image"]), torch.from_numpy(content["labels"])
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(f"{path} cannot be read") from error
    images = functional.interpolate(small, (size, size), mode="bilinear")
    names = tuple(f"{path.stem} {position}" for position in range(len(labels)))
    return ImageSet(labels, names, lambda positions: images[positions].expand(-1, channels, -1, -1))


def folder(path: Path, size: int, channels: int) -> Data:
    """The pictures of ``path/train/<class>`` and ``path/val/<class>``, scaled and cropped to size×size.

    Raises:
        ExtraMissingError: Pillow is not installed.
        ModelError: there are no such folders, the two name different classes, or there are no pictures in one. Reading
            the images raises it for what is not a picture.
    """
    import_extra("PIL.Image", extra="train")
    training, test = _classes(path / "train"), _classes(path / "val")
    for there, where, here in ((training, "val", test), (test, "train", training)):
        missing = sorted(there.keys() - here.keys())
        if missing:
            raise ModelError(f"{path / where} has no folder for {', '.join(missing)}, the other one has")
    if len(training) < 2:
        raise ModelError(f"{path / 'train'} has one class only: {next(iter(training))}")
    return Data(tuple(training), *(_pictures(path, files, size, channels) for files in (training, test)))


def _classes(path: Path) -> dict[str, list[Path]]:
    """Class to its pictures, in alphabetical order."""
    if not path.is_dir():
        raise ModelError(f"{path} is not a folder; wanted are train/<class>/*.png and val/<class>/*.png")
    found = {each.name: _files(each) for each in sorted(path.iterdir()) if each.is_dir() and each.name[0] != "."}
    if not found:
        raise ModelError(f"{path} is empty; wanted is one folder for each class")
    for name, files in found.items():
        if not files:
            raise ModelError(f"{path / name} has no pictures ({', '.join(sorted(SUFFIXES))})")
    return found


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)


def _pictures(root: Path, classes: dict[str, list[Path]], size: int, channels: int) -> ImageSet:
    files = [file for of_class in classes.values() for file in of_class]
    labels = [label for label, of_class in enumerate(classes.values()) for _ in of_class]

    def read(positions: Tensor) -> Tensor:
        with ThreadPoolExecutor(os.cpu_count()) as readers:
            return torch.stack(list(readers.map(lambda each: picture(files[each], size, channels), positions)))

    return ImageSet(torch.tensor(labels), tuple(str(file.relative_to(root)) for file in files), read)


def picture(path: Path, size: int, channels: int) -> Tensor:
    """The picture at ``path``, scaled to cover a square and cropped to it around its centre.

    Returns:
        channels  size  size, float32 from 0 to 1.

    Raises:
        ModelError: it cannot be read.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            fitted = ImageOps.fit(opened.convert(MODES[channels]), (size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ModelError(f"{path} is not a picture that can be read") from error
    pixels = np.asarray(fitted, dtype=np.float32).reshape(size, size, channels) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1)
