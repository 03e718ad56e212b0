"""A tensor as a sum of maps of earlier tensors, each behind its spatial operators: what a law writes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.affine.words import words_of
from repvgg_onnx.compiler.below.steps import Step
from repvgg_onnx.compiler.cost import cost_of_node
from repvgg_onnx.compiler.forms import Form, form_of
from repvgg_onnx.compiler.results import Cost
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView

VIEWS = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
NOTHING = Cost(0, 0)


@dataclass(frozen=True, eq=False)
class Part:
    """A linear map of the channels, whatever the other axes are.

    Attributes:
        c_out: channels that it makes.
        c_in: channels that it reads.
        group: number of groups.
        matrix: gives its weights, c_out  c_in/group.
        words: what it is.
    """

    c_out: int
    c_in: int
    group: int
    matrix: Callable[[], Array]
    words: str

    @classmethod
    def of(cls, value: Value) -> "Part":
        """The linear part of a value whose map is pointwise."""
        place = value.conv.geometry
        shape = (place.c_out, place.c_in // place.group)
        return cls(place.c_out, place.c_in, place.group, lambda: value.conv.kernel.reshape(shape), value.terms[0])

    @property
    def is_diagonal(self) -> bool:
        """Whether it is one gain per channel."""
        return self.group == self.c_in == self.c_out

    def conv(self, rank: int) -> AffineConv:
        """The map on this many spatial axes."""
        geometry = Geometry.pointwise(self.c_out, self.c_in, self.group, rank)
        return AffineConv.deferred(geometry, lambda: self.matrix().reshape(geometry.kernel_dims), word=self.words)

    def of_channels(self, start: int, stop: int) -> "Part":
        """What it makes of some of the channels that it reads: of a diagonal map those, of a dense one all."""
        if self.is_diagonal:
            return Part(stop - start, stop - start, stop - start, lambda: self.matrix()[start:stop], self.words)
        return replace(self, c_in=stop - start, matrix=lambda: self.matrix()[:, start:stop])

    def negated(self) -> "Part":
        """The map times −1."""
        return replace(self, matrix=lambda: -self.matrix())

    def beside(self, other: "Part") -> "Part":
        """What both dense maps make of channels that stand one behind the other."""
        columns = lambda: np.concatenate([self.matrix(), other.matrix()], axis=1)  # noqa: E731
        return replace(self, c_in=self.c_in + other.c_in, matrix=columns)


@dataclass(frozen=True, eq=False)
class Leaf:
    """A map of tensors of the graph, written as one node, perhaps with others around it.

    Attributes:
        sources: the tensors; the channels of several are joined first.
        frame: how the axes of what the map reads are read; its root stands for what is made of the sources.
        value: the map.
        part: the last map in it, where it is that of the sources alone; None where others are composed with it.
        step: what stands between the sources and the map; None for nothing.
        absorbed: nodes that the map stands for besides.
        own: cost of its nodes.
        elements: elements of what it makes.
    """

    sources: tuple[str, ...]
    frame: Frame
    value: Value
    part: Part | None
    step: Step | None
    absorbed: tuple[NodeView, ...]
    own: Cost
    elements: int

    @property
    def cost(self) -> Cost:
        """Of everything."""
        return self.own

    @property
    def leaves(self) -> "tuple[Leaf, ...]":
        """Itself."""
        return (self,)

    @property
    def form(self) -> Form:
        """The operator that the map is written as."""
        return form_of(self.frame, self.value)

    @property
    def has_free_bias(self) -> bool:
        """Whether its operator adds a term at no cost."""
        return self.form.op_type != "MatMul"


@dataclass(frozen=True, eq=False)
class Through:
    """A spatial operator applied to something.

    Attributes:
        step: the operator.
        inner: what it is applied to.
        channels: what passes through it.
        own: its cost.
    """

    step: Step
    inner: "Tree"
    channels: int
    own: Cost

    @cached_property
    def cost(self) -> Cost:
        """Of everything."""
        return self.own + self.inner.cost

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """Every map inside."""
        return self.inner.leaves


@dataclass(frozen=True, eq=False)
class Several:
    """A sum of things, or things one behind the other on the channel axis.

    Attributes:
        parts: at least two.
        stacked_on: the axis of the channels where they stand one behind the other; None for a sum.
        own: cost of what joins them.
    """

    parts: "tuple[Tree, ...]"
    stacked_on: int | None
    own: Cost

    @cached_property
    def cost(self) -> Cost:
        """Of everything."""
        return sum((part.cost for part in self.parts), self.own)

    @cached_property
    def leaves(self) -> tuple[Leaf, ...]:
        """Every map inside."""
        return tuple(leaf for part in self.parts for leaf in part.leaves)


Tree: TypeAlias = Leaf | Through | Several


def cost_in_place(node: NodeView) -> Cost:
    """Cost of a node that may be replaced; runtimes copy nothing where elements stay in their order."""
    return NOTHING if node.op_type in VIEWS else cost_of_node(node)


def on_rank(conv: AffineConv, rank: int) -> AffineConv:
    """A map of the channels on another number of spatial axes."""
    place = conv.geometry
    geometry = Geometry.pointwise(place.c_out, place.c_in, place.group, rank)
    word = " → ".join(words_of(conv.expression))
    return AffineConv.deferred(
        geometry, lambda: conv.kernel.reshape(geometry.kernel_dims), lambda: conv.bias, word=word
    )


def identity(root: str, rank: int, axis: int, channels: int) -> tuple[Frame, Value]:
    """A tensor as itself, with its channels on the second or the last axis.

    Raises:
        LiftError: they are elsewhere.
    """
    if rank < 2 or axis not in (1, rank - 1):
        raise LiftError("layout", "the channels are neither the second nor the last axis")
    axes = tuple(range(rank)) if axis == 1 else (0, *range(2, rank), 1)
    return Frame(root, axes, (None,) * (rank - 2)), Value(AffineConv.identity(channels, rank - 2), axes)
