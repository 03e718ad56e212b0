"""Which affine regions are worth one node: chosen by cost, none overlapping another, nothing edited yet."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from repvgg_onnx.compiler.containment import contained
from repvgg_onnx.compiler.cost import cost_of_node
from repvgg_onnx.compiler.decisions import UNDECIDED, Decisions
from repvgg_onnx.compiler.dominance import PostDominators
from repvgg_onnx.compiler.leftovers import leftovers
from repvgg_onnx.compiler.plans import Plan, plan_of
from repvgg_onnx.compiler.removal import Removals
from repvgg_onnx.compiler.results import Refusal
from repvgg_onnx.compiler.walk import Candidate, Walk, walk
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import GraphView, NodeView

MOST_STEPS = 32  # from a reader of a shared node to the sinks that are tried for it
MOST_TRIES = 64  # regions that are searched for one shared node


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
        walk: what the search rests on.
    """

    groups: list[Group]
    declined: list[Plan]
    refusals: list[Refusal]
    walk: Walk

    @property
    def plans(self) -> list[Plan]:
        """Every plan to be folded, in graph order."""
        plans = [plan for group in self.groups for plan in group.plans]
        return sorted(plans, key=lambda plan: plan.last.index)


def find_regions(graph: GraphView, refused: Mapping[str, Refusal], decisions: Decisions = UNDECIDED) -> Findings:
    """Regions to fold, and the reasons why others are not.

    Args:
        graph: what to search.
        refused: by sink, why a region could not be folded before; not among the reasons that are found.
        decisions: what to fold or to keep whatever it costs.
    """
    search = _Search(graph, walk(graph), PostDominators(graph))
    plans, failures = search.plans(refused)
    free = [plan for plan in plans if not decisions.keeps(plan.frame.root, plan.sink)]
    groups = search.choose(free, decisions)
    declined = _declined(plans, groups)
    reasons = [*search.found.refusals, *failures, *(_reason(graph, plan) for plan in declined)]
    kept: list[Plan] = []
    if len(free) < len(plans):
        kept = [plan for group in search.choose(plans) for plan in group.plans if plan not in free]
    reasons += map(_decided, kept)
    gone = {index for group in groups for plan in group.plans for index in plan.removed}
    within = partial(_within, graph, search.found, kept, declined, refused)
    reasons += leftovers(graph, [*refused.values(), *reasons], gone, within)
    open_ = [plan for plan in declined if plan in free and len(plan.removed) >= len(plan.members)]
    return Findings(groups, open_, reasons, search.found)


def _within(
    graph: GraphView,
    found: Walk,
    kept: Sequence[Plan],
    declined: Sequence[Plan],
    refused: Mapping[str, Refusal],
) -> dict[int, Refusal]:
    """For each member of a region that is not folded the reason."""
    within = {node.index: _decided(plan) for plan in kept for node in plan.members}
    within |= {node.index: _reason(graph, plan) for plan in reversed(declined) for node in plan.members}
    return within | {
        index: refusal
        for sink, refusal in refused.items()
        for candidate in found.candidates.get(sink, {}).values()
        for index in candidate.members
    }


@dataclass(frozen=True)
class _Search:
    """One search of one graph.

    Attributes:
        graph: what is searched.
        found: which tensors are affine in which roots.
        through: post-dominators of the nodes.
    """

    graph: GraphView
    found: Walk
    through: PostDominators

    def plans(self, refused: Collection[str]) -> tuple[list[Plan], list[Refusal]]:
        """A plan for each candidate that can be one node, and what went wrong with others, once for each sink."""
        removals = Removals(self.graph, self.found.candidates, self.through)
        plans: list[Plan] = []
        failures: dict[str, Refusal] = {}
        for tensor, candidates in self.found.candidates.items():
            if tensor in refused:
                continue
            for frame, candidate in candidates.items():
                try:
                    with contained("planning a region"):
                        plan = plan_of(self.graph, removals, tensor, frame, candidate)
                except LiftError as error:
                    failures.setdefault(tensor, Refusal(error.code, self.graph.makers[tensor].name, str(error)))
                    continue
                if plan is not None:
                    plans.append(plan)
        return plans, list(failures.values())

    def choose(self, plans: Sequence[Plan], decisions: Decisions = UNDECIDED) -> list[Group]:
        """The groups that save most, each apart from the ones before; what is forced comes first."""
        alone = [Group((plan,), plan.saving, decisions.forces(plan.frame.root, plan.sink)) for plan in plans]
        chosen: list[Group] = []
        taken = _Taken()
        for group in sorted([*alone, *self._joint(plans)], key=_preference):
            if (group.saving > 0 or group.forced) and taken.take(group):
                chosen.append(group)
        return sorted(chosen, key=lambda group: group.plans[0].last.index)

    def _joint(self, plans: Sequence[Plan]) -> Iterator[Group]:
        """Plans that all compute one shared node anew, so that the node itself goes."""
        sinks: dict[int, list[Plan]] = {}
        for plan in plans:
            sinks.setdefault(plan.last.index, []).append(plan)
        for tensor, candidates in self.found.candidates.items():
            node = self.graph.makers[tensor]
            readers = self.graph.readers.get(tensor, ())
            if len(readers) < 2 or -1 in readers or len(node.outputs) > 1 or self.graph.is_output(tensor):
                continue
            first_in = {
                frame for frame, candidate in candidates.items() if all(part.node is None for part in candidate.parts)
            }
            together = self._cover(node, [plan for plan in self._behind(node, sinks) if plan.frame in first_in])
            if together:
                yield Group(together, sum(plan.saving for plan in together) + cost_of_node(node).total)

    def _behind(self, node: NodeView, sinks: dict[int, list[Plan]]) -> Iterator[Plan]:
        """Plans that end behind one reader of a shared node and before the branches meet, where all of it would go."""
        seen: set[int] = set()
        for reader in self.graph.readers[node.outputs[0]]:
            for _ in range(MOST_STEPS):
                if reader in seen or reader in (self.through.end, self.through.above(node.index)):
                    break
                seen.add(reader)
                yield from sinks.get(reader, ())
                reader = self.through.above(reader)

    def _cover(self, node: NodeView, plans: Sequence[Plan]) -> tuple[Plan, ...]:
        """Plans that keep only the node and remove every reader of it, none twice; empty where there are none."""
        readers = set(self.graph.readers[node.outputs[0]])
        together: list[Plan] = []
        gone: set[int] = set()
        tries = 0
        for plan in sorted(plans, key=lambda plan: -plan.saving):
            if plan.last.index in gone or tries == MOST_TRIES:
                continue
            tries += 1
            kept = [member.index for member in plan.members if member.index not in plan.removed]
            if kept == [node.index] and not plan.removed & gone:
                tries = 0
                together.append(plan)
                gone |= plan.removed
        return tuple(together) if readers <= gone else ()


class _Taken:
    """Nodes that a region was chosen for.

    Regions lie inside each other by the thousand where a chain is long. One that holds a taken node is blocked for
    good, and so is whatever holds it, so that none is searched twice in vain.
    """

    def __init__(self) -> None:
        self._nodes: set[int] = set()
        self._blocked: set[int] = set()

    def take(self, group: Group) -> bool:
        """Takes all nodes of a group, if none of them is taken."""
        if any(self._is_blocked(plan.candidate) for plan in group.plans):
            return False
        self._nodes.update(node.index for plan in group.plans for node in plan.members)
        return True

    def _is_blocked(self, candidate: Candidate) -> bool:
        """Whether a node of the candidate is taken, found depth first."""
        way, seen = [(candidate, iter(candidate.parts))], {id(candidate)}
        while way:
            current, parts = way[-1]
            if id(current) in self._blocked or (current.node is not None and current.node.index in self._nodes):
                self._blocked.update(id(each) for each, _ in way)
                return True
            part = next(parts, None)
            if part is None:
                way.pop()
            elif id(part) not in seen:
                seen.add(id(part))
                way.append((part, iter(part.parts)))
        return False


def _preference(group: Group) -> tuple[int, ...]:
    """Sort key: what only a decision folds, largest saving, most names gone, smallest region, first in the graph."""
    against_the_rule = group.forced and group.saving <= 0
    names, span = (
        sum(counts) for counts in zip(*((plan.removal.names, plan.span) for plan in group.plans), strict=True)
    )
    return (not against_the_rule, -group.saving, -names, span, group.plans[0].last.index)


def _declined(plans: Sequence[Plan], groups: Sequence[Group]) -> list[Plan]:
    """For each sink the largest region, where it was not worth it and is not part of one that was."""
    folded = {node.index for group in groups for plan in group.plans for node in plan.members}
    largest = {plan.sink: plan for plan in sorted(plans, key=lambda plan: plan.span)}
    return [
        plan
        for plan in largest.values()
        if plan.before != plan.after and plan.saving <= 0 and plan.last.index not in folded
    ]


def _reason(graph: GraphView, plan: Plan) -> Refusal:
    name = plan.last.name
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
    return Refusal("kept-by-decision", plan.last.name, sentence)


def _kept_reason(graph: GraphView, node: NodeView, name: str) -> tuple[str, str, str]:
    """Code, node and sentence for a member that has to stay."""
    for tensor in node.outputs:
        if graph.is_output(tensor):
            return "graph-output", name, f"{node.name} has to stay, because {tensor!r} is an output of the graph"
        if graph.is_captured(tensor):
            return "captured", name, f"{node.name} has to stay, because a subgraph reads {tensor!r}"
    return "shared", name, f"{node.name} has to stay, because nodes outside the region read {node.outputs[0]!r} as well"
