"""From a trained network to a fused ONNX file, and whether the two see the same in every image."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from image_sets import Data, ImageSet
from torch import nn

from repvgg_onnx import CheckError, Latency, benchmark, fuse, save_model, zoo
from repvgg_onnx.checks.latency import LEVEL
from repvgg_onnx.checks.session import open_session
from repvgg_onnx.zoo.exporting import INPUT, OUTPUT

AS_TRAINED, EXPORTED, FUSED = "as trained, in torch", "exported", "fused"
SHOWN = 10
"""How many images that are seen differently are listed."""

STDOUT = 1  # file descriptor

Positions = np.ndarray  # n, int64: positions of classes


@dataclass(frozen=True)
class Files:
    """What is handed over.

    Attributes:
        exported: the network with its branches.
        fused: the network to serve.
        nodes: nodes of the two.
        regions: how many regions became one node each.
    """

    exported: Path
    fused: Path
    nodes: tuple[int, int]
    regions: int


@dataclass(frozen=True)
class Verdict:
    """What the forms of a network see in the test images.

    Attributes:
        classes: names of the classes.
        test: the images.
        predictions: form to the class that it sees in each image; the first form is what the others have to agree with.
    """

    classes: Sequence[str]
    test: ImageSet
    predictions: dict[str, Positions]

    def right(self, form: str) -> int:
        """How many images a form gets right."""
        return int(np.sum(self.predictions[form] == self.test.labels.numpy()))

    def differences(self) -> list[str]:
        """An image and what is seen in it, for each that a form sees otherwise than the first form."""
        (first, reference), *others = self.predictions.items()
        return [
            f"{self.test.names[at]}: {self.classes[reference[at]]} {first}, {self.classes[predicted[at]]} {form}"
            for form, predicted in others
            for at in np.flatnonzero(predicted != reference)
        ]


def exported(network: nn.Module, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The network with its branches as ONNX, for any number of images.

    Args:
        network: in eval mode, on the CPU.
        shape: n  c  size  size of an input.

    Raises:
        CheckError: torch cannot export it for images of this size.
    """
    try:
        with _silent_stdout():
            return zoo.export(network, shape=shape, dynamic_batch=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise CheckError(f"torch cannot export the network for images of {shape[-2]}x{shape[-1]}: {reason}") from error


@contextmanager
def _silent_stdout() -> Iterator[None]:
    """Nothing reaches stdout, not even the graph that torch's C++ part prints when an export fails."""
    sys.stdout.flush()
    kept = os.dup(STDOUT)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), STDOUT)
        yield
    finally:
        os.dup2(kept, STDOUT)
        os.close(kept)


def write(network: nn.Module, data: Data, shape: tuple[int, ...], stem: Path) -> Files:
    """The network is exported to ``stem.onnx`` and fused to ``stem.fused.onnx``; both name the classes.

    Args:
        network: in eval mode, on the CPU.
        data: what it was trained on.
        shape: n  c  size  size of an input; the files take any n.
        stem: path without a suffix.

    Raises:
        CheckError: torch cannot export the network.
        ModelError: a file cannot be written.
    """
    original = exported(network, shape)
    onnx.helper.set_model_props(original, {"classes": json.dumps(data.classes)})
    files = stem.with_name(f"{stem.name}.onnx"), stem.with_name(f"{stem.name}.fused.onnx")
    save_model(original, files[0])
    fusion = fuse(files[0])
    save_model(fusion.model, files[1])
    nodes = (len(original.graph.node), len(fusion.model.graph.node))
    return Files(*files, nodes, len(fusion.regions))


def judge(network: nn.Module, files: Files, data: Data, *, batch_size: int, threads: int) -> Verdict:
    """What the network and its two files see in every test image."""
    predictions = {
        AS_TRAINED: seen_by_torch(network, data.test, batch_size),
        EXPORTED: seen_by_onnxruntime(files.exported, data.test, batch_size, threads),
        FUSED: seen_by_onnxruntime(files.fused, data.test, batch_size, threads),
    }
    return Verdict(data.classes, data.test, predictions)


def seen_by_torch(network: nn.Module, images: ImageSet, batch_size: int) -> Positions:
    """The class that a network in eval mode sees in each image."""
    device = next(network.parameters()).device
    with torch.no_grad():
        seen = [network(batch.to(device)).argmax(1).cpu() for batch, _ in images.in_order(batch_size)]
    positions: Positions = torch.cat(seen).numpy()
    return positions


def seen_by_onnxruntime(model: Path, images: ImageSet, batch_size: int, threads: int) -> Positions:
    """The class that an ONNX file sees in each image, with all of onnxruntime's own optimizations."""
    session = open_session(str(model), level=LEVEL, threads=threads)
    seen = [
        session.run({INPUT: np.ascontiguousarray(batch)})[OUTPUT].argmax(1) for batch, _ in images.in_order(batch_size)
    ]
    return np.concatenate(seen)


def race(files: Files, data: Data, *, batch_size: int, threads: int, seconds: float) -> Latency:
    """Latencies of the two files on the first test images, in pairs."""
    images, _ = next(data.test.in_order(batch_size))
    inputs = {INPUT: np.ascontiguousarray(images)}
    return benchmark(files.exported, files.fused, inputs=inputs, threads=threads, seconds=seconds)


def lines(files: Files, verdict: Verdict, latency: Latency) -> list[str]:
    """Files, accuracies and throughputs as a user reads them."""
    batch = latency.conditions.batch
    speeds = {EXPORTED: latency.before, FUSED: latency.after}
    count = len(verdict.test)
    total = f"right of {count:,}"
    rows = [f"{'':<22}{total:>16}{'accuracy':>12}{'images/s':>12}"]
    for form in verdict.predictions:
        right = verdict.right(form)
        speed = f"{batch * 1e9 / speeds[form].median_ns:,.0f}" if form in speeds else ""
        rows.append(f"{form:<22}{right:>16,}{right / count:>12.2%}{speed:>12}".rstrip())
    before, after = files.nodes
    folded = f"{files.regions} regions folded, {before} nodes became {after}"
    return [f"exported {files.exported}", f"fused    {files.fused}", folded, "", *rows, "", latency.sentence]


def agreement(verdict: Verdict) -> list[str]:
    """Whether all forms see the same, and the first images in which they do not."""
    differences = verdict.differences()
    if not differences:
        return [f"predictions are identical for all {len(verdict.test):,} test images"]
    more = [f"and {len(differences) - SHOWN:,} more"] if len(differences) > SHOWN else []
    return [f"predictions differ {len(differences):,} times:", *differences[:SHOWN], *more]
