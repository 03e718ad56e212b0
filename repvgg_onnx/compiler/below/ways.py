"""The cheapest way to compute a map of a tensor from earlier tensors.

``P(S(x)) = S(P(x))`` for a map P of the channels and a spatial operator S, ``P([x, y]) = P₁(x) + P₂(y)`` behind a
Concat, ``P(x ± y) = P(x) ± P(y)``, and a map of a map is one map.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from repvgg_onnx.affine.spatial import Arranged, Averaged, Cut
from repvgg_onnx.compiler.below.sight import SUMS, Sight
from repvgg_onnx.compiler.below.steps import Step, is_spatial, step_of
from repvgg_onnx.compiler.below.terms import (
    Leaf,
    Part,
    Several,
    Through,
    Tree,
    identity,
    on_rank,
)
from repvgg_onnx.compiler.containment import contained
from repvgg_onnx.compiler.cost import width
from repvgg_onnx.compiler.forms import cost_of_form, form_of
from repvgg_onnx.compiler.results import Cost
from repvgg_onnx.compiler.value import Value
from repvgg_onnx.compiler.walk import Candidate
from repvgg_onnx.errors import GeometryError, LiftError
from repvgg_onnx.graph.dims import Sizes

MOST_VISITS = 64  # tensors that one map is tried at
NEAREST = 4  # roots that are tried for one tensor


@dataclass(frozen=True, eq=False)
class Option:
    """One way to compute a map of a tensor.

    Attributes:
        tree: what is written.
        net: what it costs, less what need not be computed any more.
    """

    tree: Tree
    net: int


def best(sight: Sight, part: Part, tensor: str, axis: int, gone: frozenset[int]) -> Option | None:
    """The cheapest way to compute a map of a tensor; None where there is none.

    Args:
        sight: of the graph.
        part: the map.
        tensor: what it is a map of.
        axis: where its channels are.
        gone: nodes that are not needed any more.
    """
    return _Search(sight, [MOST_VISITS]).best(part, tensor, axis, gone)


@dataclass
class _Search:
    """The search for one map.

    Attributes:
        sight: of the graph.
        left: visits that are left.
    """

    sight: Sight
    left: list[int]

    def best(self, part: Part, tensor: str, axis: int, gone: frozenset[int]) -> Option | None:
        """As for Sight."""
        if self.left[0] <= 0:
            return None
        self.left[0] -= 1
        found = None
        for make in (self._here, self._absorbed, self._through, self._of_concat, self._of_sum):
            with suppress(LiftError), contained("moving a map"):
                for option in make(part, tensor, axis, gone):
                    if found is None or option.net < found.net:
                        found = option
        return found

    def _here(self, part: Part, tensor: str, axis: int, gone: frozenset[int]) -> Iterator[Option]:
        """The map of the tensor itself; a gain alone is not worth an operator of its own."""
        if not part.is_diagonal:
            leaf = self.sight.applied(part, [tensor], axis)
            yield Option(leaf, leaf.cost.total)

    def _absorbed(self, part: Part, tensor: str, axis: int, gone: frozenset[int]) -> Iterator[Option]:
        """The map composed with those that make the tensor."""
        graph = self.sight.graph
        candidates = list(self.sight.found.candidates.get(tensor, {}).items())
        for frame, candidate in candidates[: -NEAREST - 1 : -1]:
            value = candidate.value
            if not candidate.weighs or not _is_plain(value) or value.axes[axis] != 1 or candidate.computes:
                continue
            try:
                linear = value.through(part.conv(value.conv.geometry.rank), frame.sizes)
            except (LiftError, GeometryError):
                continue
            inputs = math.prod(self.sight.sizes(frame.root))
            outputs = self.sight.elements(tensor, axis, part.c_out)
            unbiased = replace(linear, conv=linear.conv.without_bias())
            own = cost_of_form(form_of(frame, unbiased), unbiased, inputs, outputs, width(graph, tensor))
            members = tuple(graph.nodes[index] for index in sorted(candidate.members))
            leaf = Leaf((frame.root,), frame, linear, None, None, members, own, outputs)
            yield Option(leaf, own.total - self._freed(tensor, frame.root, candidate, gone))

    def _freed(self, tensor: str, root: str, candidate: Candidate, gone: frozenset[int]) -> int:
        """What the members of a region cost that are not needed if its end is not."""
        graph, lost, total = self.sight.graph, set(gone), 0
        for index in sorted(candidate.members, reverse=True):
            node = graph.nodes[index]
            if all(self.sight.is_alone(name, lost) for name in node.outputs):
                lost.add(index)
                total += self.sight.cost(node)
        return total

    def _through(self, part: Part, tensor: str, axis: int, gone: frozenset[int]) -> Iterator[Option]:
        """The map before the spatial operator that makes the tensor."""
        maker = self.sight.graph.makers.get(tensor)
        if maker is None or not is_spatial(maker):
            return
        step = step_of(maker, axis, self.sight.dims)
        goes = self.sight.is_alone(tensor, gone)
        lost = gone | {maker.index} if goes else gone
        inner = self.best(part, step.source, step.channel_axes[0], lost)
        if inner is None:
            return
        # What makes an image smaller is worth passing only to be taken in behind it, even if it is all of one position.
        if isinstance(step.operator, Averaged | Cut) and all(leaf.part is not None for leaf in inner.tree.leaves):
            return
        saved = self.sight.cost(maker) if goes else 0
        if step.operator.is_identity and self.sight.sizes(step.source) == self.sight.sizes(tensor):
            yield Option(inner.tree, inner.net - saved)
            return
        with suppress(LiftError):
            yield Option(self._returned(inner.tree, step, tensor), inner.net - saved)
        tree = Through(step, inner.tree, part.c_out, self.sight.cost_of_step(step, part.c_out))
        yield Option(tree, inner.net + tree.own.total - saved)

    def _returned(self, tree: Tree, step: Step, tensor: str) -> Tree:
        """A map of an image instead of one of its rows, where the step behind it gives back the image's shape.

        Runtimes convolve images faster than rows.

        Raises:
            LiftError: it does not.
        """
        sight, refusal = self.sight, LiftError("reshaped", "the shape of no image is given back")
        if not isinstance(tree, Leaf) or tree.step is not None or len(tree.sources) > 1 or not _is_view(step):
            raise refusal
        place, maker = tree.value.conv.geometry, sight.graph.makers.get(tree.sources[0])
        if maker is None or not is_spatial(maker) or not place.is_pointwise or tree.value.axes != tree.frame.axes:
            raise refusal
        first = step_of(maker, tree.frame.axes.index(1), sight.dims)
        axis, source = first.channel_axes[0], first.source
        shapes = [list(sight.dims.shape(name) or ()) for name in (source, tensor)]
        if not _is_view(first) or axis != step.channel_axes[1] or len(shapes[0]) != len(shapes[1]):
            raise refusal
        if any(one != other for index, (one, other) in enumerate(zip(*shapes, strict=True)) if index != axis):
            raise refusal
        frame, same = identity(source, len(shapes[0]), axis, place.c_in)
        value = same.through(on_rank(tree.value.conv, len(shapes[0]) - 2), frame.sizes)
        inputs = math.prod(sight.sizes(source))
        unbiased = replace(value, conv=value.conv.without_bias())
        form = form_of(frame, unbiased)
        own = cost_of_form(form, unbiased, inputs, tree.elements, width(sight.graph, source))
        return replace(tree, sources=(source,), frame=frame, value=value, own=own)

    def _of_concat(self, part: Part, tensor: str, axis: int, gone: frozenset[int]) -> Iterator[Option]:
        """Each part of the map at its part of a Concat that nothing else reads."""
        sight = self.sight
        maker = sight.graph.makers.get(tensor)
        if maker is None or maker.op_type != "Concat" or maker.constant_inputs or set(maker.attributes) != {"axis"}:
            return
        if (part.group > 1 and not part.is_diagonal) or not sight.is_alone(tensor, gone):
            return
        rank = len(sight.sizes(tensor))
        if maker.attributes["axis"] % rank != axis:
            return
        stops = [0, *accumulate(self._channels(name, axis, rank) for name in maker.inputs)]
        lost = gone | {maker.index}
        options = [
            self.best(part.of_channels(start, stop), name, axis, lost)
            for name, (start, stop) in zip(maker.inputs, pairwise(stops), strict=True)
        ]
        if stops[-1] != part.c_in:
            return
        known = [option for option in options if option is not None]
        if len(known) < len(options):
            return
        net = sum(option.net for option in known) - sight.cost(maker)
        size, bytes_ = sight.elements(tensor, axis, part.c_out), width(sight.graph, tensor)
        if part.is_diagonal:
            own = Cost(0, 2 * size * bytes_)
            yield Option(Several(tuple(option.tree for option in known), axis, own), net + own.total)
            return
        terms = self._joined([option.tree for option in known], axis, plain=lambda _: True)
        change = sum(tree.cost.total for tree in terms) - sum(option.tree.cost.total for option in known)
        total = sight.added(terms, size, bytes_)
        yield Option(total, net + change + (total.own.total if len(terms) > 1 else 0))

    def _of_sum(self, part: Part, tensor: str, axis: int, gone: frozenset[int]) -> Iterator[Option]:
        """The map at each term of a sum that nothing else reads."""
        sight = self.sight
        maker = sight.graph.makers.get(tensor)
        if maker is None or maker.op_type not in SUMS or maker.constant_inputs or maker.attributes:
            return
        if len(maker.inputs) < 2 or not sight.is_alone(tensor, gone):
            return
        rank = len(sight.sizes(tensor))
        if any(self._channels(name, axis, rank) != part.c_in for name in maker.inputs):
            return
        lost = gone | {maker.index}
        signed = [part.negated() if maker.op_type == "Sub" and index else part for index in range(len(maker.inputs))]
        options = [self.best(each, name, axis, lost) for each, name in zip(signed, maker.inputs, strict=True)]
        known = [option for option in options if option is not None]
        if len(known) < len(options):
            return
        size, bytes_ = sight.elements(tensor, axis, part.c_out), width(sight.graph, tensor)
        total = sight.added([option.tree for option in known], size, bytes_)
        yield Option(total, sum(option.net for option in known) + total.own.total - sight.cost(maker))

    def _channels(self, tensor: str, axis: int, rank: int) -> int:
        """Channels of a term, which are known to be so many at every run.

        Raises:
            LiftError: they are not, or it has another number of axes.
        """
        shape = self.sight.dims.known(tensor)
        channels = shape[axis] if shape is not None and len(shape) == rank else None
        if channels is None:
            raise LiftError("sizes-unknown", f"it is not known how many channels {tensor!r} has")
        return channels

    def _joined(self, trees: Sequence[Tree], axis: int, plain: Callable[[Leaf], bool]) -> list[Tree]:
        """The terms, with maps of tensors as they are made one map of their channels together.

        Args:
            trees: the terms.
            axis: of the channels in what they are maps of.
            plain: whether a tensor that is read is known to have the size of the others at every run.
        """
        alike = [tree for tree in trees if isinstance(tree, Leaf) and tree.part is not None and plain(tree)]
        terms: list[Tree] = [tree for tree in trees if not any(tree is each for each in alike)]
        if len(alike) < 2:
            return [*self._merged(terms), *alike]
        part, *others = [leaf.part for leaf in alike if leaf.part is not None]
        for other in others:
            part = part.beside(other)
        joined = self.sight.applied(part, [name for leaf in alike for name in leaf.sources], axis)
        return [*self._merged(terms), joined]

    def _merged(self, trees: Sequence[Tree]) -> list[Tree]:
        """The terms, with equal spatial operators applied once, to the sum of what they are applied to."""
        terms: list[Tree] = []
        for tree in trees:
            for index, other in enumerate(terms):
                if isinstance(tree, Through) and isinstance(other, Through) and _are_alike(tree.step, other.step):
                    inner = self._merged_inside(other, tree)
                    terms[index] = replace(other, inner=inner)
                    break
            else:
                terms.append(tree)
        return terms

    def _merged_inside(self, one: Through, other: Through) -> Tree:
        axis = one.step.channel_axes[0]
        inside = [
            each
            for tree in (one.inner, other.inner)
            for each in (tree.parts if isinstance(tree, Several) and tree.stacked_on is None else (tree,))
        ]
        shape = self.sight.dims.shape(one.step.source)
        terms = self._joined(inside, axis, lambda leaf: self._has_size(leaf.sources[0], axis, shape))
        size = self.sight.elements(one.step.source, axis, one.channels)
        return self.sight.added(terms, size, width(self.sight.graph, one.step.source))

    def _has_size(self, tensor: str, axis: int, shape: Sizes | None) -> bool:
        """Whether a tensor has this shape at every run, the channels left out."""
        other = self.sight.dims.shape(tensor)
        if shape is None or other is None or len(other) != len(shape):
            return False
        pairs = [pair for index, pair in enumerate(zip(shape, other, strict=True)) if index != axis]
        return all(one == two for one, two in pairs)


def _is_view(step: Step) -> bool:
    """Whether elements stay in their order."""
    return isinstance(step.operator, Arranged) and not step.operator.order


def _is_plain(value: Value) -> bool:
    """Whether the value is a map and a bias and nothing else."""
    return value.tail is None and value.field is None and value.lead is None


def _are_alike(one: Step, other: Step) -> bool:
    """Whether two steps do the same to images of the same size."""
    return one == other and one.operator.is_known and one.node.op_type == other.node.op_type
