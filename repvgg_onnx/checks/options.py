"""What models are run on and with: frozen values that every check takes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from repvgg_onnx.checks.datasets import InputsLike, LabelsLike
from repvgg_onnx.checks.inputs import Feed, Ranges, Shapes, Specs, build_feeds
from repvgg_onnx.checks.session import CPU, Loadable, ProviderLike, Session, open_session


@dataclass(frozen=True)
class RunOptions:
    """Feeds and runtime.

    Attributes:
        shapes: input name to shape, for dynamic axes.
        inputs: values to feed: input name to array; path of an ``.npz`` or ``.npy`` file or of a folder of ONNX test
            data sets; or several of these. None has them drawn.
        ranges: input name to smallest and largest value, for the values that are drawn.
        provider: onnxruntime execution provider, or its name and its options.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        custom_ops: libraries of operators that onnxruntime itself lacks. Their code is run.
    """

    shapes: Shapes | None = None
    inputs: InputsLike | None = None
    ranges: Ranges | None = None
    provider: ProviderLike = CPU
    threads: int = 0
    custom_ops: Sequence[str | os.PathLike[str]] = ()

    def open(self, source: Loadable, level: str) -> Session:
        """A session of a model at an optimization level; raises as ``open_session`` does."""
        return open_session(
            source, level=level, provider=self.provider, threads=self.threads, custom_ops=self.custom_ops
        )


@dataclass(frozen=True)
class CheckOptions(RunOptions):
    """How outputs are compared.

    Attributes:
        labels: the class of each row of ``inputs``, or path of an ``.npy`` file of them.
        seeds: one standard-normal feed each, beside ``inputs``.
        tolerance: largest error that passes, whatever the noise; None has it follow from the model's types.
    """

    labels: LabelsLike | None = None
    seeds: Sequence[int] = (0, 1, 2)
    tolerance: float | None = None

    def feeds(self, specs: Specs, white: Mapping[str, float]) -> tuple[Feed, ...]:
        """What a model with these inputs is fed; raises as ``build_feeds`` does.

        Args:
            specs: what the model takes.
            white: by input, the value that stands for white in a picture.
        """
        return build_feeds(
            specs,
            shapes=self.shapes,
            inputs=self.inputs,
            ranges=self.ranges,
            labels=self.labels,
            seeds=self.seeds,
            white=white,
        )


class RunKeywords(TypedDict, total=False):
    """The fields of RunOptions as keyword arguments."""

    shapes: Shapes | None
    inputs: InputsLike | None
    ranges: Ranges | None
    provider: ProviderLike
    threads: int
    custom_ops: Sequence[str | os.PathLike[str]]


class CheckKeywords(RunKeywords, total=False):
    """The fields of CheckOptions as keyword arguments."""

    labels: LabelsLike | None
    seeds: Sequence[int]
    tolerance: float | None
