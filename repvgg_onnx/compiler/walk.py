"""One walk over the graph: which tensors are affine in which roots, and why others are not."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.compiler.containment import contained
from repvgg_onnx.compiler.lifters import LIFTERS
from repvgg_onnx.compiler.results import PROVENANCE, Refusal
from repvgg_onnx.compiler.tail import CHANGES_OF_SHAPE
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.demands import demanded_shapes
from repvgg_onnx.graph.normalize import Shape
from repvgg_onnx.graph.view import FLOATS, GraphView, NodeView

OUTERMOST = 4  # roots kept per tensor, the farthest ones: a long chain folds at once
NEAREST = 8  # and the nearest ones; with all of them a chain of n linear nodes would cost n²
MOST_CHANNELS = 2**20  # of a tensor that is taken for a root; a declared size costs a file nothing
ALWAYS = frozenset({"training-mode", "old-batch-norm"})  # what a user can mend is said wherever it stands


@dataclass(frozen=True, eq=False)
class Candidate:
    """A tensor as an affine map of a root.

    Attributes:
        value: the map.
        node: the node that makes the tensor; None for the root itself.
        parts: the node's operands.
        work: how many nodes do more than rename something, counted up to 2.
        weighs: whether there is a kernel among the nodes.
        is_settled: whether all of those kernels were emitted by a fold.
        computes: whether a node reads a constant that other nodes compute, anew at every run.
        asks: whether a node gives a shape that is computed at run time.
        maps: how many nodes do more than change the shape, counted up to 2.
    """

    value: Value
    node: NodeView | None = None
    parts: "tuple[Candidate, ...]" = ()
    work: int = 0
    weighs: bool = False
    is_settled: bool = True
    computes: bool = False
    asks: bool = False
    maps: int = 0

    @property
    def members(self) -> frozenset[int]:
        """Indices of the nodes that make the tensor from the root."""
        found: set[int] = set()
        waiting = [self]
        while waiting:
            candidate = waiting.pop()
            if candidate.node is not None and candidate.node.index not in found:
                found.add(candidate.node.index)
                waiting += candidate.parts
        return frozenset(found)


Candidates = Mapping[Frame, Candidate]


@dataclass(frozen=True)
class Walk:
    """What one walk found.

    Attributes:
        candidates: for each tensor that a lifted node makes, its maps by frame, the farthest root first.
        refusals: why nodes were not lifted, in graph order.
        cut: tensors of which not all roots were kept.
        asked: shapes of tensors as far as the weights of their readers tell.
        roots: for each tensor that was read its identical maps, by whether its channels have to come second.
    """

    candidates: dict[str, dict[Frame, Candidate]] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    asked: Mapping[str, Shape] = field(default_factory=dict)
    roots: dict[tuple[str, bool], dict[Frame, Candidate]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every root of every tensor was looked at."""
        return not self.cut


def walk(graph: GraphView) -> Walk:
    """Asks each node, in order, whether its inputs are affine in one root and whether it keeps them so."""
    found = Walk(asked=demanded_shapes(graph))
    for node in graph.nodes:
        if node.op_type in LIFTERS and node.outputs and node.outputs[0] not in graph.constants:
            try:
                with contained(f"looking at {node.op_type}"):
                    _visit(node, found)
            except LiftError as error:
                found.refusals.append(Refusal(error.code, node.name, str(error)))
    return found


def _visit(node: NodeView, found: Walk) -> None:
    entry = LIFTERS[node.op_type]
    dynamic = [index for index in node.dynamic_inputs if entry.values is None or index in entry.values]
    operands = [_readings(node, index, found) for index in dynamic]
    problems: dict[str, LiftError] = {}
    lifted: set[str] = set()
    frames = _common_frames(operands)
    if len(frames) > OUTERMOST + NEAREST:
        found.cut.append(node.outputs[0])
        frames = frames[:OUTERMOST] + frames[-NEAREST:]
    for frame in frames:
        parts = {index: reading[frame] for index, reading in zip(dynamic, operands, strict=True)}
        try:
            with contained(f"lifting {node.op_type}"):
                made = _lift(node, parts, frame)
        except LiftError as error:
            matters = any(part.node for part in parts.values()) or entry.says or error.code in ALWAYS
            # Where nothing but the shape was changed, nothing is lost.
            matters &= error.code != "reshaped" or any(part.maps for part in parts.values())
            known = problems.get(frame.root)
            if matters and (known is None or known.code == "layout"):  # one reading not fitting says the least
                problems[frame.root] = error
            continue
        lifted.add(frame.root)
        for tensor, candidate in made.items():
            found.candidates.setdefault(tensor, {})[frame] = candidate
    joins = len(operands) > 1 and any(part.node for reading in operands for part in reading.values())
    origins = list(dict.fromkeys(next((frame.root for frame in reading), "") for reading in operands))
    refusal = _refusal(node, lifted, problems, origins if joins else ())
    if refusal is not None:
        found.refusals.append(refusal)


def _lift(node: NodeView, parts: Mapping[int, Candidate], frame: Frame) -> dict[str, Candidate]:
    """What the node makes of its operands in one frame, by output."""
    op_type, entry, operators = node.op_type, LIFTERS[node.op_type], tuple(parts.values())
    if entry.attributes is not None and not entry.attributes.issuperset(node.attributes):
        unknown = min(set(node.attributes) - entry.attributes)
        raise LiftError("unknown-attribute", f"{op_type} has the unknown attribute {unknown!r}")
    if not entry.reshapes and any(part.value.tail is not None for part in operators):
        raise LiftError("reshaped", f"{op_type} reads a value whose shape was changed after the last kernel")
    operands: list[Value | None] = [None] * len(node.inputs)
    for index, part in parts.items():
        operands[index] = part.value
    made = entry.lift(node, operands, frame)
    elem_type = node.graph.elem_type(frame.root)
    if elem_type not in FLOATS or elem_type != node.graph.elem_type(node.outputs[0]) or node.has_conflicting_types:
        raise LiftError("type", f"{op_type} does not work on one floating-point type throughout")
    values = [made] if isinstance(made, Value) else made
    work = maps = 0
    weighs, is_settled = entry.weighs, not entry.weighs or is_emitted(node)
    computes, asks = node.reads_computed, op_type == "Reshape" and 1 in node.dynamic_inputs
    for part in operators:
        work, maps = max(work, part.work), max(maps, part.maps)
        weighs, is_settled = weighs or part.weighs, is_settled and part.is_settled
        computes, asks = computes or part.computes, asks or part.asks
    work = min(2, work + (not entry.renames))
    maps = min(2, maps + (not entry.renames and op_type not in CHANGES_OF_SHAPE))
    return {
        tensor: Candidate(value, node, operators, work, weighs, is_settled, computes, asks, maps)
        for tensor, value in zip(node.proto.output, values, strict=False)
        if tensor
    }


def is_emitted(node: NodeView) -> bool:
    """Whether a fold wrote the node."""
    return any(entry.key == PROVENANCE for entry in node.proto.metadata_props)


def _readings(node: NodeView, index: int, found: Walk) -> dict[Frame, Candidate]:
    """An input as a map of earlier tensors, and as itself."""
    tensor = node.inputs[index]
    key = (tensor, LIFTERS[node.op_type].channels_second)
    if key not in found.roots:
        found.roots[key] = _as_itself(node.graph, *key, found.asked)
    return {**found.candidates.get(tensor, {}), **found.roots[key]}


def _as_itself(graph: GraphView, tensor: str, second: bool, asked: Mapping[str, Shape]) -> dict[Frame, Candidate]:
    """A tensor as a root: its channels are the second axis, or, unless they have to be, the last of three or more."""
    shape = asked.get(tensor, graph.annotated(tensor))
    known = graph.shape(tensor) or (None,) * len(shape or ())
    if shape is None or len(shape) < 2 or len(known) != len(shape):
        return {}
    rank = len(shape)
    orders = [tuple(range(rank))]
    if rank > 2 and not second:
        orders.append((0, *range(2, rank), 1))
    made = {}
    for axes in orders:
        channels = shape[axes.index(1)]
        if channels is not None and 0 < channels <= MOST_CHANNELS:
            sizes = tuple(known[axes.index(axis)] for axis in range(2, rank))
            value = Value(AffineConv.identity(channels, rank - 2), axes)
            made[Frame(tensor, axes, sizes)] = Candidate(value)
    return made


def _common_frames(operands: Sequence[Candidates]) -> list[Frame]:
    """Frames that every operand has, the farthest root first."""
    if not operands:
        return []
    first, *others = operands
    return [frame for frame in first if all(frame in other for other in others)]


def _refusal(
    node: NodeView, lifted: Collection[str], problems: Mapping[str, LiftError], origins: Sequence[str]
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
