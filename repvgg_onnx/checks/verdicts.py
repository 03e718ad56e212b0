"""What is said of the outputs of two models that were compared."""

import math
from dataclasses import dataclass
from typing import Literal

from repvgg_onnx.checks.agreement import Agreement
from repvgg_onnx.checks.inner import InnerParity
from repvgg_onnx.checks.precision import FLOATS

DecidedBy = Literal["tolerance", "noise", "inner tensors"]


@dataclass(frozen=True)
class OutputParity:
    """How one output of the second model compares with the original's.

    Attributes:
        name: tensor name.
        dtype: numpy's name of the original's type; ``sequence`` or ``map`` for what is not a tensor.
        shape: of the original's output in the worst run; empty for what is not a tensor.
        error: worst over the feeds and levels that decide, or over all where none does. Floating point: normalized
            error, or the error over the width of the range that the values lie in. Everything else: fraction of the
            elements that differ.
        tolerance: error up to which it passes whatever its noise.
        passed: whether it passed.
        worst_feed: label of the feed with the worst error.
        worst_level: onnxruntime optimization level with the worst error.
        reason: why the error is infinite, or why nothing could be decided, in words; empty otherwise.
        noise: how far the original's output differs from itself on the worst feed, measured as the error is.
        range: width of the range that errors are measured against; None where it is the largest value.
        decided_by: ``tolerance``, or ``noise`` where an error above it is one that the original has too, or
            ``inner tensors`` where no feed decides.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    error: float
    tolerance: float
    passed: bool
    worst_feed: str
    worst_level: str
    reason: str = ""
    noise: float = 0.0
    range: float | None = None
    decided_by: DecidedBy = "tolerance"

    @property
    def difference(self) -> str:
        """How the output differs, in words."""
        return f"output {self.name!r}: {self.reason or f'error {self.error:.2g} is above {self.tolerance:.2g}'}"

    @property
    def remark(self) -> str:
        """What there is to say of an output that its inputs do not determine well, in one sentence; empty otherwise."""
        if math.isinf(self.error) and self.passed:
            return f"output {self.name!r} is all NaN and infinity on these inputs"
        if self.dtype not in FLOATS and self.decided_by == "inner tensors":
            return (
                f"output {self.name!r} jumps: the original itself gives other values when its inputs move by a few "
                "units in the last place"
            )
        if self.noise > self.tolerance and self.dtype in FLOATS:
            return f"these inputs do not determine output {self.name!r} to better than {self.noise:.1e}"
        return ""


@dataclass(frozen=True)
class Parity:
    """How the outputs of two models compare.

    Attributes:
        outputs: one entry for each output that either model has, the original's order first.
        feeds: labels of what the models were fed.
        levels: onnxruntime optimization levels at which both were run.
        tolerance_reason: the tolerance and where it comes from.
        agreements: how the classes compare, for each output that looks like logits; on the user's inputs where there
            are any. They are for information and decide nothing.
        inner: tensors that were compared inside the models, because an output alone does not tell; in the original's
            order.
        remarks: what else is to be known, in sentences, such as a level at which the original is not finite.
    """

    outputs: tuple[OutputParity, ...]
    feeds: tuple[str, ...]
    levels: tuple[str, ...]
    tolerance_reason: str
    agreements: tuple[Agreement, ...] = ()
    inner: tuple[InnerParity, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every output passed."""
        return all(output.passed for output in self.outputs)

    @property
    def worst(self) -> OutputParity:
        """The output with the largest error, of those that did not pass if there are any; there must be an output."""
        return max(self.outputs, key=lambda output: (not output.passed, output.error))

    @property
    def error(self) -> float:
        """Worst error of any output that is decided by itself, and of the inner tensors that decide about others."""
        own = [output.error for output in self.outputs if output.decided_by != "inner tensors" or not output.passed]
        return max([*own, *(tensor.error for tensor in self.inner)], default=0.0)

    @property
    def noise(self) -> float:
        """The original's own noise, worst over the outputs."""
        return max((output.noise for output in self.outputs), default=0.0)
