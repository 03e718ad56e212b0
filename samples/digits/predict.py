"""Classifies the held-out digits with one ONNX model or compares two; needs onnxruntime and numpy only.

Usage: python predict.py MODEL.onnx [MODEL2.onnx]

Prints how many digits each model gets right. With two models the exit code is 0 if they predict the same for every
digit and 1 if not.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime


def predict(model: str, images: np.ndarray) -> np.ndarray:
    """The digit that ``model`` sees in each of the ``images`` (n  1  8  8)."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": images})
    return scores.argmax(axis=1)


def main(models: list[str]) -> int:
    if len(models) not in (1, 2):
        sys.exit("usage: predict.py MODEL.onnx [MODEL2.onnx]")
    held_out = np.load(Path(__file__).parent / "digits.npz")
    images, labels = held_out["image"], held_out["labels"]
    predictions = [predict(model, images) for model in models]
    for model, predicted in zip(models, predictions, strict=True):
        right = int(np.sum(predicted == labels))
        print(f"{model}: {right} of {len(labels)} digits right ({right / len(labels):.2%})")
    if len(models) == 1:
        return 0
    different = int(np.sum(predictions[0] != predictions[1]))
    print("predictions are identical" if not different else f"predictions differ on {different} digits")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
