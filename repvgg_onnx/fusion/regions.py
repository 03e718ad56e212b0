"""Which affine regions are worth one node: chosen by cost, none overlapping another, nothing edited yet."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from repvgg_onnx.fusion.cost import cost_of_node, cost_of_nodes, elements, width
from repvgg_onnx.fusion.decisions import UNDECIDED, Decisions
from repvgg_onnx.fusion.forms import Form, cost_of_form, form_of
from repvgg_onnx.fusion.leading import free_arithmetic
from repvgg_onnx.fusion.leftovers import leftovers
from repvgg_onnx.fusion.lifters import LIFTERS
from repvgg_onnx.fusion.results import PROVENANCE, Cost, Refusal
from repvgg_onnx.fusion.tail import CHANGES_OF_SHAPE
from repvgg_onnx.fusion.value import Frame, Value
from repvgg_onnx.fusion.walk import Candidate, Walk, walk
from repvgg_onnx.graph.view import GraphView, NodeView


@dataclass(frozen=True, eq=False)
class Plan:
    """A region before it is folded.

    Attributes:
        frame: the root and how its axes are read.
        sink: tensor that the region computes.
        value: the sink as a map of the root.
        form: the operator that the map is written as.
        members: nodes that the map stands for, in graph order.
        removed: indices of the members that nothing else needs, and of the nodes that compute only their weights.
        before: cost of the removed nodes.
        after: cost of one node in their place.
    """

    frame: Frame
    sink: str
    value: Value
    form: Form
    members: tuple[NodeView, ...]
    removed: frozenset[int]
    before: Cost
    after: Cost

    @property
    def saving(self) -> int:
        """What the fold saves, in multiply-adds plus bytes."""
        return self.before.total - self.after.total


@dataclass(frozen=True)
class Group:
    """Plans that are folded together or not at all.

    Attributes:
        plans: one, or several that pay off only together.
        saving: what they save together, in multiply-adds plus bytes.
        forced: whether a decision has them folded whatever they cost.
    """

    plans: tuple[Plan, ...]
    saving: int
    forced: bool = False


@dataclass(frozen=True)
class Findings:
    """What a search found.

    Attributes:
        groups: what is to be folded, in graph order, none overlapping another.
        declined: for each sink the largest region that costs more as one node, unless it is part of one to be folded or
            decided about.
        refusals: reasons why others are not folded.
    """

    groups: list[Group]
    declined: list[Plan]
    refusals: list[Refusal]

    @property
    def plans(self) -> list[Plan]:
        """Every plan to be folded, in graph order."""
        plans = [plan for group in self.groups for plan in group.plans]
        return sorted(plans, key=lambda plan: plan.members[-1].index)


def find_regions(graph: GraphView, refused: Mapping[str, Refusal], decisions: Decisions = UNDECIDED) -> Findings:
    """Regions to fold, and the reasons why others are not.

    Args:
        graph: what to search.
        refused: by sink, why a region could not be folded before; not among the reasons that are found.
        decisions: what to fold or to keep whatever it costs.
    """
    found = walk(graph)
    plans = [
        plan
        for tensor, candidates in found.candidates.items()
        if tensor not in refused
        for frame, candidate in candidates.items()
        if (plan := _plan(graph, tensor, frame, candidate)) is not None
    ]
    free = [plan for plan in plans if not decisions.keeps(plan.frame.root, plan.sink)]
    groups = _choose(graph, free, decisions)
    declined = _declined(plans, groups)
    reasons = [*found.refusals, *(_reason(graph, plan) for plan in declined)]
    kept = (
        [plan for group in _choose(graph, plans) for plan in group.plans if plan not in free] if free != plans else []
    )
    reasons += map(_decided, kept)
    if not groups:
        within = {node.index: _decided(plan) for plan in kept for node in plan.members}
        within |= {node.index: _reason(graph, plan) for plan in reversed(declined) for node in plan.members}
        within |= _within_refused(found, refused)
        reasons += leftovers(graph, [*refused.values(), *reasons], within)
    open_ = [plan for plan in declined if plan in free and len(plan.removed) >= len(plan.members)]
    return Findings(groups, open_, reasons)


def _within_refused(found: Walk, refused: Mapping[str, Refusal]) -> dict[int, Refusal]:
    """For each member of a region that could not be folded the reason."""
    return {
        index: refusal
        for sink, refusal in refused.items()
        for candidate in found.candidates.get(sink, {}).values()
        for index in candidate.members
    }


def _plan(graph: GraphView, sink: str, frame: Frame, candidate: Candidate) -> Plan | None:
    """The region that ends in this tensor; None where it is a lone node, has no kernel, or shares its last node.

    A lone node whose weights are computed anew at every run is a region too. What would be written as the same
    operators is none, even if sizes that contradict each other make it look cheaper: it would be folded for ever.
    """
    members = tuple(graph.nodes[index] for index in sorted(candidate.members))
    feeding = _feeding(graph, members, candidate.value)
    if len(members) < 2 and any(node.op_type == "DequantizeLinear" for node in feeding):
        return None  # to store the weights as they are used would only make the file larger
    if (len(members) < 2 and not feeding) or not any(LIFTERS[node.op_type].weighs for node in members):
        return None
    if any(graph.readers.get(name) or graph.is_output(name) for name in members[-1].outputs if name != sink):
        return None
    value = candidate.value
    if value.tail is not None and members[-1].proto is value.tail.steps[-1].proto:
        return None  # the region without its last change of shape is the same
    removed = _removable(graph, [*feeding, *members])
    free = {node.index for node in free_arithmetic(graph, frame.root, members)}
    before = cost_of_nodes(graph.nodes[index] for index in removed - free)
    form = form_of(frame, value)
    if not _makes_progress(members, removed, form, form.count(value)) or not _can_write(graph, form):
        return None
    after = cost_of_form(form, value, elements(graph, frame.root), elements(graph, sink), width(graph, sink))
    return Plan(frame, sink, value, form, members, removed, before, after)


def _makes_progress(members: Sequence[NodeView], removed: Collection[int], form: Form, count: int) -> bool:
    """Whether fewer nodes are left, or a kernel is folded that was not; so that repeating the search comes to an end.

    Costs alone do not see to that: where sizes are unknown they are guesses. To write changes of shape behind the
    kernel instead of before it is no gain of its own.
    """
    if form.steps and sum(node.op_type not in CHANGES_OF_SHAPE for node in members) < 2:
        return False
    kernels = [node for node in members if LIFTERS[node.op_type].weighs]
    return count < len(removed) or not all(_is_emitted(node) for node in kernels)


def _is_emitted(node: NodeView) -> bool:
    return any(entry.key == PROVENANCE for entry in node.proto.metadata_props)


def _can_write(graph: GraphView, form: Form) -> bool:
    """Whether the form means what it should in the model's opset: up to 6 a bias did not broadcast by itself."""
    return graph.opset >= 7 or (form.op_type in ("Conv", "ConvTranspose") and form.lead is None)


def _feeding(graph: GraphView, members: Sequence[NodeView], value: Value) -> list[NodeView]:
    """Nodes that compute constants of the members from other constants, or a shape that is not asked for any more."""
    names = (node.inputs[index] for node in members for index in range(len(node.inputs)) if node.is_constant(index))
    constant = graph.constants.expression_nodes(names)
    asked = set() if value.tail is None else value.tail.computed_shapes
    shapes = (graph.makers.get(node.inputs[1]) for node in members if node.op_type == "Reshape" and node.has_input(1))
    found = {node.index for node in shapes if node is not None and node.op_type == "Shape"}
    unasked = {index for index in found if not asked & set(graph.nodes[index].outputs)}
    return [graph.nodes[index] for index in constant | unasked]


def _removable(graph: GraphView, nodes: Sequence[NodeView]) -> frozenset[int]:
    """Nodes that nothing outside reads: the last one, which makes the sink, and then backwards."""
    *others, last = sorted(nodes, key=lambda node: node.index)
    removed = {last.index}
    for node in reversed(others):
        if not any(graph.is_output(name) or set(graph.readers.get(name, ())) - removed for name in node.outputs):
            removed.add(node.index)
    return frozenset(removed)


def _choose(graph: GraphView, plans: Sequence[Plan], decisions: Decisions = UNDECIDED) -> list[Group]:
    """The groups that save most, each apart from the ones before; what is forced comes first."""
    alone = [Group((plan,), plan.saving, decisions.forces(plan.frame.root, plan.sink)) for plan in plans]
    chosen: list[Group] = []
    touched: set[int] = set()
    for group in sorted([*alone, *_joint(graph, plans)], key=_preference):
        indices = {node.index for plan in group.plans for node in plan.members}
        if (group.saving > 0 or group.forced) and not indices & touched:
            chosen.append(group)
            touched |= indices
    return sorted(chosen, key=lambda group: group.plans[0].members[-1].index)


def _preference(group: Group) -> tuple[int, ...]:
    """Sort key: what only a decision folds, then largest saving, fewest members, first in the graph."""
    against_the_rule = group.forced and group.saving <= 0
    members = sum(len(plan.members) for plan in group.plans)
    return (not against_the_rule, -group.saving, members, group.plans[0].members[-1].index)


def _joint(graph: GraphView, plans: Sequence[Plan]) -> Iterator[Group]:
    """Plans that all compute one shared node anew, so that the node itself goes."""
    sharing: dict[int, list[Plan]] = {}
    for plan in plans:
        kept = [node for node in plan.members if node.index not in plan.removed]
        if len(kept) == 1:  # whatever it needs is outside the region, so that it can go
            sharing.setdefault(kept[0].index, []).append(plan)
    for index, candidates in sharing.items():
        node = graph.nodes[index]
        together = _cover(graph, node, candidates)
        if together:
            yield Group(together, sum(plan.saving for plan in together) + cost_of_node(node).total)


def _cover(graph: GraphView, node: NodeView, candidates: Sequence[Plan]) -> tuple[Plan, ...]:
    """Plans that remove every reader of the node, none twice; empty where there are none."""
    readers = {index for name in node.outputs for index in graph.readers.get(name, ())}
    if any(graph.is_output(name) for name in node.outputs):
        return ()
    together: list[Plan] = []
    gone: set[int] = set()
    for plan in sorted(candidates, key=lambda plan: -plan.saving):
        if not plan.removed & gone:
            together.append(plan)
            gone |= plan.removed
    return tuple(together) if readers <= gone else ()


def _declined(plans: Sequence[Plan], groups: Sequence[Group]) -> list[Plan]:
    """For each sink the largest region, where it was not worth it and is not part of one that was."""
    folded = {node.index for group in groups for plan in group.plans for node in plan.members}
    largest = {plan.sink: plan for plan in sorted(plans, key=lambda plan: len(plan.members))}
    return [
        plan
        for plan in largest.values()
        if plan.before != plan.after and plan.saving <= 0 and plan.members[-1].index not in folded
    ]


def _reason(graph: GraphView, plan: Plan) -> Refusal:
    name = plan.members[-1].name
    inside = {node.index for node in plan.members}
    for node in plan.members:
        needed = any(graph.is_output(each) or set(graph.readers.get(each, ())) - inside for each in node.outputs)
        if node.index not in plan.removed and needed:
            return Refusal(*_kept_reason(graph, node, name))
    sentence = (
        f"its {len(plan.members)} nodes cost {plan.before.macs:,} multiply-adds and {plan.before.bytes:,} bytes, "
        f"and as one node would cost {plan.after.macs:,} and {plan.after.bytes:,}"
    )
    return Refusal("not-cheaper", name, sentence)


def _decided(plan: Plan) -> Refusal:
    sentence = (
        f"its {len(plan.members)} nodes stay, as decided, although they cost {plan.before.total:,} multiply-adds and "
        f"bytes, and one node would cost {plan.after.total:,}"
    )
    return Refusal("kept-by-decision", plan.members[-1].name, sentence)


def _kept_reason(graph: GraphView, node: NodeView, name: str) -> tuple[str, str, str]:
    """Code, node and sentence for a member that has to stay."""
    for tensor in node.outputs:
        if graph.is_output(tensor):
            return "graph-output", name, f"{node.name} has to stay, because {tensor!r} is an output of the graph"
        if graph.is_captured(tensor):
            return "captured", name, f"{node.name} has to stay, because a subgraph reads {tensor!r}"
    return "shared", name, f"{node.name} has to stay, because nodes outside the region read {node.outputs[0]!r} as well"
