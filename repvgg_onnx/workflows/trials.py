"""A doubtful region as two models of its own, as one node and as it is, that a runtime can race."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import onnx
from onnx.helper import make_tensor_value_info

from repvgg_onnx.compiler.decisions import Decisions, Doubt
from repvgg_onnx.compiler.fuse import Fusion
from repvgg_onnx.compiler.lifters import is_kernel_operator
from repvgg_onnx.graph.bodies import operator_of, subgraphs
from repvgg_onnx.graph.cut import Cutter
from repvgg_onnx.graph.view import FLOATS, GraphView

Fuse = Callable[[onnx.ModelProto, Mapping[str, tuple[int, ...]], Decisions], Fusion]

CONTEXT = 8
"""Most nodes on the way to a root that run with its region: those of a LayerNormalization written out."""

_INTEGERS = frozenset({onnx.TensorProto.INT32, onnx.TensorProto.INT64, onnx.TensorProto.BOOL})


@dataclass(frozen=True)
class Trial:
    """The two forms of a doubtful region.

    Attributes:
        kept: the region with nothing doubtful folded; or, where the cost rule turned it down, as that rule has it.
        folded: the same, the region as one node.
        shapes: sizes of the inputs.
        decisions: what ``kept`` rests on.
    """

    kept: onnx.ModelProto
    folded: onnx.ModelProto
    shapes: Mapping[str, tuple[int, ...]]
    decisions: Decisions

    @property
    def key(self) -> Hashable:
        """Equal for trials that differ in names and weights only."""
        return (tuple(self.shapes.values()), _structure(self.kept), _structure(self.folded))


def isolate(
    view: GraphView, cutter: Cutter, fused: Cutter, doubt: Doubt, fuse: Fuse, decisions: Decisions
) -> Trial | None:
    """Both forms of a region; None where it cannot stand alone, or its sizes are not known.

    Both begin some nodes before the root, at the last kernels, so that what a runtime makes one operator of, such as a
    Gelu, is whole. Tensors inside that nodes outside read are outputs of both forms, so that a fold saves no more than
    in the model.

    Args:
        view: of the original.
        cutter: of the original.
        fused: of what the decisions make of it.
        doubt: what is in doubt.
        fuse: compiles a model, given sizes of its inputs and decisions.
        decisions: what has been decided.
    """
    sinks = [end.sink for end in doubt.ends]
    if not all(map(cutter.makes, sinks)):
        return None
    starts = _starts(view, fused, (end.root for end in doubt.ends))
    shapes = {start: size for start in starts if (size := _size(view, start)) is not None}
    if len(shapes) < len(starts):
        return None
    part = _part(view, cutter, starts, sinks)
    if len(part.graph.input) > len(starts):
        return None
    known = decisions.within({name for node in part.graph.node for name in node.output})
    folded = fuse(part, shapes, known.also(doubt.decided(fold=True)))
    if not set(sinks) <= {region.sink for region in folded.regions}:
        return None
    if doubt.wanted:
        kept, known = without_doubtful(lambda given: fuse(part, shapes, given), known.also(doubt.decided(fold=False)))
    else:
        kept = fuse(part, shapes, known)
    return Trial(kept.model, folded.model, shapes, known)


def without_doubtful(fuse: Callable[[Decisions], Fusion], decisions: Decisions) -> tuple[Fusion, Decisions]:
    """The model with nothing doubtful folded, and the decisions that make it so.

    Args:
        fuse: compiles the model with decisions.
        decisions: what has been decided; folds among them are taken back.
    """
    while True:
        fusion = fuse(decisions)
        folded = [doubt for doubt in fusion.doubts if doubt.folded]
        if not folded:
            return fusion, decisions
        for doubt in folded:
            decisions = decisions.also(doubt.decided(fold=False))


def _starts(view: GraphView, fused: Cutter, roots: Iterable[str]) -> tuple[str, ...]:
    """Where to begin: at most CONTEXT nodes of the fused model before the roots, and after the last kernels."""
    starts: dict[str, None] = {}
    names = [(root, 0) for root in dict.fromkeys(roots)]
    seen = {root for root, _ in names}
    for name, distance in names:
        node = fused.maker(name)
        read = [] if node is None else [each for each in node.input if each and each not in view.constants]
        known = all(_size(view, each) is not None and view.elem_type(each) in FLOATS for each in (name, *read))
        if node is None or distance == CONTEXT or _ends_context(node) or not known:
            starts[name] = None
            continue
        names += [(each, distance + 1) for each in dict.fromkeys(read) if each not in seen]
        seen.update(read)
    return tuple(starts)


def _ends_context(node: onnx.NodeProto) -> bool:
    """Whether nothing before the node can be one operator with what follows: a kernel, or control flow."""
    return is_kernel_operator(operator_of(node)) or bool(subgraphs(node))


def _part(view: GraphView, cutter: Cutter, roots: tuple[str, ...], sinks: list[str]) -> onnx.ModelProto:
    """The nodes from roots to sinks as a model, with axes as free as they are in the whole."""
    indices, _ = cutter.between(roots, sinks)
    inner = [name for index in indices for name in view.nodes[index].outputs if name not in view.constants]
    outside = {name for name in inner if view.is_output(name) or set(view.readers.get(name, ())) - set(indices)}
    seen = [name for name in inner if name in sinks or name in outside]
    inputs = [make_tensor_value_info(root, view.elem_type(root), view.shape(root)) for root in roots]
    return cutter.cut(inputs, [make_tensor_value_info(name, view.elem_type(name), None) for name in seen])


def _size(view: GraphView, tensor: str) -> tuple[int, ...] | None:
    """The shape that a tensor has when the inputs have theirs; None where inference does not find it.

    A batch that inference loses sight of is that of the first input.
    """
    known = view.sizes.get(tensor)
    if known is None or not known.shape or view.shape(tensor) is None:
        return None
    first = view.sizes.get(view.proto.input[0].name)
    batch = known.shape[0] or (first.shape[0] if first is not None and first.shape else None)
    sizes = tuple(size for size in (batch, *known.shape[1:]) if size is not None)
    return sizes if len(sizes) == len(known.shape) else None


def _structure(model: onnx.ModelProto) -> Hashable:
    """Everything about a model but its names and its weights."""
    numbers: dict[str, int] = {}

    def number(name: str) -> int:
        return numbers.setdefault(name, len(numbers))

    graph = model.graph
    ends = tuple(number(value.name) for value in (*graph.input, *graph.output))
    nodes = tuple(
        (node.domain, node.op_type, tuple(map(number, node.input)), tuple(map(number, node.output)), _attributes(node))
        for node in graph.node
    )
    return ends, nodes, tuple(sorted((number(tensor.name), *_kind(tensor)) for tensor in graph.initializer))


def _attributes(node: onnx.NodeProto) -> Hashable:
    return tuple(
        (item.name, _kind(item.t) if item.HasField("t") else item.SerializeToString(deterministic=True))
        for item in sorted(node.attribute, key=lambda item: item.name)
    )


def _kind(tensor: onnx.TensorProto) -> tuple[int, tuple[int, ...], bytes]:
    """Type and shape; of whole numbers, which are sizes, axes and pads, the values as well."""
    values = onnx.numpy_helper.to_array(tensor).tobytes() if tensor.data_type in _INTEGERS else b""
    return tensor.data_type, tuple(tensor.dims), values
