"""What a law finds: maps that can stand elsewhere, what goes then, and what that saves."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from repvgg_onnx.compiler.below.steps import Step
from repvgg_onnx.compiler.below.terms import NOTHING, VIEWS, Leaf, Several, Through, Tree, cost_in_place
from repvgg_onnx.compiler.cost import width
from repvgg_onnx.compiler.results import Cost
from repvgg_onnx.compiler.value import Value
from repvgg_onnx.graph.view import FLOATS, GraphView, NodeView


@dataclass(frozen=True, eq=False)
class Moved:
    """A tensor that is to be computed in another way.

    Attributes:
        sink: the tensor.
        map: the node that holds the map which moves.
        tree: how to compute it, but for what the map adds.
        value: the map, of which what it adds is not in the tree.
        words: what moves, and where.
    """

    sink: str
    map: NodeView
    tree: Tree
    value: Value
    words: str

    @property
    def reads(self) -> frozenset[str]:
        """Tensors of the graph that are read, shapes that are computed at run time among them."""
        shapes = {name for step in steps_of(self.tree) for name in step.shapes}
        return frozenset({name for leaf in self.tree.leaves for name in leaf.sources} | shapes)


@dataclass(frozen=True, eq=False)
class Rewrite:
    """Tensors that are computed in another way together.

    Attributes:
        graph: what they are tensors of.
        moved: at least one.
    """

    graph: GraphView
    moved: tuple[Moved, ...]

    @cached_property
    def reads(self) -> frozenset[str]:
        """Tensors that are read."""
        return frozenset().union(*(each.reads for each in self.moved))

    @cached_property
    def removed(self) -> frozenset[int]:
        """Nodes that make the tensors now, and those that only they need."""
        ends = [self.graph.makers[each.sink].index for each in self.moved]
        return removed_with(self.graph, ends, self.reads)

    @cached_property
    def before(self) -> Cost:
        """Cost of what goes, without what computes constants."""
        nodes = [self.graph.nodes[index] for index in sorted(self.removed)]
        return sum((cost_in_place(node) for node in nodes if node.outputs[0] not in self.graph.constants), NOTHING)

    @cached_property
    def after(self) -> Cost:
        """Cost of what is written."""
        return sum((each.tree.cost + _cost_of_bias(each.tree, self.graph) for each in self.moved), NOTHING)

    @property
    def saving(self) -> int:
        """Multiply-adds plus bytes."""
        return self.before.total - self.after.total

    @property
    def pays(self) -> bool:
        """Whether it saves anything, and not only bytes: fewer multiply-adds, or as many on fewer nodes.

        Bytes alone tell too little: a pool of an image of one position costs what it reads, and runtimes do not run it
        any slower on more channels. And since multiply-adds never grow and nodes do only where those fall, moving comes
        to an end; what shapes are computed with is left out, because it comes and goes with the way it is computed.
        """
        gone = [self.graph.nodes[index] for index in self.removed]
        run = [node for node in gone if node.op_type not in VIEWS and self.graph.elem_type(node.outputs[0]) in FLOATS]
        run = [node for node in run if node.outputs[0] not in self.graph.constants]
        fewer = sum(count_of(each.tree) for each in self.moved) < len(run)
        less = self.before.macs - self.after.macs
        return self.saving > 0 and (less > 0 or (less == 0 and fewer))

    @property
    def first(self) -> int:
        """Where in the graph it is."""
        return self.graph.makers[self.moved[0].sink].index


def removed_with(graph: GraphView, ends: Iterable[int], kept: Iterable[str]) -> frozenset[int]:
    """The nodes, and all that nothing needs without them but what makes the kept tensors."""
    removed, stay = set(ends), set(kept)
    waiting = sorted(removed)
    while waiting:
        for name in graph.nodes[waiting.pop()].inputs:
            maker = graph.makers.get(name)
            if maker is None or maker.index in removed:
                continue
            outputs = [each for each in maker.outputs if each in stay or graph.is_output(each)]
            if not outputs and all(set(graph.readers.get(each, ())) <= removed for each in maker.outputs):
                removed.add(maker.index)
                waiting.append(maker.index)
    return frozenset(removed)


def steps_of(tree: Tree) -> list[Step]:
    """Every spatial operator of a tree."""
    if isinstance(tree, Through):
        return [tree.step, *steps_of(tree.inner)]
    if isinstance(tree, Several):
        return [step for part in tree.parts for step in steps_of(part)]
    return [] if tree.step is None else [tree.step]


def count_of(tree: Tree) -> int:
    """Nodes that a tree is written as, without those that runtimes do not run."""
    if isinstance(tree, Leaf):
        steps = int(tree.step is not None and tree.step.node.op_type not in VIEWS)
        return tree.form.count(tree.value) + (len(tree.sources) > 1) + steps
    if isinstance(tree, Through):
        return (tree.step.node.op_type not in VIEWS) + count_of(tree.inner)
    joins = len(tree.parts) - 1 if tree.stacked_on is None else 1
    return joins + sum(map(count_of, tree.parts))


def takers_of_bias(tree: Tree) -> tuple[Leaf, ...]:
    """The maps that add what all of them add together: one whose operator does so at no cost, or the smallest.

    Where things stand one behind the other on the channel axis, each adds its own.
    """
    if is_stacked(tree):
        return tree.leaves
    free = [leaf for leaf in tree.leaves if leaf.has_free_bias]
    return (free[0] if free else min(tree.leaves, key=lambda leaf: leaf.elements),)


def _cost_of_bias(tree: Tree, graph: GraphView) -> Cost:
    """Of the Adds behind operators that have no bias of their own."""
    takers = [leaf for leaf in takers_of_bias(tree) if not leaf.has_free_bias]
    return Cost(0, sum((2 * leaf.elements + leaf.value.channels) * width(graph, leaf.sources[0]) for leaf in takers))


def _nodes(tree: Tree) -> list[Tree]:
    """The tree and all below it."""
    if isinstance(tree, Through):
        return [tree, *_nodes(tree.inner)]
    return [tree, *(node for part in tree.parts for node in _nodes(part))] if isinstance(tree, Several) else [tree]


def channels_of(tree: Tree) -> int:
    """Channels of what a tree makes."""
    if isinstance(tree, Through):
        return tree.channels
    if isinstance(tree, Leaf):
        return tree.value.channels
    return channels_of(tree.parts[0]) if tree.stacked_on is None else sum(map(channels_of, tree.parts))


def is_stacked(tree: Tree) -> bool:
    """Whether things stand one behind the other on the channel axis somewhere in a tree."""
    return any(isinstance(each, Several) and each.stacked_on is not None for each in _nodes(tree))


def is_rewritten(tree: Tree) -> bool:
    """Whether the tree is more than the map where it stands, or one that the fold knows."""
    return not isinstance(tree, Leaf) or tree.step is not None
