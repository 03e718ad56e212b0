"""A model to views of its graphs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx

from repvgg_onnx.graph.bodies import STANDARD_DOMAINS, inner_graphs, tensor_bytes
from repvgg_onnx.graph.budget import DEFAULT_MB, Budget
from repvgg_onnx.graph.constants import Constants
from repvgg_onnx.graph.normalize import (
    FIRST_OVERRIDABLE,
    TensorType,
    standard_opset,
    tensor_types,
)
from repvgg_onnx.graph.skeleton import infer_further, infer_skeletons
from repvgg_onnx.graph.storage.files import TensorFiles
from repvgg_onnx.graph.view import GraphView

FIRST_PROPAGATED = 14
MOST_INFERENCES = 64
"""Reshapes one after the other whose shapes follow from each other, at most."""
_UNKNOWN = TensorType(onnx.TensorProto.UNDEFINED, None)


@dataclass(frozen=True)
class _Common:
    """What all graphs of a model share; the fields are those of Constants."""

    opset_imports: Sequence[onnx.OperatorSetIdProto]
    budget: Budget
    files: TensorFiles | None
    fixed: bool


@dataclass(frozen=True)
class Skeletons:
    """A model without its data, with every type that inference finds.

    Attributes:
        general: with the shapes that hold for every run.
        sized: with those for some sizes of its inputs; the same object where there is no difference.
    """

    general: onnx.ModelProto
    sized: onnx.ModelProto


def skeletons_of(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> Skeletons:
    """The skeletons of a model; the arguments and the errors are those of ``view_model``."""
    general, sized = infer_skeletons(model, shapes)
    skeleton = _with_reshapes(general)
    return Skeletons(skeleton, skeleton if sized is general else _with_reshapes(sized))


def view_model(
    model: onnx.ModelProto,
    shapes: "Mapping[str, Sequence[int]] | Skeletons",
    *,
    max_constant_mb: int = DEFAULT_MB,
    files: TensorFiles | None = None,
) -> GraphView:
    """The main graph of a model, with its subgraphs.

    Args:
        model: not changed.
        shapes: sizes of its inputs to count costs with; or what is known of an equal model already.
        max_constant_mb: MiB of constants that may be computed, beyond twice what the model stores.
        files: where the initializers are that it only refers to; None where it holds them all.

    Raises:
        ModelError: the graph is not valid ONNX.
    """
    known = shapes if isinstance(shapes, Skeletons) else skeletons_of(model, shapes)
    fixed = model.ir_version < FIRST_OVERRIDABLE
    budget = Budget.beyond(tensor_bytes(model), max_constant_mb)
    common = _Common(model.opset_import, budget, files, fixed)
    sized = known.general.graph if known.sized is known.general else known.sized.graph
    return _view(model.graph, known.general.graph, sized, common)


def _with_reshapes(skeleton: onnx.ModelProto) -> onnx.ModelProto:
    """The skeleton with the results of Reshapes whose shape is computed from known shapes, and what follows from them.

    onnx 1.23 infers these from opset 14 on, where Reshape-14 reads what was propagated, and not before.
    """
    if standard_opset(skeleton.opset_import) >= FIRST_PROPAGATED:
        return skeleton
    for _ in range(MOST_INFERENCES):
        found = dict(_reshapes(skeleton))
        if not found:
            break
        skeleton = infer_further(skeleton, found)
    return skeleton


def _reshapes(skeleton: onnx.ModelProto) -> Iterator[tuple[str, list[int]]]:
    """Results of Reshapes that inference left open, with their shapes."""
    types = tensor_types(skeleton.graph)
    constants = Constants(skeleton.graph, skeleton.opset_import, types)
    for node in skeleton.graph.node:
        if node.op_type != "Reshape" or node.domain not in STANDARD_DOMAINS or len(node.input) != 2:
            continue
        known, source = (types.get(name, _UNKNOWN).shape for name in (node.output[0], node.input[0]))
        if known is None and source is not None and None not in source:
            wanted = constants.value(node.input[1])
            if wanted is not None and wanted.dtype == np.int64 and wanted.ndim == 1:
                shape = _reshaped([size or 0 for size in source], wanted.tolist())
                if shape is not None:
                    yield node.output[0], shape


def _reshaped(shape: Sequence[int], wanted: Sequence[int]) -> list[int] | None:
    """What a Reshape makes of a shape; None where they contradict each other. Source: ONNX, Reshape version 5."""
    if 0 in wanted[len(shape) :]:
        return None
    sizes = [shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    total, given = prod(shape), prod(size for size in sizes if size != -1)
    if sizes.count(-1) == 1 and given > 0 and total % given == 0:
        sizes[sizes.index(-1)] = total // given
    return sizes if min(sizes, default=0) >= 0 and prod(sizes) == total < 2**63 else None


def _view(
    proto: onnx.GraphProto,
    skeleton: onnx.GraphProto,
    sized: onnx.GraphProto,
    common: _Common,
    outer: GraphView | None = None,
) -> GraphView:
    """A graph and the ones inside it; the skeletons have the same nodes and subgraphs in the same order."""
    own = {name for node in proto.node for name in node.output} | {value.name for value in proto.input}
    types = _visible(outer.types if outer else {}, own) | tensor_types(skeleton)
    sizes = types if sized is skeleton else _visible(outer.sizes if outer else {}, own) | tensor_types(sized)
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
    bodies = inner_graphs(proto)
    skeletons, sizeds = (inner_graphs(each) if bodies else [] for each in (skeleton, sized))
    inner = [_view(*three, common, whole) for three in zip(bodies, skeletons, sizeds, strict=True)]
    return replace(whole, subgraphs=tuple(inner))


def _visible(outer: Mapping[str, TensorType], own: set[str]) -> dict[str, TensorType]:
    """Types of the graph around, without those of names that the graph hides."""
    return {name: known for name, known in outer.items() if name not in own}
