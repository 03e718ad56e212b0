"""Digits and folders of pictures."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from repvgg_onnx import ModelError
from tests.samples.train.running import Image, pictures, torch


def test_digits_are_enlarged_and_repeated_on_every_channel() -> None:
    from image_sets import DIGITS, digits

    data = digits(32, 3)
    images = data.test.read(torch.tensor([3, 440]))
    with np.load(DIGITS / "digits.npz") as content:
        small = torch.from_numpy(content["image"][[3, 440]])

    assert (len(data.training), len(data.test), data.classes[9]) == (1347, 450, "9")
    assert images.shape == (2, 3, 32, 32)
    assert torch.equal(images[:, 0], images[:, 2])
    averaged = torch.nn.functional.avg_pool2d(images[:, :1], 4)
    assert torch.corrcoef(torch.stack([averaged.flatten(), small.flatten()]))[0, 1] > 0.95
    assert (images.min(), images.max()) == (0, 1)


def test_batches_come_in_order_and_whole() -> None:
    from image_sets import digits

    images = digits(8, 1).test
    order = torch.tensor([5, 3, 9, 0, 7])
    batches = list(images.batches(order, 2))

    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    assert torch.equal(torch.cat([read for read, _ in batches]), images.read(order))
    assert torch.equal(torch.cat([labels for _, labels in batches]), images.labels[order])


def test_thinned_images_are_spread_over_all() -> None:
    from image_sets import digits

    images = digits(8, 1).test
    few = images.thinned(4)

    assert few.names == ("digits 0", "digits 150", "digits 299", "digits 449")
    assert torch.equal(few.read(torch.tensor([1, 3])), images.read(torch.tensor([150, 449])))
    assert torch.equal(few.labels, images.labels[[0, 150, 299, 449]])
    assert images.thinned(None) is images.thinned(450) is images


def test_a_folder_of_pictures_is_classes_and_squares(tmp_path: Path) -> None:
    from image_sets import folder

    data = folder(pictures(tmp_path), 9, 3)
    images = data.training.read(torch.arange(12))

    assert data.classes == ("bright", "dark")
    assert data.training.names[:2] == ("train/bright/0.PNG", "train/bright/1.jpg")
    assert data.test.labels.tolist() == [0] * 6 + [1] * 6
    assert images.shape == (12, 3, 9, 9)
    assert images.dtype == torch.float32
    assert images[:6].min() > 0.7
    assert images[6:].max() < 0.3


def test_a_picture_is_cropped_around_its_centre(tmp_path: Path) -> None:
    from image_sets import picture

    pixels = np.zeros((8, 24, 3), dtype=np.uint8)
    pixels[:4, 8:16, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    square = picture(tmp_path / "wide.png", 8, 3)

    assert torch.equal(square, torch.from_numpy(pixels[:, 8:16]).permute(2, 0, 1) / 255)
    assert picture(tmp_path / "wide.png", 4, 1).shape == (1, 4, 4)


def no_folder(folder: Path) -> None:
    folder.rename(folder.with_name("away"))


def no_classes(folder: Path) -> None:
    for each in (folder / "val").iterdir():
        each.rename(folder / each.name)


def other_classes(folder: Path) -> None:
    (folder / "val" / "dark").rename(folder / "val" / "dim")


def no_pictures(folder: Path) -> None:
    for each in (folder / "train" / "dark").iterdir():
        each.rename(each.with_suffix(".txt"))


def one_class(folder: Path) -> None:
    for part in ("train", "val"):
        (folder / part / "dark").rename(folder / f"{part}-dark")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (no_folder, r"train is not a folder; wanted are train/<class>/\*\.png"),
        (no_classes, "val is empty; wanted is one folder for each class"),
        (other_classes, "val has no folder for dark, the other one has"),
        (no_pictures, "dark has no pictures"),
        (one_class, "train has one class only: bright"),
    ],
)
def test_folders_that_are_not_laid_out_so_are_refused(
    tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    from image_sets import folder

    harm(pictures(tmp_path / "set", count=1))
    with pytest.raises(ModelError, match=message):
        folder(tmp_path / "set", 8, 3)


def test_what_is_not_a_picture_is_named(tmp_path: Path) -> None:
    from image_sets import folder

    pictures(tmp_path, count=2)
    (tmp_path / "val" / "dark" / "0.PNG").write_bytes(b"\x89PNG no picture")
    data = folder(tmp_path, 8, 3)

    assert len(list(data.training.in_order(3))) == 2
    with pytest.raises(ModelError, match=r"dark/0\.PNG is not a picture that can be read"):
        list(data.test.in_order(3))
