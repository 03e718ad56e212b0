"""Trains a small RepVGG on scikit-learn's handwritten digits and writes digits.onnx and digits.npz beside itself.

The model keeps its training-time branches and every batch normalization, so that there is something to fuse. Needs
``pip install 'repvgg-onnx[export]' scikit-learn``, no download, and under a minute on one CPU thread.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from repvgg_onnx.zoo import export
from repvgg_onnx.zoo.repvgg import RepVGG

HERE = Path(__file__).parent
SEED = 0
EPOCHS = 40
BATCH = 64
HELD_OUT = 450


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


def shifted(images: Tensor) -> Tensor:
    """The images moved by up to one pixel each way, the same for the whole batch."""
    down, right = torch.randint(0, 3, (2,)).tolist()
    padded = nn.functional.pad(images, (1, 1, 1, 1))
    return padded[:, :, down : down + 8, right : right + 8]


def train(model: RepVGG, images: Tensor, labels: Tensor) -> None:
    """Leaves ``model`` trained and in eval mode."""
    steps = EPOCHS * (len(images) // BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    model.train()
    for epoch in range(EPOCHS):
        order = torch.randperm(len(images))
        for batch in order[: len(order) // BATCH * BATCH].split(BATCH):
            loss = nn.functional.cross_entropy(model(shifted(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {EPOCHS}, loss {loss.item():.4f}")
    model.eval()


def main() -> None:
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    train_images, train_labels, test_images, test_labels = digits()
    model = small_repvgg()
    train(model, torch.from_numpy(train_images), torch.from_numpy(train_labels))
    with torch.no_grad():
        predicted = model(torch.from_numpy(test_images)).argmax(1).numpy()
    print(f"held-out accuracy {np.mean(predicted == test_labels):.2%} of {len(test_labels)} digits")
    onnx.save(export(model, shape=(1, 1, 8, 8), fold=False, dynamic_batch=True), HERE / "digits.onnx")
    np.savez_compressed(HERE / "digits.npz", image=test_images, labels=test_labels)


if __name__ == "__main__":
    main()
