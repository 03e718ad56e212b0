"""Which affine regions are worth one node: chosen by cost, none overlapping another, nothing edited yet."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from repvgg_onnx.fusion.cost import cost_of_conv, cost_of_nodes
from repvgg_onnx.fusion.lifters import LIFTERS
from repvgg_onnx.fusion.results import Cost, Refusal
from repvgg_onnx.fusion.value import Frame, Value
from repvgg_onnx.fusion.walk import Candidate, walk
from repvgg_onnx.graph.view import GraphView, NodeView


@dataclass(frozen=True, eq=False)
class Plan:
    """A region before it is folded.

    Attributes:
        frame: the root and how its axes are read.
        sink: tensor that the region computes.
        value: the sink as a map of the root.
        members: nodes that the map stands for, in graph order.
        removed: those of them that nothing else needs.
        before: cost of the removed nodes.
        after: cost of one node in their place.
    """

    frame: Frame
    sink: str
    value: Value
    members: tuple[NodeView, ...]
    removed: frozenset[int]
    before: Cost
    after: Cost

    @property
    def saving(self) -> int:
        """What the fold saves, in multiply-adds plus bytes."""
        return self.before.total - self.after.total


def find_regions(graph: GraphView, refused: Collection[str] = ()) -> tuple[list[Plan], list[Refusal]]:
    """Regions to fold, in graph order, and the reasons why others are not.

    Args:
        graph: what to search.
        refused: sinks that could not be folded before.
    """
    found = walk(graph)
    plans = [
        plan
        for tensor, candidates in found.candidates.items()
        if tensor not in refused
        for frame, candidate in candidates.items()
        if (plan := _plan(graph, tensor, frame, candidate)) is not None
    ]
    chosen = _choose(plans)
    return chosen, [*found.refusals, *_cost_refusals(graph, plans, chosen)]


def _plan(graph: GraphView, sink: str, frame: Frame, candidate: Candidate) -> Plan | None:
    """The region that ends in this tensor; None where it is a lone node, has no kernel, or has no form to emit."""
    members = tuple(graph.nodes[index] for index in sorted(candidate.members))
    if len(members) < 2 or not any(LIFTERS[node.op_type].weighs for node in members):
        return None
    if not (candidate.value.is_channels_first and frame.axes == candidate.value.axes):
        return None
    removed = _removable(graph, members)
    before = cost_of_nodes(node for node in members if node.index in removed)
    after = cost_of_conv(candidate.value.conv.geometry, graph, frame.root, sink)
    return Plan(frame, sink, candidate.value, members, removed, before, after)


def _removable(graph: GraphView, members: Sequence[NodeView]) -> frozenset[int]:
    """Members that nothing outside the region reads: the sink's node, and then backwards."""
    removed = {members[-1].index}
    for node in reversed(members[:-1]):
        if not any(graph.is_output(name) or set(graph.readers.get(name, ())) - removed for name in node.outputs):
            removed.add(node.index)
    return frozenset(removed)


def _choose(plans: Sequence[Plan]) -> list[Plan]:
    """The plans that save most, each apart from the ones before."""
    chosen: list[Plan] = []
    touched: set[int] = set()
    for plan in sorted(plans, key=lambda plan: (-plan.saving, plan.members[-1].index)):
        indices = {node.index for node in plan.members}
        if plan.saving > 0 and not indices & touched:
            chosen.append(plan)
            touched |= indices
    return sorted(chosen, key=lambda plan: plan.members[-1].index)


def _cost_refusals(graph: GraphView, plans: Sequence[Plan], chosen: Sequence[Plan]) -> Iterator[Refusal]:
    """One reason for each sink whose largest region was not worth it and is not part of one that was."""
    folded = {node.index for plan in chosen for node in plan.members}
    largest = {plan.sink: plan for plan in sorted(plans, key=lambda plan: len(plan.members))}
    for plan in largest.values():
        last = plan.members[-1]
        if plan.saving <= 0 and last.index not in folded:
            yield _reason(graph, plan)


def _reason(graph: GraphView, plan: Plan) -> Refusal:
    name = plan.members[-1].name
    for node in plan.members:
        if node.index not in plan.removed:
            return Refusal(*_kept_reason(graph, node, name))
    sentence = (
        f"its {len(plan.members)} nodes cost {plan.before.macs:,} multiply-adds and {plan.before.bytes:,} bytes, "
        f"and as one node would cost {plan.after.macs:,} and {plan.after.bytes:,}"
    )
    return Refusal("not-cheaper", name, sentence)


def _kept_reason(graph: GraphView, node: NodeView, name: str) -> tuple[str, str, str]:
    """Code, node and sentence for a member that has to stay."""
    for tensor in node.outputs:
        if graph.is_output(tensor):
            return "graph-output", name, f"{node.name} has to stay, because {tensor!r} is an output of the graph"
        if graph.is_captured(tensor):
            return "captured", name, f"{node.name} has to stay, because a subgraph reads {tensor!r}"
    return "shared", name, f"{node.name} has to stay, because nodes outside the region read {node.outputs[0]!r} as well"
