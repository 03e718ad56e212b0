"""What models are run on and with: one frozen value that every check takes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from repvgg_onnx.checks.datasets import InputsLike, LabelsLike
from repvgg_onnx.checks.inputs import Feed, Ranges, Shapes, Specs, build_feeds
from repvgg_onnx.checks.session import CPU, ProviderLike, Session, Source, open_session


@dataclass(frozen=True)
class Conditions:
    """Feeds and runtime of a check.

    Attributes:
        shapes: input name to shape, for dynamic axes.
        inputs: further values to feed: input name to array; path of an ``.npz`` or ``.npy`` file or of a folder of
            ONNX test data sets; or several of these.
        ranges: input name to smallest and largest value, for the values that are drawn.
        labels: the class of each row of ``inputs``, or path of an ``.npy`` file of them.
        seeds: one standard-normal feed each.
        provider: onnxruntime execution provider, or its name and its options.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        custom_ops: libraries of operators that onnxruntime itself lacks. Their code is run.
    """

    shapes: Shapes | None = None
    inputs: InputsLike | None = None
    ranges: Ranges | None = None
    labels: LabelsLike | None = None
    seeds: Sequence[int] = (0, 1, 2)
    provider: ProviderLike = CPU
    threads: int = 0
    custom_ops: Sequence[str | os.PathLike[str]] = ()

    def open(self, source: Source, level: str) -> Session:
        """A session of a model at an optimization level; raises as ``open_session`` does."""
        return open_session(
            source, level=level, provider=self.provider, threads=self.threads, custom_ops=self.custom_ops
        )

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
