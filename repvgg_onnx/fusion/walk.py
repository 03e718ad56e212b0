"""One walk over the graph: which tensors are affine in which roots, and why others are not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from repvgg_onnx.algebra import AffineConv
from repvgg_onnx.errors import GeometryError, LiftError
from repvgg_onnx.fusion.lifters import LIFTERS
from repvgg_onnx.fusion.results import Refusal
from repvgg_onnx.fusion.tail import CHANGES_OF_SHAPE
from repvgg_onnx.fusion.value import IDENTITY, Frame, Value
from repvgg_onnx.graph.demands import demanded_shapes
from repvgg_onnx.graph.normalize import Shape
from repvgg_onnx.graph.view import FLOATS, GraphView, NodeView

DEEPEST = 12  # roots kept per tensor, nearest last: a chain of n linear nodes would otherwise cost n²
MOST_CHANNELS = 2**20  # of a tensor that is taken for a root; a declared size costs a file nothing
MOST_SUMS = 100  # maps one after the other from a root: they are read one inside the other
MOST_READINGS = 8  # of the maps in a region, for each of its nodes; a node that adds its input to itself reads it twice
ALWAYS = frozenset({"training-mode", "old-batch-norm"})  # what a user can mend is said wherever it stands


@dataclass(frozen=True, eq=False)
class Candidate:
    """A tensor as an affine map of a root, and the nodes that make it so.

    Attributes:
        value: the map.
        members: indices of the nodes.
        depth: how many of them are read one inside the other.
        readings: how many maps are read in all, some of them several times.
    """

    value: Value
    members: frozenset[int]
    depth: int = 0
    readings: int = 1


Candidates = Mapping[Frame, Candidate]


@dataclass(frozen=True)
class Walk:
    """What one walk found.

    Attributes:
        candidates: for each tensor that a lifted node makes, its maps by frame.
        refusals: why nodes were not lifted, in graph order.
        asked: shapes of tensors as far as the weights of their readers tell.
    """

    candidates: dict[str, dict[Frame, Candidate]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    asked: Mapping[str, Shape] = field(default_factory=dict)


def walk(graph: GraphView) -> Walk:
    """Asks each node, in order, whether its inputs are affine in one root and whether it keeps them so."""
    found = Walk(asked=demanded_shapes(graph))
    for node in graph.nodes:
        if node.op_type in LIFTERS and node.outputs and node.outputs[0] not in graph.constants:
            _visit(node, found)
    return found


def _visit(node: NodeView, found: Walk) -> None:
    entry = LIFTERS[node.op_type]
    dynamic = [index for index in node.dynamic_inputs if entry.values is None or index in entry.values]
    operands = [_readings(node, index, found) for index in dynamic]
    problems: dict[str, LiftError | GeometryError] = {}
    lifted: set[str] = set()
    for frame in _common_frames(operands)[-DEEPEST:]:
        parts = {index: reading[frame] for index, reading in zip(dynamic, operands, strict=True)}
        try:
            made = _lift(node, parts, frame)
        except (LiftError, GeometryError) as error:
            members = [part.members for part in parts.values()]
            matters = any(members) or entry.weighs or error.code in ALWAYS
            matters &= error.code != "reshaped" or _computes(node, members)
            known = problems.get(frame.root)
            if matters and (known is None or known.code == "layout"):  # one reading not fitting says the least
                problems[frame.root] = error
            continue
        lifted.add(frame.root)
        for tensor, candidate in made.items():
            found.candidates.setdefault(tensor, {})[frame] = candidate
    joins = len(operands) > 1 and any(part.members for reading in operands for part in reading.values())
    origins = list(dict.fromkeys(next((frame.root for frame in reading), "") for reading in operands))
    refusal = _refusal(node, lifted, problems, origins if joins else ())
    if refusal is not None:
        found.refusals.append(refusal)


def _computes(node: NodeView, members: Sequence[frozenset[int]]) -> bool:
    """Whether there is more among these nodes than changes of shape, so that something is lost where they end."""
    return any(node.graph.nodes[index].op_type not in CHANGES_OF_SHAPE for some in members for index in some)


def _lift(node: NodeView, parts: Mapping[int, Candidate], frame: Frame) -> dict[str, Candidate]:
    """What the node makes of its operands in one frame, by output."""
    entry = LIFTERS[node.op_type]
    members = frozenset({node.index}).union(*(part.members for part in parts.values()))
    depth = 1 + max((part.depth for part in parts.values()), default=0)
    readings = 1 + sum(part.readings for part in parts.values())
    if depth > MOST_SUMS or readings > MOST_READINGS * len(members) + MOST_READINGS:
        raise LiftError("too-large", f"{node.op_type} ends a region of {len(members)} nodes that are read too often")
    unknown = sorted(set(node.attributes) - entry.attributes) if entry.attributes is not None else ()
    if unknown:
        raise LiftError("unknown-attribute", f"{node.op_type} has the unknown attribute {unknown[0]!r}")
    operands = [parts[index].value if index in parts else None for index in range(len(node.inputs))]
    if not entry.reshapes and any(operand is not None and operand.tail is not None for operand in operands):
        raise LiftError("reshaped", f"{node.op_type} reads a value whose shape was changed after the last kernel")
    made = entry.lift(node, operands, frame)
    types = {node.graph.elem_type(tensor) for tensor in (frame.root, node.outputs[0])}
    if len(types) > 1 or not types <= FLOATS or node.has_conflicting_types:
        raise LiftError("type", f"{node.op_type} does not work on one floating-point type throughout")
    values = [made] if isinstance(made, Value) else made
    return {
        tensor: Candidate(value, members, depth, readings)
        for tensor, value in zip(node.proto.output, values, strict=False)
        if tensor
    }


def _readings(node: NodeView, index: int, found: Walk) -> dict[Frame, Candidate]:
    """An input as a map of earlier tensors, and as itself."""
    tensor = node.inputs[index]
    readings = dict(found.candidates.get(tensor, {}))
    for value, frame in _as_itself(node, index, found.asked):
        readings[frame] = Candidate(value, frozenset())
    return readings


def _as_itself(node: NodeView, index: int, asked: Mapping[str, Shape]) -> Sequence[tuple[Value, Frame]]:
    """The input as a root, its channels read as the second axis and, from three axes on, as the last."""
    tensor = node.inputs[index]
    shape = asked.get(tensor, node.graph.annotated(tensor))
    known = node.graph.shape(tensor) or (None,) * len(shape or ())
    if shape is None or len(shape) < 2 or len(known) != len(shape):
        return ()
    rank = len(shape)
    orders = [tuple(range(rank))]
    if rank > 2:
        orders.append((0, *range(2, rank), 1))
    made = []
    for axes in orders:
        channels = shape[axes.index(1)]
        if channels is not None and 0 < channels <= MOST_CHANNELS:
            sizes = tuple(known[axes.index(axis)] for axis in range(2, rank))
            value = Value(AffineConv.identity(channels, rank - 2), axes, IDENTITY)
            made.append((value, Frame(tensor, axes, sizes)))
    return made


def _common_frames(operands: Sequence[Candidates]) -> list[Frame]:
    """Frames that every operand has, deepest roots first."""
    if not operands:
        return []
    first, *others = operands
    return [frame for frame in first if all(frame in other for other in others)]


def _refusal(
    node: NodeView, lifted: Collection[str], problems: Mapping[str, LiftError | GeometryError], origins: Sequence[str]
) -> Refusal | None:
    """Why the node ended a region, if it did: the first root in which no reading of the axes could be lifted.

    Args:
        node: the node.
        lifted: roots in which it was lifted.
        problems: by root, why it was not.
        origins: the furthest roots of its operands, where several meet and one of them is affine.
    """
    for root, error in problems.items():
        if root not in lifted:
            return Refusal(error.code, node.name, str(error))
    if not origins or lifted or problems:
        return None
    for index in node.dynamic_inputs:
        if node.graph.constants.is_overridable(node.inputs[index]):
            error = node.not_constant(index)
            return Refusal(error.code, node.name, str(error))
    first, second = (repr(name) for name in (*origins, "", "")[:2])
    sentence = f"{node.op_type} joins a map of {first} and a map of {second}, and nothing is followed further back"
    return Refusal("two-roots", node.name, sentence)
