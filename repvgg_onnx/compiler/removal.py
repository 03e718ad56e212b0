"""What a region removes, and what that cost: summed along the graph once, and not for each region anew."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from repvgg_onnx.compiler.cost import cost_of_node
from repvgg_onnx.compiler.dominance import PostDominators
from repvgg_onnx.compiler.leading import free_arithmetic
from repvgg_onnx.compiler.lifters import is_renaming
from repvgg_onnx.compiler.results import Cost
from repvgg_onnx.compiler.value import Frame
from repvgg_onnx.compiler.walk import Candidate
from repvgg_onnx.graph.view import GraphView, NodeView

_Frames = frozenset[Frame]
NOTHING = Cost(0, 0)


@dataclass(frozen=True)
class Removal:
    """Nodes that go.

    Attributes:
        count: how many, those that only rename something left out.
        names: how many only rename something.
        cost: of those that cost something where they are.
    """

    count: int
    names: int
    cost: Cost

    def __add__(self, other: "Removal") -> "Removal":
        """Both."""
        return Removal(self.count + other.count, self.names + other.names, self.cost + other.cost)


class Removals:
    """For each node and frame, what goes when the node is the last one of a region.

    What goes is the node and, of the nodes right below it in the tree of post-dominators, each that belongs to the
    region with what goes with it: all that they make goes through the node. Nodes that compute weights belong to every
    region to which all of their readers belong.

    Args:
        graph: what is searched.
        candidates: for each tensor its maps by frame.
        through: post-dominators of the graph's nodes.
    """

    def __init__(
        self, graph: GraphView, candidates: Mapping[str, Mapping[Frame, Candidate]], through: PostDominators
    ) -> None:
        self._graph, self._through = graph, through
        self._frames = [
            _Frames(frame for name in node.outputs for frame in candidates.get(name, ())) for node in graph.nodes
        ]
        self._free: dict[Frame, list[tuple[NodeView, Cost]]] = {}
        self._within: dict[Frame, list[NodeView]] = {}
        for node, frames in zip(graph.nodes, self._frames, strict=True):
            for frame in frames:
                self._within.setdefault(frame, []).append(node)
        self._computed = graph.constants.all_expressions
        for index in sorted(self._computed, reverse=True):
            self._frames[index] = self._frames_of_weights(graph.nodes[index])
        self._totals: list[dict[Frame, Removal]] = []
        self._sum_up()

    def of(self, last: NodeView, frame: Frame) -> Removal:
        """What goes with the last node of a region, less what is free where it is."""
        total = self._totals[last.index][frame]
        cost = total.cost
        for node, free in self._free_in(frame):
            if self._through.passes(node.index, last.index):
                cost = Cost(cost.macs - free.macs, cost.bytes - free.bytes)
        return replace(total, cost=cost)

    def of_nodes(self, removed: Iterable[int], frame: Frame) -> Removal:
        """What goes where it is known which nodes do."""
        gone = [self._graph.nodes[index] for index in removed]
        free = {node.index for node, _ in self._free_in(frame)}
        work = [node for node in gone if not _is_free(node)]
        costs = (cost_of_node(node) for node in work if node.index not in free)
        return Removal(len(work), len(gone) - len(work), sum(costs, NOTHING))

    def _sum_up(self) -> None:
        below: dict[int, list[int]] = {}
        for node, frames in zip(self._graph.nodes, self._frames, strict=True):
            self._totals.append(totals := {})
            if not frames:
                continue
            own = Removal(0, 1, NOTHING) if _is_free(node) else Removal(1, 0, cost_of_node(node))
            for frame in frames:
                total = own
                for index in below.get(node.index, ()):
                    part = self._totals[index].get(frame)
                    total = total if part is None else total + part
                totals[frame] = total
            below.setdefault(self._through.above(node.index), []).append(node.index)

    def _frames_of_weights(self, node: NodeView) -> _Frames:
        """Frames in which every reader of what the node makes is part of a region."""
        readers = {index for name in node.outputs for index in self._graph.readers.get(name, ())}
        if not readers or -1 in readers or any(self._graph.is_output(name) for name in node.outputs):
            return _Frames()
        return _Frames.intersection(*(self._frames[index] for index in readers))

    def _free_in(self, frame: Frame) -> Iterator[tuple[NodeView, Cost]]:
        if frame not in self._free:
            free = free_arithmetic(self._graph, frame.root, self._within[frame])
            self._free[frame] = [(node, cost_of_node(node)) for node in free if not _is_free(node)]
        return iter(self._free[frame])


def _is_free(node: NodeView) -> bool:
    """Whether runtimes do not run the node at all."""
    return is_renaming(node.op_type) or node.op_type == "Constant"
