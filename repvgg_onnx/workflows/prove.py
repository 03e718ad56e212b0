"""fuse() with every region checked on its own, and the whole: what fails is left as it was, and the rest is kept."""

import math
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import onnx

from repvgg_onnx.checks.options import CheckOptions
from repvgg_onnx.checks.parity import Parity, judge
from repvgg_onnx.checks.precision import require_tolerance
from repvgg_onnx.checks.reference import Reference, reference
from repvgg_onnx.checks.regions import Piece, RegionParity, check_regions
from repvgg_onnx.checks.session import loadable
from repvgg_onnx.checks.sizes import on_runnable_shapes
from repvgg_onnx.compiler.containment import contained
from repvgg_onnx.compiler.decisions import UNDECIDED, Decisions
from repvgg_onnx.compiler.emit import Origin
from repvgg_onnx.compiler.fold import Folded
from repvgg_onnx.compiler.fuse import Fusion, compiled
from repvgg_onnx.compiler.results import Refusal, Region
from repvgg_onnx.compiler.write import Writer, write_form
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.cut import Cutter, model_of
from repvgg_onnx.graph.load import ModelLike
from repvgg_onnx.workflows import moves
from repvgg_onnx.workflows.request import Keywords, Request, Written

if TYPE_CHECKING:
    from typing_extensions import Unpack

MOST_ROLLED_BACK = 16
"""Regions that may be found guilty one after the other, each with several comparisons; then all that is left is."""


@dataclass(frozen=True)
class Proof:
    """A fusion of which every region was checked, and then the whole.

    Attributes:
        fusion: what was kept; regions that failed are among its refusals.
        regions: how each kept region compares with the original, in the order of ``fusion.regions``; those inside
            subgraphs are left out, since their tensors cannot be observed.
        failed: how the regions that were left as they were compared: on their own, or, without a bound, the output
            that differs with them.
        parity: how the outputs of the fused model compare with the original's; None where nothing is folded.
    """

    fusion: Fusion
    regions: tuple[RegionParity, ...]
    failed: tuple[RegionParity, ...]
    parity: Parity | None = None

    @property
    def worst(self) -> RegionParity | None:
        """The kept region with the largest error; None where there is none to observe."""
        return max(self.regions, key=lambda region: region.error, default=None)


def prove(
    model: ModelLike,
    *,
    decisions: Decisions = UNDECIDED,
    written: Callable[[onnx.ModelProto], ModelLike] | None = None,
    **options: "Unpack[Keywords]",
) -> Proof:
    """fuse(), every region checked on the activations that arrive at its root, and the outputs of the whole compared.

    A region that fails is left as it was. If an output differs although every region passes, the region that does it
    is looked for by bisection over the regions and left as it was too, and the rest is compared again.

    Args:
        model: a path, the bytes of a file, or a model.
        decisions: regions to fold or to keep whatever they cost.
        written: gives the model that is compared in the place of a fused one, such as the file that it was written to.
        **options: the fields of CompileOptions and of CheckOptions; ``shapes`` are those of both, and the
            ``tolerance`` is the outputs': regions are held to their own bounds.

    Raises:
        ModelError: the model cannot be read, is not valid, or onnxruntime cannot load it.
        CheckError: ``shapes`` or ``inputs`` do not fit the model, or it cannot be run on a feed.
    """
    put = None if written is None else lambda fusion: written(fusion.model)
    return proved(Request.of(model, options, decisions), put)


def proved(request: Request, written: Written | None = None) -> Proof:
    """``prove`` of a request; what it returns and raises are the same.

    Args:
        request: what is proven, and how.
        written: gives the model that is compared in the place of a fusion's.
    """
    require_tolerance(request.running.tolerance)

    def on(running: CheckOptions) -> Proof:
        return _proved(request.on(running.shapes or {}), written or (lambda fusion: fusion.model))

    return on_runnable_shapes(on, request.source.origin, request.running)


def _proved(request: Request, written: Written) -> Proof:
    prepared = request.prepared()
    compiled_with = partial(compiled, prepared, request.decisions)
    fusion = compiled_with({})
    if not fusion.regions:
        return Proof(fusion, (), ())
    flat = prepared.flat
    pieces = list(pieces_of(flat, fusion))
    with loadable(flat) as content:
        ends = [end for piece in pieces for end in (*piece.roots, piece.sink)]
        trial = _Trial(compiled_with, reference(flat, content, request.running, exposed=ends), written)
        return trial.proof(flat, fusion, pieces)


@dataclass
class _Trial:
    """Fusions of one model, judged until one passes.

    Attributes:
        compiled: fuses the model, given the sinks that no region may end in.
        known: the original.
        written: gives the model that is compared in the place of a fusion's.
    """

    compiled: Callable[[Mapping[str, Refusal]], Fusion]
    known: Reference
    written: Written

    def proof(self, flat: onnx.ModelProto, fusion: Fusion, pieces: Sequence[Piece]) -> Proof:
        """What is kept of a fusion: every region passes, and all of them together."""
        refused: dict[str, Refusal] = {}
        failed: list[RegionParity] = []
        while True:
            checked = check_regions(self.known, pieces)
            wrong = [parity for parity in checked if not parity.passed]
            refused |= {parity.sink: _refusal(parity) for parity in wrong}
            if not wrong:
                parity = self._parity(fusion, {region.sink: region.error for region in checked})
                if parity is None or parity.passed:
                    return Proof(fusion, checked, tuple(failed), parity)
                guilty = self._guilty(fusion, refused, parity, everything=len(failed) >= MOST_ROLLED_BACK)
                wrong = [_of_whole(region, parity) for region in guilty]
                why = f"with it folded, the outputs differ: {parity.worst.difference}"
                refused |= {region.sink: Refusal("check-failed", region.name, why) for region in guilty}
            failed += wrong
            fusion = self.compiled(refused)
            pieces = list(pieces_of(flat, fusion))

    def _parity(self, fusion: Fusion, proven: Mapping[str, float] | None = None) -> Parity | None:
        """How the outputs compare; None where nothing is folded."""
        if not fusion.regions:
            return None
        return judge(self.known, self.written(fusion), proven=proven)

    def _guilty(
        self, fusion: Fusion, refused: Mapping[str, Refusal], parity: Parity, *, everything: bool
    ) -> list[Region]:
        """The regions without which the outputs may agree: at least one.

        A tensor inside that differs is the sink of one. Where none does, the fewest regions from the input on are
        looked for that make an output differ: the last of them does it.
        """
        regions = list(fusion.regions)
        inner = {tensor.name: tensor for tensor in parity.inner if not tensor.passed}
        named = [region for region in regions if region.sink in inner]
        if not named and not everything and len(regions) > 1:
            passing, failing = 0, len(regions)
            while failing - passing > 1:
                middle = (passing + failing) // 2
                left = {region.sink: _LEFT_OUT for region in regions[middle:]}
                found = self._parity(self.compiled({**refused, **left}))
                passing, failing = (middle, failing) if found is None or found.passed else (passing, middle)
            named = [regions[failing - 1]]
        return named or regions


_LEFT_OUT = Refusal("check-failed", "", "left out while the region at fault is looked for")


def _of_whole(region: Region, parity: Parity) -> RegionParity:
    """The output that differs with a region folded, in the place of the region itself."""
    worst = parity.worst
    return RegionParity(region.name, region.sink, worst.error, math.inf, 0.0, worst.tolerance, worst.worst_feed)


def _refusal(parity: RegionParity) -> Refusal:
    if math.isinf(parity.error):
        why = "it cannot be run there, or its result has another shape, or NaN or infinity in other places"
    elif parity.error > parity.tolerance:
        why = f"its error {parity.error:.1e} is above the tolerance {parity.tolerance:.1e}"
    else:
        why = f"an element's error is {parity.used:.1f} times its bound"
    return Refusal("check-failed", parity.name, f"the folded region was checked on {parity.feed}, and {why}")


def pieces_of(model: onnx.ModelProto, fusion: Fusion) -> Iterator[Piece]:
    """The regions of the main graph as models of their own.

    Args:
        model: the original, which holds its initializers itself.
        fusion: of that model.
    """
    cutter, original = Cutter(fusion.model), Cutter(model)
    own = original.made | {value.name for value in model.graph.input}
    for region in fusion.regions:
        if region.moved or region.sink not in fusion.origins:  # as where the kernel of a fold was moved afterwards
            piece = moves.piece_of(original, cutter, own, region, fusion.types)
            yield from () if piece is None else (piece,)
            continue
        root = _nearest(cutter, region.root, own) if region.sink in own and cutter.makes(region.sink) else None
        if root is None:
            continue
        origin = fusion.origins[region.sink]
        ends = [_value(name, origin.elem_type) for name in (root, region.sink)]
        whole = cutter.cut(ends[:1], ends[1:])
        majorant = None
        if root == region.root:  # without a bound, the tolerance judges
            with suppress(LiftError), contained("bounding a region"):
                majorant = _majorant(model, region, origin)
        before = partial(original.cut, ends[:1], ends[1:])
        yield Piece(region.name, (root,), region.sink, whole, majorant, origin.roundings, before)


def _nearest(fused: Cutter, root: str, own: Container[str]) -> str | None:
    """The root of a region, or, where an earlier fold made it, the one tensor of the original that it is made from."""
    found: set[str] = set()
    waiting = [root]
    while waiting:
        name = waiting.pop()
        node = fused.maker(name)
        if name in own:
            found.add(name)
        elif node is not None:
            waiting += [read for read in node.input if read]
    return found.pop() if len(found) == 1 else None


def _value(name: str, elem_type: int) -> onnx.ValueInfoProto:
    """A tensor of any shape."""
    return onnx.helper.make_tensor_value_info(name, elem_type or onnx.TensorProto.FLOAT, None)


def _majorant(model: onnx.ModelProto, region: Region, origin: Origin) -> onnx.ModelProto | None:
    """The region's majorant in float32, in the form that the region has; None where it needs more than the root."""
    value, conv = origin.value, origin.conv.majorant
    if value.tail is not None and value.tail.computed_shapes:
        return None
    kernel, bias = conv.kernel.astype(np.float32), conv.bias.astype(np.float32)
    field = None
    if value.field is not None:
        offsets = value.offsets(value.field.size, sizes=True).astype(np.float32)
        bias, field = np.zeros_like(bias), offsets[np.newaxis]
    lead = None if value.lead is None else np.abs(value.lead).astype(np.float32)
    graph = onnx.GraphProto()
    writer = Writer(graph, {region.root, region.sink}, as_nodes=False)
    written = write_form(
        writer, origin.form, Folded(conv.geometry, kernel, bias, field, lead), root=region.root, sink=region.sink
    )
    graph.node.extend(written.nodes)
    graph.name = "majorant"
    graph.input.append(_value(region.root, onnx.TensorProto.FLOAT))
    graph.output.append(_value(region.sink, onnx.TensorProto.FLOAT))
    return model_of(graph, model)
