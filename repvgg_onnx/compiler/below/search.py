"""Which rewrites are made: those that save most, none touching another, nothing edited yet."""

from collections.abc import Container
from dataclasses import replace

from repvgg_onnx.compiler.below.pools import pools_first
from repvgg_onnx.compiler.below.rewrite import Rewrite
from repvgg_onnx.compiler.below.sight import SUMS, Sight
from repvgg_onnx.compiler.below.steps import is_spatial
from repvgg_onnx.compiler.below.through import moved_maps
from repvgg_onnx.compiler.lifters import LIFTERS
from repvgg_onnx.compiler.regions import Findings, Group
from repvgg_onnx.compiler.walk import Walk
from repvgg_onnx.graph.view import GraphView, NodeView

FIRST_OPSET = 7  # before, Add broadcast along an axis that an attribute names, and Upsample was another operator


def find_rewrites(graph: GraphView, found: Walk, refused: Container[str]) -> list[Rewrite]:
    """Rewrites that lower multiply-adds plus bytes, in graph order; ties stay as they are.

    Args:
        graph: what is searched.
        found: which of its tensors are affine in which roots.
        refused: tensors that have to be computed as they are.
    """
    if graph.opset < FIRST_OPSET:
        return []
    sight = Sight(graph, found)
    proposals = [*moved_maps(sight, refused), *pools_first(sight, refused)]
    chosen: list[Rewrite] = []
    removed: set[str] = set()
    read: set[str] = set()
    for proposal in sorted(proposals, key=lambda rewrite: (-rewrite.saving, rewrite.first)):
        gone = {name for index in proposal.removed for name in graph.nodes[index].outputs}
        if gone & (removed | read) or proposal.reads & removed:
            continue  # the next round looks at it again
        chosen.append(proposal)
        removed |= gone
        read |= proposal.reads
    return sorted(chosen, key=lambda rewrite: rewrite.first)


def held_back(graph: GraphView, findings: Findings, refused: Container[str]) -> Findings:
    """What was found, without folds of a pool and a map before it where it is worth more to pool first.

    Folded, the two would be one dense kernel of the size of the window.
    """
    if graph.opset < FIRST_OPSET or not any(_holds_pool(group) for group in findings.groups):
        return findings
    pools = list(pools_first(Sight(graph, findings.walk), refused))
    savings = {graph.makers[pool.moved[0].sink].index: pool.saving for pool in pools}
    kept = [
        group
        for group in findings.groups
        if not any(savings.get(node.index, 0) > group.saving for plan in group.plans for node in plan.members)
    ]
    return findings if len(kept) == len(findings.groups) else replace(findings, groups=kept)


def _holds_pool(group: Group) -> bool:
    return any(node.op_type == "AveragePool" for plan in group.plans for node in plan.members)


def may_find(graph: GraphView) -> bool:
    """Whether there is anything in a graph that a rewrite could be about, folded or not."""
    return graph.opset >= FIRST_OPSET and any(
        _moves_maps(node) and (_follows_kernel(node) or _is_followed_by_map(node)) for node in graph.nodes
    )


def _moves_maps(node: NodeView) -> bool:
    is_sum = node.op_type in SUMS and len(node.dynamic_inputs) > 1
    return bool(node.outputs) and node.outputs[0] not in node.graph.constants and (
        is_spatial(node) or node.op_type == "Concat" or is_sum
    )  # fmt: skip


def _follows_kernel(node: NodeView) -> bool:
    """Whether a kernel, or a gain or an offset behind one, is read."""
    maker = node.graph.makers.get(node.inputs[0]) if is_spatial(node) else None
    return maker is not None and maker.op_type in LIFTERS and not is_spatial(maker)


def _is_followed_by_map(node: NodeView) -> bool:
    """Whether a reader has no other operand that is computed."""
    readers = [node.graph.nodes[index] for index in node.graph.readers.get(node.outputs[0], ()) if index >= 0]
    return any(
        reader.op_type in LIFTERS and not is_spatial(reader) and len(reader.dynamic_inputs) == 1 for reader in readers
    )
