"""What fuse() is asked for: one frozen value that every stage and every workflow takes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from repvgg_onnx.graph.budget import DEFAULT_MB

Shapes = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class CompileOptions:
    """What is taken for granted about a model, and what its compilation may cost.

    Attributes:
        shapes: sizes of dynamic inputs to count costs with; they decide nothing about exactness.
        assume_inference: rewrites BatchNormalization and Dropout in training mode to inference first, but for those
            whose statistics are placeholders: mean 0 and variance 1 in every channel.
        freeze_initializers: takes initializers that are inputs as well for constants; they are no longer inputs.
        assume_placeholders: rewrites the BatchNormalizations of placeholders as well.
        outputs: the outputs to keep, with what they need; none keeps all.
        max_constant_mb: MiB of constants that may be computed and of weights that may be folded, beyond twice the
            size of the model's own; what would take more is refused.
        below: moves maps of the channels through resizing, pooling, Concat and sums to where they cost least, below the
            form that a network's authors deploy.
    """

    shapes: Shapes | None = None
    assume_inference: bool = False
    freeze_initializers: bool = False
    assume_placeholders: bool = False
    outputs: Collection[str] = ()
    max_constant_mb: int = DEFAULT_MB
    below: bool = True


class CompileKeywords(TypedDict, total=False):
    """The fields of CompileOptions as keyword arguments."""

    shapes: Shapes | None
    assume_inference: bool
    freeze_initializers: bool
    assume_placeholders: bool
    outputs: Collection[str]
    max_constant_mb: int
    below: bool
