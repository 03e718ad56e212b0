"""fuse() with every region checked on its own: what fails is left as it was, and the rest is kept."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx

from repvgg_onnx.checks.datasets import InputsLike
from repvgg_onnx.checks.inputs import Ranges, Shapes
from repvgg_onnx.checks.regions import Piece, RegionParity, check_regions
from repvgg_onnx.checks.session import CPU, ProviderLike
from repvgg_onnx.fusion.decisions import UNDECIDED, Decisions
from repvgg_onnx.fusion.fold import Folded
from repvgg_onnx.fusion.forms import form_of
from repvgg_onnx.fusion.lifters import LIFTERS, WORTH_INLINING
from repvgg_onnx.fusion.results import Refusal, Region
from repvgg_onnx.fusion.value import Frame
from repvgg_onnx.fusion.walk import Candidate, walk
from repvgg_onnx.fusion.write import Writer, write_form
from repvgg_onnx.graph.budget import DEFAULT_MB
from repvgg_onnx.graph.cut import Cutter
from repvgg_onnx.graph.link import view_model
from repvgg_onnx.graph.load import ModelLike, load_model
from repvgg_onnx.graph.normalize import inline_functions
from repvgg_onnx.graph.view import GraphView, NodeView
from repvgg_onnx.pipeline import Fusion, fuse, input_shapes, prepare


@dataclass(frozen=True)
class Proof:
    """A fusion of which every region was checked.

    Attributes:
        fusion: what was kept; regions that failed are among its refusals.
        regions: how each kept region compares with the original, in the order of ``fusion.regions``; those inside
            subgraphs are left out, since their tensors cannot be observed.
        failed: how the regions that were left as they were compared.
    """

    fusion: Fusion
    regions: tuple[RegionParity, ...]
    failed: tuple[RegionParity, ...]

    @property
    def worst(self) -> RegionParity | None:
        """The kept region with the largest error; None where there is none to observe."""
        return max(self.regions, key=lambda region: region.error, default=None)


def prove(
    model: ModelLike,
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    ranges: Ranges | None = None,
    seeds: Sequence[int] = (0,),
    assume_inference: bool = False,
    freeze_initializers: bool = False,
    max_constant_mb: int = DEFAULT_MB,
    provider: ProviderLike = CPU,
    threads: int = 0,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
    decisions: Decisions = UNDECIDED,
) -> Proof:
    """fuse(), and every region checked on the activations that really arrive at its root.

    Args:
        model: as for fuse().
        shapes: as for fuse(), and what the original is run with.
        inputs: as for verify().
        ranges: as for verify().
        seeds: one standard-normal feed each, besides the one that stresses borders.
        assume_inference: as for fuse().
        freeze_initializers: as for fuse().
        max_constant_mb: as for fuse().
        provider: onnxruntime execution provider, or its name and its options.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        custom_ops: as for verify().
        decisions: as for fuse().

    Raises:
        ModelError: the model cannot be read, is not valid, or onnxruntime cannot load it.
        CheckError: ``shapes`` or ``inputs`` do not fit the model, or it cannot be run on a feed.
    """
    loaded = load_model(model)
    source, _ = prepare(loaded, assume_inference=assume_inference, freeze_initializers=freeze_initializers)
    flat = inline_functions(source, WORTH_INLINING)
    refused: dict[str, Refusal] = {}
    failed: list[RegionParity] = []
    while True:
        fusion = fuse(
            loaded,
            shapes=shapes,
            assume_inference=assume_inference,
            freeze_initializers=freeze_initializers,
            max_constant_mb=max_constant_mb,
            refused=refused,
            decisions=decisions,
        )
        pieces = list(_pieces(flat, fusion, shapes or {}))
        checked = check_regions(
            flat,
            pieces,
            shapes=shapes,
            inputs=inputs,
            ranges=ranges,
            seeds=seeds,
            provider=provider,
            threads=threads,
            custom_ops=custom_ops,
        )
        wrong = [parity for parity in checked if not parity.passed]
        if not wrong:
            return Proof(fusion, checked, tuple(failed))
        failed += wrong
        refused |= {parity.sink: _refusal(parity) for parity in wrong}


def _refusal(parity: RegionParity) -> Refusal:
    if parity.error > parity.tolerance:
        why = f"its error {parity.error:.1e} is above the tolerance {parity.tolerance:.1e}"
    else:
        why = f"an element's error is {parity.used:.1f} times its bound"
    return Refusal("check-failed", parity.name, f"the folded region was checked on {parity.feed}, and {why}")


def _pieces(model: onnx.ModelProto, fusion: Fusion, shapes: Shapes) -> Iterator[Piece]:
    """The regions of the main graph as models of their own."""
    if not fusion.regions:
        return
    view = view_model(model, input_shapes(model, shapes))
    cutter = Cutter(fusion.model)
    known = walk(view).candidates
    own = {name for node in view.nodes for name in node.outputs}
    for region in fusion.regions:
        if region.sink in own and cutter.makes(region.sink):
            candidate = _candidate(known.get(region.sink, {}), region)
            ends = [_value(name, view.elem_type(region.root)) for name in (region.root, region.sink)]
            whole = cutter.cut(ends[:1], ends[1:])
            majorant = None if candidate is None else _majorant(model, region, *candidate)
            yield Piece(region.name, region.root, region.sink, whole, majorant, _roundings(view, region, candidate))


def _candidate(candidates: Mapping[Frame, Candidate], region: Region) -> tuple[Frame, Candidate] | None:
    """How the walk over the original reads the region, if it does in one go."""
    for frame, candidate in candidates.items():
        if frame.root == region.root and candidate.value.conv.geometry.kernel_shape == region.kernel_shape:
            return frame, candidate
    return None


def _value(name: str, elem_type: int) -> onnx.ValueInfoProto:
    """A tensor of any shape."""
    return onnx.helper.make_tensor_value_info(name, elem_type or onnx.TensorProto.FLOAT, None)


def _majorant(model: onnx.ModelProto, region: Region, frame: Frame, candidate: Candidate) -> onnx.ModelProto | None:
    """The region's majorant in float32, in the form that the region has; None where it needs more than the root."""
    value = candidate.value
    if value.tail is not None and value.tail.computed_shapes:
        return None
    form = form_of(frame, value)
    conv = value.conv.majorant
    if conv.geometry.group != form.group:
        conv = conv.regroup(form.group)
    kernel, bias = conv.kernel.astype(np.float32), conv.bias.astype(np.float32)
    field = None
    if value.field is not None:
        offsets = value.offset_majorant(value.field.size).astype(np.float32)
        bias, field = np.zeros_like(bias), offsets[np.newaxis]
    lead = None if value.lead is None else np.abs(value.lead).astype(np.float32)
    graph = onnx.GraphProto()
    writer = Writer(graph, {region.root, region.sink}, as_nodes=False)
    written = write_form(
        writer, form, Folded(conv.geometry, kernel, bias, field, lead), root=region.root, sink=region.sink
    )
    graph.node.extend(written.nodes)
    graph.name = "majorant"
    graph.input.append(_value(region.root, onnx.TensorProto.FLOAT))
    graph.output.append(_value(region.sink, onnx.TensorProto.FLOAT))
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=max(model.ir_version, 4))


def _roundings(view: GraphView, region: Region, candidate: tuple[Frame, Candidate] | None) -> int:
    """Roundings of the members one after the other, and of the node that stands for them."""
    members = [] if candidate is None else [view.nodes[index] for index in sorted(candidate[1].members)]
    folded = prod(region.kernel_shape) * region.c_in // region.group + 3  # products and sums, bias, the cast of both
    return folded + sum(_accumulated(node) for node in members)


def _accumulated(node: NodeView) -> int:
    """Roundings that an element of a node's result can gather: one a product or sum, a few for the rest."""
    if LIFTERS[node.op_type].weighs and node.is_constant(1):
        shape = node.constant_shape(1)
        return prod(shape) // max(min(shape[:2]), 1) + 2 if len(shape) > 1 else 2
    return 4
