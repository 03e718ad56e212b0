"""What a network costs, and how many times as fast as another one it runs here."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from networks import INPUT
from published import COLUMNS, Cost, printed

from repvgg_onnx.census import profile
from repvgg_onnx.checks import latency
from repvgg_onnx.checks.inputs import build_feeds
from repvgg_onnx.checks.session import open_session
from repvgg_onnx.checks.statistics import paired_ratio, summarize

Sized = tuple[Path, int]
"""A file, and height and width of the images that it is fed."""


@dataclass(frozen=True)
class Counts:
    """What an ONNX file costs for one image.

    Attributes:
        parameters: Params of the paper.
        macs: its Theo FLOPs, multiply-adds.
        winograd_multiplications: its Wino MULs, where every 3×3 convolution of stride 1 is done as F(2×2, 3×3).
    """

    parameters: int
    macs: int
    winograd_multiplications: int

    def as_printed(self) -> dict[str, float]:
        """The columns of the paper, to its digits."""
        values = (self.parameters, self.macs, self.winograd_multiplications)
        return {column: printed(column, value) for column, value in zip(COLUMNS, values, strict=True)}

    def differences(self, published: Cost) -> list[str]:
        """The columns that the paper has otherwise."""
        return [column for column, own in self.as_printed().items() if published[column] not in (own, None)]


@dataclass(frozen=True)
class Speed:
    """Two networks measured in turns in one process.

    Attributes:
        ratio: examples per second of the network over those of the reference, the median over pairs of runs.
        low: lower end of the ratio's 95 % interval.
        high: upper end.
        examples_per_second: of the network, at its median latency.
        reference_examples_per_second: of the reference.
        pairs: how often both ran, one right after the other.
    """

    ratio: float
    low: float
    high: float
    examples_per_second: float
    reference_examples_per_second: float
    pairs: int


def count(path: Path, size: int) -> Counts:
    """The cost of the file for one image of ``size`` × ``size``."""
    found = profile(path, shapes={INPUT: (1, 3, size, size)})
    return Counts(found.parameters, found.macs, found.winograd_multiplications)


def race(reference: Sized, network: Sized, *, batch: int, threads: int, seconds: float) -> Speed:
    """The speed of ``network`` in a process of its own, so that no measurement sees what another one left.

    Args:
        reference: file and image size of what it is compared with.
        network: file and image size of what is measured.
        batch: images at a time.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        seconds: bound of the measured part; six pairs are run in any case.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as process:
        return process.submit(_race, (reference, network), batch, threads, seconds).result()


def _race(pair: tuple[Sized, Sized], batch: int, threads: int, seconds: float) -> Speed:
    makers = [partial(_ready, str(path), (batch, 3, size, size), threads) for path, size in pair]
    legs = latency.race(makers, seconds=seconds)
    ratio = paired_ratio(legs)
    before, after = (batch * 1e9 / summarize(samples_ns).median_ns for samples_ns in np.concatenate(legs).T)
    return Speed(ratio.speedup, ratio.low, ratio.high, after, before, pairs=sum(map(len, legs)))


def _ready(path: str, shape: tuple[int, ...], threads: int) -> Callable[[], object]:
    session = open_session(path, level=latency.LEVEL, threads=threads)
    return session.prepare(build_feeds(session.inputs, shapes={INPUT: shape}, seeds=(0,))[0].values)
