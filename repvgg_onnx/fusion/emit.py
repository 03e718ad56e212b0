"""Writes folded regions into a model: the only module that changes what the graph computes with.

The protobuf graph is edited in place and nothing is exported through another library, so names, metadata, annotations
and everything else that a fold does not touch stay as they are.
"""

import json
from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any

import onnx
from onnx import helper, numpy_helper

from repvgg_onnx import __version__
from repvgg_onnx.fusion.fold import Folded
from repvgg_onnx.fusion.regions import Plan
from repvgg_onnx.fusion.results import Member, Region
from repvgg_onnx.geometry import Geometry
from repvgg_onnx.graph.view import NodeView

PROVENANCE = "repvgg_onnx.members"
VERSION = "repvgg_onnx.version"


def emit(model: onnx.ModelProto, replacements: Iterable[tuple[Plan, Folded]]) -> list[Region]:
    """Each region stands as one node in the model, and what only it needed is gone.

    Args:
        model: changed in place; the plans' indices are those of its graph.
        replacements: regions and their arrays, none overlapping; read one at a time.

    Returns:
        What was emitted, in the order of the replacements.
    """
    graph = model.graph
    taken = set(_names(graph))
    removed: set[int] = set()
    regions = []
    for plan, folded in replacements:
        position = plan.members[-1].index
        node = _node(plan, folded, graph, taken)
        graph.node[position].CopyFrom(node)
        removed |= plan.removed - {position}
        regions.append(_region(plan, folded.geometry, node))
    _sweep(graph, removed)
    _stamp(model)
    return regions


def members_of(node: NodeView) -> tuple[Member, ...]:
    """The original nodes that a node stands for: itself, unless it was emitted by a fold."""
    for entry in node.proto.metadata_props:
        if entry.key == PROVENANCE:
            return tuple(Member(name, op_type) for op_type, name in json.loads(entry.value))
    return (Member(node.name, node.op_type),)


def _node(plan: Plan, folded: Folded, graph: onnx.GraphProto, taken: set[str]) -> onnx.NodeProto:
    """The node that stands for the region; its arrays are added to the graph."""
    inputs = [plan.frame.root]
    for role, array in (("kernel", folded.kernel), ("bias", folded.bias)):
        name = _fresh(f"{plan.sink}.{role}", taken)
        graph.initializer.append(numpy_helper.from_array(array, name))
        inputs.append(name)
    geometry = folded.geometry
    name = _main_member(plan).proto.name
    if geometry.rank == 0:
        node = helper.make_node("Gemm", inputs, [plan.sink], name=name, transB=1)
    else:
        node = helper.make_node("Conv", inputs, [plan.sink], name=name, **_conv_attributes(geometry))
    members = [[member.op_type, member.name] for node in plan.members for member in members_of(node)]
    node.metadata_props.add(key=PROVENANCE, value=json.dumps(members, ensure_ascii=False))
    return node


def _conv_attributes(geometry: Geometry) -> dict[str, Any]:
    return {
        "dilations": geometry.dilations,
        "group": geometry.group,
        "kernel_shape": geometry.kernel_shape,
        "pads": geometry.pads,
        "strides": geometry.strides,
    }


def _main_member(plan: Plan) -> NodeView:
    """The removed member with the largest kernel, whose name the new node takes over."""
    removed = [node for node in plan.members if node.index in plan.removed]
    return max(removed, key=lambda node: (_kernel_size(node), node.index))


def _kernel_size(node: NodeView) -> int:
    shapes = [node.graph.constants.shape(name) for name in node.inputs[1:2] if name in node.graph.constants]
    size = 0
    for shape in shapes:
        size = 1
        for length in shape or ():
            size *= length
    return size


def _region(plan: Plan, geometry: Geometry, node: onnx.NodeProto) -> Region:
    return Region(
        name=node.name or plan.sink,
        root=plan.frame.root,
        sink=plan.sink,
        members=tuple(member for node in plan.members for member in members_of(node)),
        branches=plan.value.terms,
        op_type=node.op_type,
        c_in=geometry.c_in,
        c_out=geometry.c_out,
        kernel_shape=geometry.kernel_shape,
        strides=geometry.strides,
        pads=geometry.pads,
        dilations=geometry.dilations,
        group=geometry.group,
        cost_before=plan.before,
        cost_after=plan.after,
    )


def _sweep(graph: onnx.GraphProto, removed: set[int]) -> None:
    """Deletes these nodes and whatever fed only them."""
    orphans = {name for index in removed for name in graph.node[index].input}
    orphans |= {name for index in removed for name in graph.node[index].output}
    _delete(graph.node, removed)
    while orphans:
        used = set(_used(graph))
        dead = {index for index, node in enumerate(graph.node) if _is_dead(node, orphans, used)}
        names = {name for index in dead for name in graph.node[index].input}
        _forget(graph, orphans - used)
        _delete(graph.node, dead)
        orphans = names


def _is_dead(node: onnx.NodeProto, orphans: set[str], used: set[str]) -> bool:
    return any(name in orphans for name in node.output) and not any(name in used for name in node.output if name)


def _forget(graph: onnx.GraphProto, names: set[str]) -> None:
    """Deletes initializers, types and annotations of tensors that are gone; graph inputs stay."""
    names = names - {value.name for value in graph.input}
    _delete(graph.initializer, {i for i, tensor in enumerate(graph.initializer) if tensor.name in names})
    _delete(
        graph.sparse_initializer,
        {i for i, tensor in enumerate(graph.sparse_initializer) if tensor.values.name in names},
    )
    _delete(graph.value_info, {i for i, value in enumerate(graph.value_info) if value.name in names})
    notes = enumerate(graph.quantization_annotation)
    _delete(graph.quantization_annotation, {i for i, note in notes if note.tensor_name in names})


def _delete(container: MutableSequence[Any], indices: set[int]) -> None:
    for index in sorted(indices, reverse=True):
        del container[index]


def _used(graph: onnx.GraphProto) -> Iterator[str]:
    """Names that the graph's nodes, outputs and subgraphs read."""
    yield from (value.name for value in graph.output)
    for node in graph.node:
        yield from node.input
        for inner in _subgraphs(node):
            yield from _used(inner)


def _names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every tensor name in the graph and its subgraphs."""
    for values in (graph.input, graph.output, graph.initializer):
        yield from (value.name for value in values)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)
    for node in graph.node:
        yield from node.input
        yield from node.output
        for inner in _subgraphs(node):
            yield from _names(inner)


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def _fresh(name: str, taken: set[str]) -> str:
    fresh, number = name, 2
    while fresh in taken:
        fresh, number = f"{name}.{number}", number + 1
    taken.add(fresh)
    return fresh


def _stamp(model: onnx.ModelProto) -> None:
    for entry in model.metadata_props:
        if entry.key == VERSION:
            entry.value = __version__
            return
    model.metadata_props.add(key=VERSION, value=__version__)
