"""A region before it is folded: what it is made of, what it removes, and what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from repvgg_onnx.compiler.cost import elements, width
from repvgg_onnx.compiler.forms import Form, cost_of_form, form_of, written_bytes
from repvgg_onnx.compiler.lifters import is_renaming
from repvgg_onnx.compiler.removal import Removal, Removals
from repvgg_onnx.compiler.results import Cost
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.compiler.walk import Candidate
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import GraphView, NodeView

MOST_GROWTH = 16  # times the bytes that weights are computed from; a file must not grow ten-thousandfold for one Mul
ALWAYS_WRITTEN = 2**12  # bytes that may be written whatever they are computed from


@dataclass(frozen=True, eq=False)
class Plan:
    """A region before it is folded.

    Attributes:
        graph: what it is a region of.
        frame: the root and how its axes are read.
        sink: tensor that the region computes.
        candidate: the sink as a map of the root, and what makes it so.
        form: the operator that the map is written as.
        removal: what goes.
        after: cost of one node in their place.
    """

    graph: GraphView
    frame: Frame
    sink: str
    candidate: Candidate
    form: Form
    removal: Removal
    after: Cost

    @property
    def before(self) -> Cost:
        """Cost of the removed nodes."""
        return self.removal.cost

    @property
    def value(self) -> Value:
        """The sink as a map of the root."""
        return self.candidate.value

    @property
    def last(self) -> NodeView:
        """The member that makes the sink."""
        return self.graph.makers[self.sink]

    @cached_property
    def members(self) -> tuple[NodeView, ...]:
        """Nodes that the map stands for, in graph order."""
        return tuple(_nodes(self.graph, self.candidate))

    @cached_property
    def removed(self) -> frozenset[int]:
        """Indices of the members that nothing else needs, and of the nodes that compute only their weights."""
        return _removable(self.graph, [*self.feeding, *self.members])

    @property
    def feeding(self) -> list[NodeView]:
        """Nodes that compute the weights of the members."""
        return _feeding(self.graph, self.members, self.value)

    @property
    def saving(self) -> int:
        """What the fold saves, in multiply-adds plus bytes."""
        return self.before.total - self.after.total

    @property
    def span(self) -> int:
        """Nodes from the root to the sink in the graph's order: of regions with one sink, the smallest spans least."""
        maker = self.graph.makers.get(self.frame.root)
        return self.last.index - (-1 if maker is None else maker.index)


def plan_of(graph: GraphView, removals: Removals, sink: str, frame: Frame, candidate: Candidate) -> Plan | None:
    """The region that ends in this tensor; None where it is a lone node, has no kernel, or shares its last node.

    A lone node whose weights are computed anew at every run is a region too. What would be written as the same
    operators is none, even if sizes that contradict each other make it look cheaper: it would be folded for ever.
    """
    if not candidate.weighs or candidate.node is None:
        return None
    if any(graph.readers.get(name) or graph.is_output(name) for name in candidate.node.outputs if name != sink):
        return None
    if candidate.work < 2 and not candidate.computes:
        return None
    if candidate.work < 2 and any(
        node.op_type == "DequantizeLinear" for node in _feeding(graph, _nodes(graph, candidate), candidate.value)
    ):
        return None  # to store the weights as they are used would only make the file larger
    tail = candidate.value.tail
    if tail is not None and candidate.node.index == tail.steps[-1].index:
        return None  # the region without its last change of shape is the same
    form = form_of(frame, candidate.value)
    if candidate.asks:  # what asks for shapes at run time may have to stay
        nodes = _nodes(graph, candidate)
        removal = removals.of_nodes(_removable(graph, [*_feeding(graph, nodes, candidate.value), *nodes]), frame)
    else:
        removal = removals.of(candidate.node, frame)
    # Fewer nodes are left, or a kernel is folded that was not, so that repeating the search comes to an end. Costs
    # alone do not see to that: where sizes are unknown they are guesses.
    makes_progress = form.count(candidate.value) < removal.count or not candidate.is_settled
    if form.steps and candidate.maps < 2:
        makes_progress = False  # changes of shape behind the kernel instead of before it gain nothing by themselves
    if not makes_progress or not _can_write(graph, form):
        return None
    if candidate.computes:
        _require_small_growth(graph, candidate, written_bytes(candidate.value, form.group, width(graph, sink)))
    sizes = (elements(graph, frame.root), elements(graph, sink), width(graph, sink))
    return Plan(graph, frame, sink, candidate, form, removal, cost_of_form(form, candidate.value, *sizes))


def _nodes(graph: GraphView, candidate: Candidate) -> list[NodeView]:
    """Members of a candidate in graph order."""
    return [graph.nodes[index] for index in sorted(candidate.members)]


def _require_small_growth(graph: GraphView, candidate: Candidate, written: int) -> None:
    """Makes sure that the file does not grow out of proportion where it only says how its weights are computed.

    Raises:
        LiftError: it would.
    """
    names = {node.inputs[index] for node in _nodes(graph, candidate) for index in node.constant_inputs}
    stored = graph.constants.stored_bytes(names)
    if written > max(MOST_GROWTH * stored, ALWAYS_WRITTEN):
        sentence = (
            f"its weights are computed from {stored:,} bytes, and would take {written:,} bytes of the file as one node"
        )
        raise LiftError("file-grows", sentence)


def _can_write(graph: GraphView, form: Form) -> bool:
    """Whether the form means what it should in the model's opset: up to 6 a bias did not broadcast by itself."""
    return graph.opset >= 7 or (form.op_type in ("Conv", "ConvTranspose") and form.lead is None)


def _feeding(graph: GraphView, members: Sequence[NodeView], value: Value) -> list[NodeView]:
    """Nodes that compute constants of the members from other constants, or a shape that is not asked for any more.

    Other names for a constant are not work.
    """
    names = (node.inputs[index] for node in members for index in node.constant_inputs)
    constant = graph.constants.expression_nodes(names)
    asked = set() if value.tail is None else value.tail.computed_shapes
    shapes = (graph.makers.get(node.inputs[1]) for node in members if node.op_type == "Reshape" and node.has_input(1))
    found = {node.index for node in shapes if node is not None and node.op_type == "Shape"}
    unasked = {index for index in found if not asked & set(graph.nodes[index].outputs)}
    return [node for index in constant | unasked if not is_renaming((node := graph.nodes[index]).op_type)]


def _removable(graph: GraphView, nodes: Sequence[NodeView]) -> frozenset[int]:
    """Nodes that nothing outside reads: the last one, which makes the sink, and then backwards."""
    *others, last = sorted(nodes, key=lambda node: node.index)
    removed = {last.index}
    for node in reversed(others):
        if not any(graph.is_output(name) or set(graph.readers.get(name, ())) - removed for name in node.outputs):
            removed.add(node.index)
    return frozenset(removed)
