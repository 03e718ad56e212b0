"""Law: what makes an image smaller comes before a map of its channels, ``S(P(x)) = P(S(x))``."""

import math
from collections.abc import Container, Iterator
from contextlib import suppress

from repvgg_onnx.compiler.below.rewrite import Moved, Rewrite
from repvgg_onnx.compiler.below.sight import Sight
from repvgg_onnx.compiler.below.steps import is_spatial, step_of
from repvgg_onnx.compiler.below.terms import Leaf, Part, identity
from repvgg_onnx.compiler.containment import contained
from repvgg_onnx.compiler.cost import width
from repvgg_onnx.compiler.forms import cost_of_form, form_of
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.compiler.walk import Candidate
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.view import NodeView


def pools_first(sight: Sight, refused: Container[str]) -> Iterator[Rewrite]:
    """Spatial operators behind a map that nothing else needs, where they are worth to come first.

    Args:
        sight: of the graph.
        refused: tensors that have to be computed as they are.
    """
    for node in sight.graph.nodes:
        if not is_spatial(node) or len(node.outputs) != 1 or node.outputs[0] in sight.graph.constants:
            continue
        source = node.inputs[0]
        if node.outputs[0] in refused or not sight.is_alone(source, {node.index}):
            continue
        for frame, candidate in reversed(sight.found.candidates.get(source, {}).items()):
            found = None
            with suppress(LiftError), contained("moving a pool"):
                found = _swapped(sight, node, frame, candidate)
            if found is not None and found.pays:
                yield found
                break


def _swapped(sight: Sight, node: NodeView, frame: Frame, candidate: Candidate) -> Rewrite | None:
    """The operator before the map that it follows; None if it does not follow one."""
    value = candidate.value
    place = value.conv.geometry
    if not candidate.weighs or place.is_diagonal or not place.is_pointwise or value.axes != frame.axes:
        return None
    if value.tail is not None or value.field is not None or value.lead is not None:
        return None
    step = step_of(node, frame.axes.index(1), sight.dims, forward=True)
    after, sink = step.channel_axes[1], node.outputs[0]
    if math.prod(sight.sizes(sink)) >= math.prod(sight.sizes(node.inputs[0])):
        return None
    part, made = Part.of(value), sight.elements(sink, after, place.c_in)
    turned, same = identity(sink, len(sight.sizes(sink)), after, part.c_in)
    linear: Value = same.through(part.conv(same.conv.geometry.rank), turned.sizes)
    outputs, bytes_ = math.prod(sight.sizes(sink)), width(sight.graph, sink)
    own = cost_of_form(form_of(turned, linear), linear, made, outputs, bytes_)
    own += sight.cost_of_step(step, part.c_in)
    members = tuple(sight.graph.nodes[index] for index in sorted(candidate.members))
    leaf = Leaf((frame.root,), turned, linear, None, step, members, own, outputs)
    words = f"{part.words} moved behind {step.words}"
    return Rewrite(sight.graph, (Moved(sink, members[-1], leaf, value, words),))
