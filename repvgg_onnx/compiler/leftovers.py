"""Why a BatchNormalization, a gain or an offset is still there where no refusal has named it yet."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from repvgg_onnx.compiler.lifters import is_kernel_operator
from repvgg_onnx.compiler.results import Refusal
from repvgg_onnx.graph.view import FLOATS, GraphView, NodeView

_AFFINE = frozenset({"Add", "Div", "Mul", "Sub"})
LONGEST_WAY = 16  # nodes that only pass on what they read, between the node and a kernel
_PASSED = frozenset({"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


def leftovers(
    graph: GraphView,
    known: Sequence[Refusal],
    gone: Collection[int],
    within: Callable[[], Mapping[int, Refusal]],
) -> Iterator[Refusal]:
    """A refusal for each such node that none names: of every BatchNormalization, and of gains and offsets at a kernel.

    Args:
        graph: what was searched.
        known: the refusals that there are.
        gone: indices of nodes that a fold removes.
        within: gives, by index of a node, the refusal of a region that it is part of; asked once, if at all.
    """
    reasons = {refusal.node: refusal for refusal in known}
    regions: Mapping[int, Refusal] | None = None
    for node in graph.nodes:
        if node.index in gone or node.name in reasons or not node.outputs:
            continue
        if node.outputs[0] in graph.constants:
            if node.op_type == "BatchNormalization" and graph.constants.value(node.outputs[0]) is None:
                sentence = f"{node.op_type} makes {node.outputs[0]!r} of constants, and that was not evaluated"
                yield Refusal("not-evaluated", node.name, sentence)
            continue
        if node.op_type == "BatchNormalization" or _is_gain_or_offset(node):
            before, after = _way_back(graph, node), _ways_on(graph, node)
            beside = [way[-1] for way in (before, *after) if _leads_to_kernel(way)]
            regions = within() if regions is None else regions
            if node.index in regions:
                yield replace(regions[node.index], node=node.name)
            elif beside or node.op_type == "BatchNormalization":
                yield _reason(node, [before, *after], beside, reasons)


def _is_gain_or_offset(node: NodeView) -> bool:
    floats = node.graph.elem_type(node.outputs[0]) in {*FLOATS, 0}
    return node.op_type in _AFFINE and len(node.inputs) == 2 and len(node.dynamic_inputs) == 1 and floats


def _way_back(graph: GraphView, node: NodeView) -> list[NodeView]:
    """The node that makes what this one reads, and those before it as long as they only pass it on."""
    way: list[NodeView] = []
    here: NodeView | None = node
    while here is not None and here.dynamic_inputs:
        here = graph.makers.get(here.inputs[here.dynamic_inputs[0]])
        if here is not None:
            way.append(here)
        if here is None or here.op_type not in _PASSED or len(way) == LONGEST_WAY:
            break
    return way


def _ways_on(graph: GraphView, node: NodeView) -> list[list[NodeView]]:
    """For each reader the nodes up to the first that does more than pass on what it reads."""
    ways, waiting = [], [[graph.nodes[index]] for index in graph.readers.get(node.outputs[0], ()) if index >= 0]
    while waiting:
        way = waiting.pop(0)
        names = way[-1].outputs[:1] if way[-1].op_type in _PASSED and len(way) < LONGEST_WAY else ()
        readers = [index for name in names for index in graph.readers.get(name, ()) if index >= 0]
        if readers:
            waiting += [[*way, graph.nodes[index]] for index in readers]
        else:
            ways.append(way)
    return ways


def _leads_to_kernel(way: Sequence[NodeView]) -> bool:
    return bool(way) and is_kernel_operator(way[-1].op_type)


def _reason(
    node: NodeView,
    ways: Sequence[Sequence[NodeView]],
    beside: Sequence[NodeView],
    reasons: Mapping[str, Refusal],
) -> Refusal:
    """The first that holds: a parameter is not constant; a way to a kernel is refused, or shared; it is folded."""
    for index in range(1, len(node.inputs)) if node.op_type == "BatchNormalization" else ():
        if node.has_input(index) and not node.is_constant(index):
            error = node.not_constant(index)
            return Refusal(error.code, node.name, str(error))
    for way in ways:
        for step in way if _leads_to_kernel(way) else ():
            if step.name in reasons:
                known = reasons[step.name]
                return Refusal(
                    known.code, node.name, f"{step.op_type} {step.name} beside it is refused: {known.sentence}"
                )
    if not beside:
        before = ways[0][-1].op_type if ways[0] else "an input"
        after = ", ".join(sorted({way[-1].op_type for way in ways[1:]})) or "an output"
        sentence = f"{node.op_type} stands between {before} and {after}, which have no kernel"
        return Refusal("no-kernel", node.name, sentence)
    if not any(kernel.is_constant(index) for kernel in beside for index in range(len(kernel.inputs))):
        sentence = f"{beside[0].op_type} {beside[0].name} beside it has no constant weights"
        return Refusal("not-constant", node.name, sentence)
    for way in ways:
        if _leads_to_kernel(way):
            between = way if way is ways[0] else [node, *way[:-1]]  # whose results lead from one to the other
            for step in between:
                if len(step.graph.readers.get(step.outputs[0], ())) + step.graph.is_output(step.outputs[0]) > 1:
                    sentence = f"{step.name} has to stay, because its result is needed elsewhere as well"
                    return Refusal("shared", node.name, sentence)
    sentence = f"{node.op_type} at {beside[0].op_type} {beside[0].name} stands as a fold would write it"
    return Refusal("already-folded", node.name, sentence)
