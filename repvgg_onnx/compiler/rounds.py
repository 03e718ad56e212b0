"""Whether a graph has to be searched once more after regions of it have been folded."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from repvgg_onnx.compiler.lifters import LIFTERS
from repvgg_onnx.compiler.plans import Plan
from repvgg_onnx.compiler.regions import Findings
from repvgg_onnx.graph.view import GraphView


def is_final(view: GraphView, found: Sequence[Findings]) -> bool:
    """Whether a search of what folding makes of a graph could find nothing new, if all of it can be folded.

    A new region holds an emitted node, and so a neighbour of one that is affine too; or a node that had to stay because
    a removed one read it; or it rests on a shape that nobody knew before, or on weights that the budget was short for.

    Args:
        view: the main graph, not changed yet.
        found: what was found in each graph, the main one last.
    """
    *inner, main = found
    if (
        view.constants.budget.fell_short
        or view.subgraphs
        or any(findings.groups for findings in inner)
        or not main.walk.is_complete
    ):
        return False
    gone = {index for plan in main.plans for index in plan.removed}
    names = {view.nodes[index].name for index in gone}
    if any(node.name in names for node in view.nodes if node.index not in gone):
        return False  # refusals are about names
    return all(_stands_alone(view, main, plan) for plan in main.plans)


def settled(view: GraphView, findings: Findings) -> Findings:
    """What was found of a graph, as it is of the graph that folding made of it, if that search was the last."""
    names = {view.nodes[index].name for plan in findings.plans for index in plan.removed}
    refusals = [refusal for refusal in findings.refusals if refusal.node not in names]
    return replace(findings, groups=[], refusals=refusals)


def _stands_alone(view: GraphView, findings: Findings, plan: Plan) -> bool:
    """Whether nothing next to the region is affine, none of it stays, and its shape was known."""
    if plan.form.count(plan.value) > 1:
        return False  # what stands beside the kernel then is to have its refusal
    nodes = [*plan.members, *plan.feeding] if plan.candidate.computes else plan.members
    if plan.frame.root in findings.walk.candidates or any(node.index not in plan.removed for node in nodes):
        return False
    readers: Iterable[int] = view.readers.get(plan.sink, ())
    behind = [view.nodes[index] for index in readers if index >= 0]
    if any(name in findings.walk.candidates for node in behind for name in node.outputs):
        return False
    before = view.makers.get(plan.frame.root)
    beside = behind if before is None else [before, *behind]
    if any(node.op_type in LIFTERS and len(node.dynamic_inputs) == 1 for node in beside):
        return False  # what stands beside the emitted node has to be explained
    known, sized, root = view.shape(plan.sink), view.sizes.get(plan.sink), view.shape(plan.frame.root)
    if known is None or root is None or sized is None or sized.shape is None or None in sized.shape:
        return False
    return None not in known or (None in root and known[plan.value.axes.index(1)] is not None)
