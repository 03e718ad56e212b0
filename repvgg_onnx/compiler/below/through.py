"""Law: a map of the channels goes through spatial operators, Concat and sums to where it costs least.

``P(S(x)) = S(P(x))``, ``P([x, y]) = P₁(x) + P₂(y)``, ``P(x + y) = P(x) + P(y)``. It goes through a Concat or a sum only
if every reader of that is such a map, and a gain alone only to where a kernel takes it in.
"""

from collections.abc import Container, Iterator, Sequence

from repvgg_onnx.compiler.below.rewrite import Moved, Rewrite, is_rewritten, steps_of
from repvgg_onnx.compiler.below.sight import SUMS, Sight
from repvgg_onnx.compiler.below.steps import is_spatial
from repvgg_onnx.compiler.below.terms import Part, Tree
from repvgg_onnx.compiler.below.ways import best
from repvgg_onnx.compiler.value import Value
from repvgg_onnx.graph.view import NodeView

GAINS_AND_OFFSETS = frozenset({"Add", "BatchNormalization", "Div", "Mul", "Neg", "Sub"})


def moved_maps(sight: Sight, refused: Container[str]) -> Iterator[Rewrite]:
    """For each tensor that such a node makes, the maps that read it, together or else one by one.

    Args:
        sight: of the graph.
        refused: tensors that have to be computed as they are.
    """
    graph = sight.graph
    for node in graph.nodes:
        if not (is_spatial(node) or node.op_type == "Concat" or node.op_type in SUMS):
            continue
        tensor = node.outputs[0]
        if tensor in graph.constants or len(node.outputs) > 1:
            continue
        readers = [graph.nodes[index] for index in graph.readers.get(tensor, ()) if index >= 0]
        maps = [(reader, *found) for reader in readers if (found := _map_of(sight, reader, tensor)) is not None]
        maps = [each for each in maps if each[0].outputs[0] not in refused]
        together = _moved(sight, tensor, maps)
        if together is not None and together.pays:
            yield together
        elif len(maps) > 1:
            alone = (_moved(sight, tensor, [each]) for each in maps)
            yield from (each for each in alone if each is not None and each.pays)


def _map_of(sight: Sight, reader: NodeView, tensor: str) -> tuple[Value, int] | None:
    """A node as a map of the channels of a tensor, and where those are; None where it is none."""
    if len(reader.outputs) != 1:
        return None
    for frame, candidate in sight.found.candidates.get(reader.outputs[0], {}).items():
        value, place = candidate.value, candidate.value.conv.geometry
        plain = value.tail is None and value.field is None and value.lead is None
        direct = all(part.node is None for part in candidate.parts) and len(candidate.parts) == 1
        moves = candidate.weighs or reader.op_type in GAINS_AND_OFFSETS
        fits = frame.root == tensor and value.axes == frame.axes and place.is_pointwise
        if moves and fits and direct and plain:
            return value, frame.axes.index(1)
    return None


def _moved(sight: Sight, tensor: str, maps: Sequence[tuple[NodeView, Value, int]]) -> Rewrite | None:
    """The maps moved, all that move; None where none does."""
    gone = frozenset(reader.index for reader, _, _ in maps)
    moved = []
    for reader, value, axis in maps:
        part = Part.of(value)
        option = best(sight, part, tensor, axis, gone)
        if option is None or not is_rewritten(option.tree):
            continue
        words = _words(part, tensor, sight, option.tree)
        moved.append(Moved(reader.outputs[0], reader, option.tree, value, words))
    return Rewrite(sight.graph, tuple(moved)) if moved else None


def _words(part: Part, tensor: str, sight: Sight, tree: Tree) -> str:
    """What moves, and where: ``1x1 Conv moved before Resize x4``."""
    passed = list(dict.fromkeys(step.words for step in steps_of(tree)))
    maker = sight.graph.makers[tensor]
    if maker.op_type in ("Concat", *SUMS):
        passed.append(maker.op_type)
    return f"{part.words} moved before {', '.join(dict.fromkeys(passed)) or maker.op_type}"
