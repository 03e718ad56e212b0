"""Changes of shape behind a map: Reshape, Flatten, Squeeze, Unsqueeze and Transpose that keep the channels apart.

Where every number stays in its channel, a gain and an offset per channel commute with the change of shape, and so does
a matrix on the channels. They go into the kernel before it, and the change of shape is written again behind the kernel.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import onnx

CHANGES_OF_SHAPE = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
MIXED = -1
"""Meaning of an axis that a change of shape made of others; only the channels are followed there."""

Dim: TypeAlias = int | tuple[str, int]
"""Size of an axis, or a symbol for one that is not known before the model runs."""


@dataclass(frozen=True)
class Step:
    """A node that changes the shape and moves no number out of its channel.

    Attributes:
        op_type: the ONNX operator.
        attributes: the protobuf attributes, serialized.
        shape: the second input: its numbers, the name of a tensor that is computed at run time, or None.
        names_channels: whether the step says how many channels there are.
        index: of the node.
        proto: the node, of which everything but its inputs and outputs is written again.
    """

    op_type: str
    attributes: tuple[bytes, ...]
    shape: tuple[int, ...] | str | None
    names_channels: bool
    index: int = field(compare=False)
    proto: onnx.NodeProto = field(compare=False, repr=False)


@dataclass(frozen=True)
class Point:
    """A stage between a map and the end of its tail.

    Attributes:
        tensor: a tensor of the graph that has the shape of this stage.
        axes: the meaning of its axes.
    """

    tensor: str
    axes: tuple[int, ...]


@dataclass(frozen=True)
class Tail:
    """Changes of shape after a map, one after the other.

    Attributes:
        map_axes: meaning of the axes of the map's own result.
        steps: at least one.
        points: what each step reads; the first has the shape of the map's own result.
    """

    map_axes: tuple[int, ...]
    steps: tuple[Step, ...]
    points: tuple[Point, ...] = field(compare=False)

    @property
    def names_channels(self) -> bool:
        """Whether the number of channels is written into a step, so that it may not change."""
        return any(step.names_channels for step in self.steps)

    @property
    def computed_shapes(self) -> frozenset[str]:
        """Tensors that are computed at run time and say what shape to give."""
        return frozenset(step.shape for step in self.steps if isinstance(step.shape, str))

    def upto(self, point: int) -> "Tail | None":
        """The steps before a point; None where there are none."""
        return Tail(self.map_axes, self.steps[:point], self.points[:point]) if point else None


def extended(tail: Tail | None, step: Step, point: Point) -> Tail:
    """The tail with one more step, which reads the tensor of the point."""
    if tail is None:
        return Tail(point.axes, (step,), (point,))
    return Tail(tail.map_axes, (*tail.steps, step), (*tail.points, point))


def channel_axis_after(before: Sequence[Dim], channel_axis: int, after: Sequence[Dim]) -> int | None:
    """Where the channels are after elements in the same order have got another shape; None where they are not one axis.

    Element ``(p, c, q)`` of ``P  C  Q`` stays in channel c exactly if the new shape falls into ``P  C  Q`` as well.
    Two of the three are enough, since the number of elements is the same.

    Args:
        before: sizes; the channels' is known.
        channel_axis: where the channels are.
        after: sizes after.
    """
    if 0 in before or 0 in after:
        return None
    outer, inner = _product(before[:channel_axis]), _product(before[channel_axis + 1 :])
    fitting = []
    for axis, size in enumerate(after):
        agreed = (_product(after[:axis]) == outer, size == before[channel_axis], _product(after[axis + 1 :]) == inner)
        if sum(agreed) >= 2:
            fitting.append(axis)
    return 1 if 1 in fitting else next(iter(fitting), None)


def is_same_shape(before: Sequence[Dim], after: Sequence[Dim]) -> bool:
    """Whether two shapes of as many elements are the same: all axes but one agree, and so that one does."""
    if len(before) != len(after) or 0 in before or 0 in after:
        return False
    others = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]]
    return len(others) < 2 and not any(isinstance(one, int) and isinstance(other, int) for one, other in others)


def _product(dims: Sequence[Dim]) -> tuple[int, tuple[tuple[str, int], ...]]:
    """A product of sizes in normal form: its known part, and its symbols in order."""
    known, symbols = 1, []
    for size in dims:
        if isinstance(size, int):
            known *= size
        else:
            symbols.append(size)
    return known, tuple(sorted(symbols))
