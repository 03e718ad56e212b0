"""Trains a network of the zoo, exports it, fuses it, and tests that both files see the same in every image.

Usage: python samples/train/train.py [--model a0] [--data digits|FOLDER] [--epochs N] [--resume]

The model is any image network of the zoo by its full or its short name. The data is the bundled digits, or a folder
with train/<class>/*.png and val/<class>/*.png (.jpg, .bmp and .webp as well). Every epoch ends with a checkpoint, from
which --resume goes on to the same bits. The exit code is 0; 1 if a file sees anything else than the trained network in
any test image; 2 on a usage error; 3 if a file cannot be used. Needs
``pip install 'repvgg-onnx[train]'``.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import handover
import torch
from classifiers import classifier, full_name, image_channels, usual_size
from image_sets import Data, digits, folder
from learning import Recipe, Training, Variation, load_checkpoint, save_checkpoint
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from repvgg_onnx import CheckError, ExtraMissingError, RepvggOnnxError

DIGITS = "digits"
DIGITS_SIZE = 32  # four times their own: RepVGG halves five times
INTERRUPTED = 130


def parsed(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="train.py", description="Trains a network of the zoo, exports it, fuses it, and compares the two files."
    )
    add = parser.add_argument
    add("--model", default="a0", help="network by its full or its short name, such as a0, B1g4 or repvgg-b0-plain")
    add("--data", default=DIGITS, metavar="digits|FOLDER", help="bundled digits, or a folder with train/ and val/")
    add("--output", type=Path, metavar="FOLDER", help="where the files go; trained/MODEL by default")
    add("--epochs", type=number(int, 1), default=10, help="passes over the training images (10)")
    add("--batch-size", type=number(int, 2), default=64, help="images in a step (64)")
    add("--lr", type=number(float, 0, above=True), default=0.02, help="first learning rate (0.02)")
    add("--weight-decay", type=number(float, 0), default=1e-4, help="of kernels; not of gammas and biases (1e-4)")
    add("--size", type=number(int, 1), help="height and width (32 for digits, else what the network usually takes)")
    add("--flip", action="store_true", help="mirror images at random, which suits neither digits nor text")
    add("--limit", type=number(int, 2), metavar="N", help="use at most N images to train on and N to test on")
    add("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    add("--fresh", action="store_true", help="forget the checkpoint in the output folder")
    add("--seed", type=number(int, 0), default=0, help="of the weights, the order and the shifts (0)")
    add("--threads", type=number(int, 0), default=0, help="of torch and onnxruntime; 0 lets them decide (0)")
    add("--device", default="cpu", help="what torch trains on, such as cpu or cuda (cpu)")
    add("--seconds", type=number(float, 0, above=True), default=5.0, help="bound of the throughput measurement (5)")
    options = parser.parse_args(given)
    if options.resume and options.fresh:
        parser.error("--resume goes on from the checkpoint that --fresh forgets")
    return options


def number(kind: type, least: float, *, above: bool = False) -> Callable[[str], Any]:
    """A parser of finite numbers that are at least, or above, ``least``."""

    def parse(text: str) -> Any:
        value = kind(text)
        if not (value > least if above else value >= least) or value == float("inf"):
            raise argparse.ArgumentTypeError(f"{text} is not {'above' if above else 'at least'} {least}")
        return value

    return parse


def image_sets(options: argparse.Namespace, name: str) -> tuple[Data, int]:
    """The images, and their height and width."""
    channels = image_channels(name)
    if options.data == DIGITS:
        size = options.size or DIGITS_SIZE
        data = digits(size, channels)
    else:
        size = options.size or usual_size(name)
        data = folder(Path(options.data), size, channels)
    return Data(data.classes, data.training.thinned(options.limit), data.test.thinned(options.limit)), size


def settings(options: argparse.Namespace, name: str, data: Data, size: int) -> dict[str, Any]:
    """What the trained weights depend on, besides threads, device and versions."""
    return {
        "model": name,
        "classes": list(data.classes),
        "images": len(data.training),
        "size": size,
        **{key: getattr(options, key) for key in ("epochs", "batch_size", "lr", "weight_decay", "flip", "seed")},
    }


def prepared_device(options: argparse.Namespace) -> torch.device:
    """The device to train on; torch's seed, threads and determinism are set.

    Raises:
        CheckError: torch has no such device.
    """
    torch.manual_seed(options.seed)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        device = torch.device(options.device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise CheckError(f"torch cannot train on {options.device!r} here: {reason}") from error
    torch.use_deterministic_algorithms(device.type == "cpu")
    return device


def begin_or_resume(training: Training, known: dict[str, Any], checkpoint: Path, options: argparse.Namespace) -> None:
    """The checkpoint is loaded if that was asked for.

    Raises:
        CheckError: there is a checkpoint that would be lost, or it is of other settings.
        ModelError: there is none to go on from, or it is damaged.
    """
    if options.resume:
        load_checkpoint(training, known, checkpoint)
    elif checkpoint.exists() and not options.fresh:
        raise CheckError(f"{checkpoint} is there already: give --resume, --fresh or another --output")


def train(training: Training, data: Data, save: Callable[[], None], console: Console) -> None:
    """Trains to the end with a line for every epoch, and saves after each."""
    epochs, first = training.recipe.epochs, training.epochs_done
    if first:
        console.print(f"{first} of {epochs} epochs are done already")
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("steps, left"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("training", total=epochs * training.steps, completed=first * training.steps)
        for epoch in range(first + 1, epochs + 1):
            loss = training.run_epoch(lambda _: progress.advance(task))
            save()
            seen = handover.seen_by_torch(training.network, data.test, training.recipe.batch_size)
            right = (seen == data.test.labels.numpy()).mean()
            progress.console.print(f"epoch {epoch} of {epochs}: loss {loss:.4f}, {right:.2%} of the test images right")


def run(options: argparse.Namespace, console: Console) -> int:
    """Trains, exports, fuses, compares and prints; whether the files agree is the exit code.

    Raises:
        RepvggOnnxError: something cannot be done as asked, or a file cannot be used.
    """
    name = full_name(options.model)
    data, size = image_sets(options, name)
    network = classifier(name, classes=len(data.classes), size=size, seed=options.seed)
    handover.exported(network, (1, image_channels(name), size, size))  # what cannot be is not worth training
    device = prepared_device(options)
    vary = Variation(reach=size // 8, flip=options.flip)  # one pixel of the digits' own
    recipe = Recipe(options.epochs, options.batch_size, options.lr, weight_decay=options.weight_decay, vary=vary)
    training = Training(network.to(device), data.training, recipe)
    output = options.output or Path("trained") / name
    known, checkpoint = settings(options, name, data, size), output / "checkpoint.pt"
    begin_or_resume(training, known, checkpoint, options)
    output.mkdir(parents=True, exist_ok=True)
    console.print(f"{name}: {len(data.training):,} images to train on, {len(data.test):,} to test on, {size}x{size}")
    train(training, data, lambda: save_checkpoint(training, known, checkpoint), console)
    return hand_over(training.network.cpu(), data, output / name, options)


def hand_over(network: torch.nn.Module, data: Data, stem: Path, options: argparse.Namespace) -> int:
    """The two files are written, compared and printed; 1 if they do not see the same."""
    images, _ = next(data.test.in_order(options.batch_size))
    files = handover.write(network, data, (1, *images.shape[1:]), stem)
    verdict = handover.judge(network, files, data, batch_size=options.batch_size, threads=options.threads)
    latency = handover.race(
        files, data, batch_size=options.batch_size, threads=options.threads, seconds=options.seconds
    )
    print("\n".join([*handover.lines(files, verdict, latency), *handover.agreement(verdict)]))
    return 1 if verdict.differences() else 0


def main(given: Sequence[str] | None = None) -> int:
    options = parsed(given)
    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    try:
        return run(options, console)
    except KeyboardInterrupt:
        console.print("stopped; the same command with --resume goes on after the last whole epoch")
        return INTERRUPTED
    except (CheckError, ExtraMissingError) as error:
        console.print(f"error: {error}")
        return 2
    except (RepvggOnnxError, OSError) as error:
        console.print(f"error: {error}")
        return 3


if __name__ == "__main__":
    sys.exit(main())
