"""Fuse first or quantize first? The digits model in float and in int8, before and after the fold, in one table.

Usage: python samples/quantize/quantize.py [--output FOLDER] [--calibration N] [--margin POINTS]

Static quantization by onnxruntime (QDQ, int8 weights and activations, calibrated on training digits), with one scale
for all weights of a layer and with one for each output channel. The accuracy is that of the 450 held-out digits. The
exit code is 0; 1 if the fused float model sees anything else than the original in any digit, or if the fused int8 model
with a scale for each channel gets more than the margin fewer of them right; 2 on a usage error; 3 if a
file cannot be used. Needs nothing but this package.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from weight_ranges import layers, signal_to_noise, table

from repvgg_onnx import Fusion, RepvggOnnxError, fuse, save_model
from repvgg_onnx.checks.latency import LEVEL
from repvgg_onnx.checks.session import open_session
from repvgg_onnx.zoo.quiet import quiet

DIGITS = Path(__file__).parents[1] / "digits"
ORIGINAL, FUSED = "original", "fused"
PER_TENSOR, PER_CHANNEL = "per tensor", "per channel"
FLOAT = "float"
BATCH = 32  # digits fed at a time while ranges are measured

Images = np.ndarray  # n  1  8  8, float32 from 0 to 1
Labels = np.ndarray  # n, int64
Scores = np.ndarray  # n  10, float32


@dataclass(frozen=True)
class Row:
    """How one form of the model does on the held-out digits.

    Attributes:
        model: ``original`` or ``fused``.
        form: ``float``, or how the weights of int8 are scaled.
        scores: of every digit.
        bytes: size of its file.
    """

    model: str
    form: str
    scores: Scores
    bytes: int

    @property
    def predictions(self) -> Labels:
        """The digit seen in each image."""
        seen: Labels = self.scores.argmax(axis=1)
        return seen

    def right(self, labels: Labels) -> int:
        """How many digits are seen as what they are."""
        return int(np.sum(self.predictions == labels))


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    """The digits that onnxruntime measures the ranges of the activations on."""

    def __init__(self, images: Images) -> None:
        self._batches: Iterator[Images] = iter([images[at : at + BATCH] for at in range(0, len(images), BATCH)])

    def get_next(self) -> dict[str, Images] | None:
        """The next batch, or None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


def quantized(model: Path, images: Images, *, per_channel: bool) -> Path:
    """A file beside ``model``, which onnxruntime has simplified, with int8 weights and activations."""
    target = model.with_name(f"{model.stem}.int8-{'channel' if per_channel else 'tensor'}.onnx")
    prepared = model.with_name(f"{model.stem}.prepared.onnx")
    with quiet():
        quantize_static(
            prepared,
            target,
            Calibration(images),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    return target


def prepare(model: Path) -> Path:
    """``model`` as onnxruntime wants it before it quantizes: its normalizations are in its convolutions."""
    target = model.with_name(f"{model.stem}.prepared.onnx")
    with quiet():
        quant_pre_process(model, target, skip_symbolic_shape=True)
    return target


def scored(model: str, form: str, path: Path, images: Images) -> Row:
    """The row of a file, run with all of onnxruntime's own optimizations."""
    scores = open_session(str(path), level=LEVEL).run({"image": images})["logits"]
    return Row(model, form, scores, path.stat().st_size)


def measured(fusion: Fusion, folder: Path, calibration: Images, images: Images) -> list[Row]:
    """Every form of the model, the files of which go to ``folder``; the original in float comes first."""
    paths = {ORIGINAL: folder / "digits.onnx", FUSED: folder / "digits.fused.onnx"}
    save_model(onnx.load(DIGITS / "digits.onnx"), paths[ORIGINAL])
    save_model(fusion.model, paths[FUSED])
    rows = [scored(model, FLOAT, path, images) for model, path in paths.items()]
    for model, path in paths.items():
        prepare(path)
        for form in (PER_TENSOR, PER_CHANNEL):
            target = quantized(path, calibration, per_channel=form == PER_CHANNEL)
            rows.append(scored(model, form, target, images))
    return rows


def lines(rows: Sequence[Row], labels: Labels) -> list[str]:
    """The table: digits right, digits seen otherwise than by the original, and how exact the scores are."""
    first = rows[0]
    text = [f"{'':<27}{f'right of {len(labels)}':>13}{'accuracy':>10}{'differ':>8}{'score SNR':>12}{'kB':>6}"]
    for row in rows:
        title = f"{row.model}, {row.form if row.form == FLOAT else f'int8 {row.form}'}"
        differ = int(np.sum(row.predictions != first.predictions))
        exact = "" if row is first else f"{signal_to_noise(first.scores, row.scores):.1f} dB"
        right = row.right(labels)
        share = f"{right / len(labels):.2%}"
        text.append(f"{title:<27}{right:>13}{share:>10}{differ:>8}{exact:>12}{row.bytes / 1000:>6.0f}")
    return text


def failures(rows: Sequence[Row], labels: Labels, margin: float) -> list[str]:
    """What is not as it should be.

    Args:
        rows: all forms.
        labels: what the digits are.
        margin: how much less accurate the int8 model may be, in percentage points.
    """
    of = {(row.model, row.form): row for row in rows}
    reference, fused, small = of[ORIGINAL, FLOAT], of[FUSED, FLOAT], of[FUSED, PER_CHANNEL]
    differ = int(np.sum(reference.predictions != fused.predictions))
    lost = 100 * (fused.right(labels) - small.right(labels)) / len(labels)
    found = []
    if differ:
        found.append(f"the fused float model sees {differ} digits otherwise than the original")
    if lost > margin:
        found.append(f"int8 of fused, per channel, is {lost:.2f} points less accurate than float; {margin:g} may be")
    return found


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="quantize.py", description="Accuracy of the digits model in float and int8.")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="keep the models there")
    parser.add_argument("--calibration", type=int, default=512, metavar="N", help="training digits to measure on (512)")
    parser.add_argument(
        "--margin", type=float, default=1.0, metavar="POINTS", help="percentage points int8 may lose (1)"
    )
    options = parser.parse_args(given)
    if options.calibration < 1:
        parser.error(f"--calibration: {options.calibration} is not at least 1")
    return options


def run(options: argparse.Namespace, folder: Path) -> int:
    """Prints both tables; 1 if something is not as it should be.

    Raises:
        RepvggOnnxError: a file cannot be used.
    """
    with np.load(DIGITS / "training.npz") as training, np.load(DIGITS / "digits.npz") as held_out:
        calibration, images, labels = training["image"][: options.calibration], held_out["image"], held_out["labels"]
    fusion = fuse(DIGITS / "digits.onnx")
    rows = measured(fusion, folder, calibration, images)
    branches = onnx.load(folder / "digits.prepared.onnx")
    print("\n".join([*lines(rows, labels), "", *table(layers(branches, fusion.model, fusion.regions))]))
    found = failures(rows, labels, options.margin)
    for sentence in found:
        print(f"error: {sentence}", file=sys.stderr)
    return 1 if found else 0


def main(given: Sequence[str] | None = None) -> int:
    options = arguments(given)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = options.output or Path(scratch)
            folder.mkdir(parents=True, exist_ok=True)
            return run(options, folder)
    except (RepvggOnnxError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
