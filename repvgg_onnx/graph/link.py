"""A model to views of its graphs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx

from repvgg_onnx.graph.budget import DEFAULT_MB, Budget, budget_of
from repvgg_onnx.graph.constants import Constants
from repvgg_onnx.graph.normalize import (
    FIRST_OVERRIDABLE,
    TensorType,
    infer_skeleton,
    standard_opset,
    tensor_types,
)
from repvgg_onnx.graph.storage.files import TensorFiles
from repvgg_onnx.graph.view import GraphView


@dataclass(frozen=True)
class _Common:
    """What all graphs of a model share; the fields are those of Constants."""

    opset_imports: Sequence[onnx.OperatorSetIdProto]
    budget: Budget
    files: TensorFiles | None
    fixed: bool


def view_model(
    model: onnx.ModelProto,
    shapes: Mapping[str, Sequence[int]],
    *,
    max_constant_mb: int = DEFAULT_MB,
    files: TensorFiles | None = None,
) -> GraphView:
    """The main graph of a model, with its subgraphs.

    Args:
        model: not changed.
        shapes: sizes of its inputs to count costs with.
        max_constant_mb: how much may be computed, as for ``budget_of``.
        files: where the initializers are that it only refers to; None where it holds them all.

    Raises:
        ModelError: the graph is not valid ONNX.
    """
    skeleton = infer_skeleton(model)
    sized = infer_skeleton(model, dict(shapes))
    fixed = model.ir_version < FIRST_OVERRIDABLE
    common = _Common(model.opset_import, budget_of(model, max_constant_mb), files, fixed)
    return _view(model.graph, skeleton.graph, sized.graph, common)


def _view(
    proto: onnx.GraphProto,
    skeleton: onnx.GraphProto,
    sized: onnx.GraphProto,
    common: _Common,
    outer: GraphView | None = None,
) -> GraphView:
    """A graph and the ones inside it; the skeletons have the same nodes in the same order."""
    own = {name for node in proto.node for name in node.output} | {value.name for value in proto.input}
    types = _visible(outer.types if outer else {}, own) | tensor_types(skeleton)
    sizes = _visible(outer.sizes if outer else {}, own) | tensor_types(sized)
    constants = Constants(
        proto,
        common.opset_imports,
        types,
        outer.constants if outer else None,
        common.budget,
        common.files,
        fixed=common.fixed and outer is None,
    )
    whole = GraphView(proto, constants, types, sizes, standard_opset(common.opset_imports), outer)
    inner = [
        _view(body, body_skeleton, body_sized, common, whole)
        for index, node in enumerate(proto.node)
        for body, body_skeleton, body_sized in _bodies(node, skeleton.node[index], sized.node[index])
    ]
    return replace(whole, subgraphs=tuple(inner))


def _visible(outer: Mapping[str, TensorType], own: set[str]) -> dict[str, TensorType]:
    """Types of the graph around, without those of names that the graph hides."""
    return {name: known for name, known in outer.items() if name not in own}


def _bodies(
    node: onnx.NodeProto, skeleton: onnx.NodeProto, sized: onnx.NodeProto
) -> Iterator[tuple[onnx.GraphProto, onnx.GraphProto, onnx.GraphProto]]:
    """Each subgraph, in the three copies of a node; the skeletons may have more attributes, behind all others."""
    for attribute, second, third in zip(node.attribute, skeleton.attribute, sized.attribute, strict=False):
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g, second.g, third.g
