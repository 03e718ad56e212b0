"""A graph as a law sees it: what is known of its sizes, and what maps and spatial operators cost there."""

import math
from collections.abc import Collection, Sequence
from functools import cached_property

from repvgg_onnx.compiler.below.steps import Step
from repvgg_onnx.compiler.below.terms import NOTHING, VIEWS, Leaf, Part, Several, Tree, cost_in_place, identity
from repvgg_onnx.compiler.cost import TRANSPOSED, width
from repvgg_onnx.compiler.forms import cost_of_form, form_of
from repvgg_onnx.compiler.results import Cost
from repvgg_onnx.compiler.walk import Walk
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.dims import Dims
from repvgg_onnx.graph.view import GraphView, NodeView

SUMS = frozenset({"Add", "Sub", "Sum"})
OF_SHAPES = frozenset({"Cast", "Concat", "Gather", "Mul", "Reshape", "Shape", "Slice", "Squeeze", "Unsqueeze"})
LONGEST_SHAPE = 6  # nodes from a tensor to who is told its shape
COMPUTED_SHAPE = 256  # bytes that are moved to put another number of channels into a shape that is computed


class Sight:
    """A graph, what is known of its tensors, and the search for trees.

    Args:
        graph: what is searched.
        found: which tensors are affine in which roots.
    """

    def __init__(self, graph: GraphView, found: Walk) -> None:
        self.graph, self.found = graph, found
        self._costs: dict[int, int] = {}

    @cached_property
    def dims(self) -> Dims:
        """Sizes of the graph's tensors, equal ones known to be equal."""
        return Dims(self.graph)

    def sizes(self, tensor: str) -> tuple[int, ...]:
        """Every size of a tensor, to count costs with.

        Raises:
            LiftError: one is not known; costs are not guessed here.
        """
        known = self.graph.sizes.get(tensor) or self.graph.types.get(tensor)
        sizes = None if known is None else known.static_shape or self._evaluated(tensor)
        if not sizes or min(sizes) < 1:
            raise LiftError("sizes-unknown", f"the size of {tensor!r} is not known, so that costs cannot be compared")
        return sizes

    def _evaluated(self, tensor: str) -> tuple[int, ...] | None:
        """Sizes that inference left open, by those that they are products of."""
        found = []
        for size in self.dims.shape(tensor) or ():
            total = size.number
            for name, axis in size.symbols:
                known = self.graph.sizes.get(name)
                part = known.shape[axis] if known is not None and known.shape is not None else None
                if part is None:
                    return None
                total *= part
            found.append(total)
        return tuple(found) or None

    def elements(self, tensor: str, axis: int, channels: int) -> int:
        """Elements of a tensor with another number of channels."""
        sizes = self.sizes(tensor)
        return math.prod(sizes) // sizes[axis] * channels

    def is_alone(self, tensor: str, gone: Collection[int]) -> bool:
        """Whether nothing reads the tensor but nodes that go."""
        if self.graph.is_output(tensor):
            return False
        readers = self.graph.readers.get(tensor, ())
        return all(index in gone or self._goes_with(index, gone, LONGEST_SHAPE) for index in readers)

    def _goes_with(self, index: int, gone: Collection[int], depth: int) -> bool:
        """Whether a node asks for a shape, or passes it on, for nodes that go."""
        if index < 0 or depth == 0 or self.graph.nodes[index].op_type not in OF_SHAPES:
            return False
        outputs = self.graph.nodes[index].outputs
        readers = [reader for name in outputs for reader in self.graph.readers.get(name, ())]
        if any(self.graph.is_output(name) for name in outputs):
            return False
        return all(reader in gone or self._goes_with(reader, gone, depth - 1) for reader in readers)

    def cost(self, node: NodeView) -> int:
        """What a node costs, asked once."""
        if node.index not in self._costs:
            self._costs[node.index] = cost_in_place(node).total
        return self._costs[node.index]

    def applied(self, part: Part, sources: Sequence[str], axis: int) -> Leaf:
        """A map of tensors as they are, the channels of several joined first.

        Raises:
            LiftError: no operator multiplies along that axis.
        """
        sizes = self.sizes(sources[0])
        frame, value = identity(sources[0], len(sizes), axis, part.c_in)
        value = value.through(part.conv(value.conv.geometry.rank), frame.sizes)
        inputs = sum(math.prod(self.sizes(source)) for source in sources)
        outputs = self.elements(sources[0], axis, part.c_out)
        bytes_ = width(self.graph, sources[0])
        own = cost_of_form(form_of(frame, value), value, inputs, outputs, bytes_)
        if len(sources) > 1:
            own += Cost(0, 2 * inputs * bytes_)
        return Leaf(tuple(sources), frame, value, part, None, (), own, outputs)

    def cost_of_step(self, step: Step, channels: int) -> Cost:
        """What a spatial operator costs on this many channels: as much as it does now, but for the channels."""
        if step.node.op_type in VIEWS:
            return Cost(0, COMPUTED_SHAPE) if step.names is not None and step.names.computed else NOTHING
        ends = zip((step.source, step.node.outputs[0]), step.channel_axes, strict=True)
        more = sum(self.elements(name, axis, channels) - math.prod(self.sizes(name)) for name, axis in ends)
        factor = TRANSPOSED // 2 if step.node.op_type == "Transpose" else 1
        asked = COMPUTED_SHAPE if step.names is not None and step.names.computed else 0
        return Cost(0, self.cost(step.node) + more * factor * width(self.graph, step.source) + asked)

    def added(self, terms: Sequence[Tree], elements: int, elem_width: int) -> Tree:
        """The sum of things; of one, that."""
        if len(terms) == 1:
            return terms[0]
        return Several(tuple(terms), None, Cost(0, 3 * elements * elem_width * (len(terms) - 1)))
