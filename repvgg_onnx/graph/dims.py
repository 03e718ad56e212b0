"""Sizes of axes as products of symbols, so that equal ones are known to be equal although no number is.

Exporters of dynamic models write ``Reshape(x, [Shape(y)[0], -1, Shape(y)[2], Shape(y)[3]])``. A size computed so
is the size that it is computed from, and one that is left open is what is left of the product of the others.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import GraphView, NodeView

MOST_VALUES = 16  # elements of a tensor of whole numbers that are followed
KEEPING = frozenset(
    {
        *("Abs", "BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu"),
        *("GroupNormalization", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LayerNormalization"),
        *("LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sign", "Sin"),
        *("Softmax", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"),
    }
)
BROADCASTING = frozenset({"Add", "Div", "Mul", "Pow", "Sub"})
BATCHES = frozenset(
    {
        *("AveragePool", "ConvTranspose", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "LRN", "MaxPool"),
        *("DepthToSpace", "SpaceToDepth"),
    }
)
"""What keeps the first axis, and it alone for sure."""


class Size(NamedTuple):
    """A product: a number, and symbols in order, each as often as it is a factor."""

    number: int
    symbols: tuple[tuple[str, int], ...] = ()

    @property
    def known(self) -> int | None:
        """The size as a number; None where it has symbols."""
        return None if self.symbols else self.number


Sizes = tuple[Size, ...]


def product(sizes: Sequence[Size]) -> Size:
    """The product of sizes."""
    return Size(prod(size.number for size in sizes), tuple(sorted(each for size in sizes for each in size.symbols)))


def quotient(whole: Size, part: Size) -> Size | None:
    """What times the part is the whole; None where that is not known."""
    rest = Counter(whole.symbols)
    rest.subtract(part.symbols)
    if part.number < 1 or whole.number % part.number or min(rest.values(), default=0) < 0:
        return None
    return Size(whole.number // part.number, tuple(sorted(rest.elements())))


class Dims:
    """Sizes of the tensors of a graph, and the elements of short tensors of whole numbers.

    Args:
        graph: what is looked through once, in its order.
    """

    def __init__(self, graph: GraphView) -> None:
        self._graph = graph
        self._shapes: dict[str, Sizes] = {}
        self._values: dict[str, Sizes] = {}
        for node in graph.nodes:
            if node.outputs and node.outputs[0] not in graph.constants and not node.op_type.count("."):
                self._visit(node)

    def shape(self, tensor: str) -> Sizes | None:
        """Sizes of a tensor; None where even the rank is unknown."""
        if tensor in self._shapes:
            return self._shapes[tensor]
        known = self._graph.shape(tensor)
        return None if known is None else self._named(tensor, known, None)

    def known(self, tensor: str) -> tuple[int | None, ...] | None:
        """Sizes of a tensor as far as they are numbers; None where even the rank is unknown."""
        sizes = self.shape(tensor)
        return None if sizes is None else tuple(size.known for size in sizes)

    def values(self, tensor: str) -> Sizes | None:
        """Elements of a short tensor of whole numbers; None where it is none."""
        if tensor in self._values:
            return self._values[tensor]
        shape = self._graph.constants.shape(tensor) if tensor in self._graph.constants else None
        if shape is None or prod(shape) > MOST_VALUES or len(shape) > 1:
            return None
        value = self._graph.constants.value(tensor)
        if value is None or value.dtype.kind not in "iu":
            return None
        return tuple(Size(int(number)) for number in value.reshape(-1))

    def _visit(self, node: NodeView) -> None:
        output = node.outputs[0]
        sizes = self._sizes(node)
        known = self._graph.shape(output)
        if known is None and sizes is not None and None not in sizes:
            known = (None,) * len(sizes)
        if known is not None:
            self._shapes[output] = self._named(output, known, sizes)
        values = self._elements(node)
        if values is not None and len(values) <= MOST_VALUES:
            self._values[output] = values

    def _named(self, tensor: str, known: Sequence[int | None], sizes: Sequence[Size | None] | None) -> Sizes:
        """Numbers where they are known, what was found elsewhere, and a symbol of its own for the rest."""
        found = sizes if sizes is not None and len(sizes) == len(known) else (None,) * len(known)
        return tuple(
            Size(size) if size is not None else other or Size(1, ((tensor, axis),))
            for axis, (size, other) in enumerate(zip(known, found, strict=True))
        )

    def _sizes(self, node: NodeView) -> list[Size | None] | None:
        """Sizes of what a node makes, by those of what it reads; None for those that are not known."""
        first = self.shape(node.inputs[0]) if node.inputs and node.inputs[0] else None
        if node.op_type in BROADCASTING and len(node.inputs) == 2:
            return self._broadcast(node)
        if first is None:
            return None
        if node.op_type in KEEPING:
            return list(first)
        if node.op_type in BATCHES and not node.attributes.get("transA", 0):
            return [first[0], *[None] * (self._rank(node.outputs[0]) - 1)]
        rule = _SHAPES.get(node.op_type)
        return None if rule is None else rule(self, node, first)

    def _rank(self, tensor: str) -> int:
        return len(self._graph.shape(tensor) or (None,))

    def _broadcast(self, node: NodeView) -> list[Size | None] | None:
        sides = [self.shape(name) for name in node.inputs]
        if sides[0] is None or sides[1] is None:
            return None
        rank = max(map(len, sides))  # type: ignore[arg-type]  # neither is None
        filled = [(Size(1),) * (rank - len(side or ())) + (side or ()) for side in sides]
        return [
            one if other == Size(1) or one == other else other if one == Size(1) else None
            for one, other in zip(*filled, strict=True)
        ]

    def _reshaped(self, node: NodeView, first: Sizes) -> list[Size | None] | None:
        target = self.values(node.inputs[1]) if node.has_input(1) else None
        if target is None or (node.attributes.get("allowzero", 0) and Size(0) in target):
            return None
        sizes: list[Size | None] = []
        for axis, size in enumerate(target):
            copied = first[axis] if axis < len(first) else None
            sizes.append(copied if size == Size(0) else None if size == Size(-1) else size)
        others = [size for size in sizes if size is not None]
        if len(others) == len(sizes) - 1:
            sizes[sizes.index(None)] = quotient(product(first), product(others))
        return sizes

    def _transposed(self, node: NodeView, first: Sizes) -> list[Size | None] | None:
        order = node.attributes.get("perm", range(len(first))[::-1])
        return [first[axis] for axis in order] if sorted(order) == list(range(len(first))) else None

    def _multiplied(self, node: NodeView, first: Sizes) -> list[Size | None] | None:
        if not node.is_constant(1) or len(node.constant_shape(1)) != 2 or len(first) < 2:
            return None
        return [*first[:-1], Size(node.constant_shape(1)[1])]

    def _joined(self, node: NodeView, first: Sizes) -> list[Size | None] | None:
        axis = node.attributes["axis"] % len(first)
        shapes = [self.shape(name) for name in node.inputs]
        parts = [shape[axis].known if shape is not None and len(shape) == len(first) else None for shape in shapes]
        known = [part for part in parts if part is not None]
        whole = Size(sum(known)) if len(known) == len(parts) else None
        return [whole if index == axis else size for index, size in enumerate(first)]

    def _convolved(self, node: NodeView, first: Sizes) -> list[Size | None] | None:
        """A convolution whose pads make up for its kernel keeps an axis as it is."""
        kernel = self._graph.constants.shape(node.inputs[1]) if node.is_constant(1) else None
        if kernel is None or len(kernel) != len(first) or len(kernel) < 3:
            return None
        try:
            place = node.conv_geometry(kernel[2:])
        except LiftError:
            return [first[0], *[None] * (len(first) - 1)]
        rank = len(kernel) - 2
        spans = [dilation * (count - 1) for dilation, count in zip(place.dilations, kernel[2:], strict=True)]
        pads = [place.pads[axis] + place.pads[axis + rank] for axis in range(rank)]
        same = [stride == 1 and span == pad for stride, span, pad in zip(place.strides, spans, pads, strict=True)]
        kept = [size if keeps else None for size, keeps in zip(first[2:], same, strict=True)]
        return [first[0], Size(kernel[0]), *kept]

    def _resized(self, node: NodeView, first: Sizes) -> list[Size | None] | None:
        """Only sizes say how large an axis will be; scales say so of an axis that they leave as it is."""
        if node.attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch" or "axes" in node.attributes:
            return None
        if node.has_input(3):
            asked = self.values(node.inputs[3])
            return None if asked is None or len(asked) != len(first) else list(asked)
        index = 2 if len(node.inputs) > 2 else 1
        if not node.is_constant(index):
            return None
        scales = node.raw_constant(index).reshape(-1)
        if len(scales) != len(first):
            return None
        return [size if scale == 1 else None for size, scale in zip(first, scales, strict=True)]

    def _elements(self, node: NodeView) -> Sizes | None:
        """Elements of what a node makes, if that is a short tensor of whole numbers."""
        if node.op_type == "Shape":
            sizes = self.shape(node.inputs[0])
            start, end = node.attributes.get("start", 0), node.attributes.get("end")
            return None if sizes is None else sizes[start:end]
        rule = _VALUES.get(node.op_type)
        known = [self.values(name) for name in node.inputs[:1]] if rule is not None else []
        if rule is None or (known[0] is None and node.op_type != "Concat"):
            return None
        return rule(self, node, known[0] or ())

    def _gathered(self, node: NodeView, first: Sizes) -> Sizes | None:
        if not node.is_constant(1) or node.attributes.get("axis", 0) != 0:
            return None
        places = np.asarray(node.raw_constant(1)).reshape(-1)
        if any(not -len(first) <= place < len(first) for place in places):
            return None
        return tuple(first[int(place)] for place in places)

    def _sliced(self, node: NodeView, first: Sizes) -> Sizes | None:
        if "starts" in node.attributes:
            bounds = [list(node.attributes["starts"]), list(node.attributes["ends"]), [1]]
        elif all(node.is_constant(index) for index in range(1, len(node.inputs)) if node.has_input(index)):
            given = [np.asarray(node.raw_constant(index)).reshape(-1).tolist() for index in (1, 2)]
            step = np.asarray(node.raw_constant(4)).reshape(-1).tolist() if node.has_input(4) else [1]
            bounds = [*given, step]
        else:
            return None
        if any(len(each) != 1 for each in bounds) or bounds[2][0] < 1:
            return None
        return first[bounds[0][0] : bounds[1][0] : bounds[2][0]]

    def _listed(self, node: NodeView, first: Sizes) -> Sizes | None:
        parts = [self.values(name) for name in node.inputs]
        if node.attributes.get("axis") not in (0, -1):
            return None
        known = [part for part in parts if part is not None]
        return tuple(size for part in known for size in part) if len(known) == len(parts) else None

    def _products(self, node: NodeView, first: Sizes) -> Sizes | None:
        other = self.values(node.inputs[1])
        if other is None or len(first) != 1 or len(other) != 1 or min(first[0].number, other[0].number) < 0:
            return None
        return (product([first[0], other[0]]),)

    def _same(self, node: NodeView, first: Sizes) -> Sizes | None:
        return first if node.op_type != "Cast" or node.attributes.get("to") in (6, 7) else None


_SHAPES: dict[str, Callable[[Dims, NodeView, Sizes], list[Size | None] | None]] = {
    "Concat": Dims._joined,
    "Conv": Dims._convolved,
    "MatMul": Dims._multiplied,
    "Reshape": Dims._reshaped,
    "Resize": Dims._resized,
    "Transpose": Dims._transposed,
}
_VALUES: dict[str, Callable[[Dims, NodeView, Sizes], Sizes | None]] = {
    "Cast": Dims._same,
    "Concat": Dims._listed,
    "Gather": Dims._gathered,
    "Identity": Dims._same,
    "Mul": Dims._products,
    "Reshape": Dims._same,
    "Slice": Dims._sliced,
    "Squeeze": Dims._same,
    "Unsqueeze": Dims._same,
}
