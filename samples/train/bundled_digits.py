"""Makes the files of ``samples/digits`` again: the small network that is trained there, and the digits themselves.

Usage: python samples/train/bundled_digits.py [FOLDER]

The network keeps its training-time branches and every batch normalization, so that there is something to fuse. Needs
``pip install 'repvgg-onnx[export]' scikit-learn``, no download, and under a minute on one CPU thread; the same seed
gives the same files on the same machine.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from image_sets import DIGITS, ImageSet
from learning import Recipe, Training
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.nn import functional

from repvgg_onnx.zoo import export
from repvgg_onnx.zoo.repvgg import RepVGG

SEED = 0
HELD_OUT = 450


def shifted(images: Tensor) -> Tensor:
    """The images moved by up to one pixel each way, the same for the whole batch."""
    down, right = torch.randint(0, 3, (2,)).tolist()
    padded = functional.pad(images, (1, 1, 1, 1))
    return padded[:, :, down : down + 8, right : right + 8]


RECIPE = Recipe(epochs=40, batch_size=64, lr=0.1, weight_decay=1e-4, norm_decay=1e-4, vary=shifted)


def small_repvgg() -> RepVGG:
    """Six blocks: stride 1 and 2, with and without identity, two of them groupwise."""
    return RepVGG((2, 3), widths=(16, 32, 64), strides=(1, 2, 2), groups=2, in_channels=1, num_classes=10)


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images (n  1  8  8, float32 in 0..1) and labels (n, int64): those to train on, then the held-out ones."""
    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels.astype(np.int64), test_size=HELD_OUT, stratify=labels, random_state=SEED
    )
    return train_images, train_labels, test_images, test_labels


def main(arguments: list[str]) -> None:
    target = Path(arguments[0]) if arguments else DIGITS
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_images, train_labels, test_images, test_labels = digits()
    network, images = small_repvgg(), torch.from_numpy(train_images)
    names = tuple(f"training {position}" for position in range(len(images)))
    training = Training(network, ImageSet(torch.from_numpy(train_labels), names, lambda which: images[which]), RECIPE)
    for epoch in range(RECIPE.epochs):
        print(f"epoch {epoch + 1} of {RECIPE.epochs}, loss {training.run_epoch(lambda _: None):.4f}")
    with torch.no_grad():
        predicted = network(torch.from_numpy(test_images)).argmax(1).numpy()
    print(f"held-out accuracy {np.mean(predicted == test_labels):.2%} of {len(test_labels)} digits")
    onnx.save(export(network, shape=(1, 1, 8, 8), fold=False, dynamic_batch=True), target / "digits.onnx")
    np.savez_compressed(target / "digits.npz", image=test_images, labels=test_labels)
    np.savez_compressed(target / "training.npz", image=train_images, labels=train_labels)


if __name__ == "__main__":
    main(sys.argv[1:])
