"""fuse(): knows the order of the stages and nothing else."""

import gc
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import onnx

from repvgg_onnx.compiler.below.rewrite import Rewrite
from repvgg_onnx.compiler.below.search import find_rewrites, held_back, may_find
from repvgg_onnx.compiler.below.write import write_rewrites
from repvgg_onnx.compiler.containment import contained
from repvgg_onnx.compiler.decisions import UNDECIDED, Decisions, Doubt
from repvgg_onnx.compiler.doubts import declined_doubts, doubtful_groups, folded_doubts
from repvgg_onnx.compiler.emit import emit
from repvgg_onnx.compiler.fold import Folded, fold
from repvgg_onnx.compiler.growth import Growth
from repvgg_onnx.compiler.lifters import WORTH_INLINING
from repvgg_onnx.compiler.plans import Plan
from repvgg_onnx.compiler.regions import Findings, Group, find_regions
from repvgg_onnx.compiler.results import Refusal, Region
from repvgg_onnx.compiler.rounds import is_final, settled
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.errors import CheckError, LiftError
from repvgg_onnx.graph import assume, surgeon
from repvgg_onnx.graph.bodies import fed_inputs
from repvgg_onnx.graph.budget import DEFAULT_MB
from repvgg_onnx.graph.link import view_model
from repvgg_onnx.graph.load import ModelLike, OpenModel, load_model, open_model
from repvgg_onnx.graph.normalize import inline_functions, tensor_types
from repvgg_onnx.graph.shapes import bind_shapes
from repvgg_onnx.graph.standardize import standardize_weights
from repvgg_onnx.graph.storage.files import TensorFiles
from repvgg_onnx.graph.view import GraphView


@dataclass(frozen=True)
class Fusion:
    """What fuse() found and made.

    Attributes:
        model: the rewritten model; the input's where nothing folds. For a graph of onnx-graphsurgeon it is such a
            graph.
        regions: what was folded, in graph order.
        refusals: what was not, and why.
        notes: what was taken for granted because the caller said so, in sentences.
        doubts: choices of the cost rule, in the main graph, that only a measurement can confirm.
        remarks: what is to be known of the result, in sentences: why it is larger than the input, if it is.
    """

    model: "onnx.ModelProto | surgeon.Graph"
    regions: tuple[Region, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    remarks: tuple[str, ...] = ()


@timed("fold")
@np.errstate(all="ignore")  # weights may be anything; what is not finite in the end is refused
def fuse(
    model: "ModelLike | OpenModel | surgeon.Graph",
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    assume_inference: bool = False,
    freeze_initializers: bool = False,
    assume_placeholders: bool = False,
    outputs: Collection[str] = (),
    max_constant_mb: int = DEFAULT_MB,
    refused: Mapping[str, Refusal] | None = None,
    decisions: Decisions = UNDECIDED,
    below: bool = True,
) -> Fusion:
    """Every affine region that is cheaper as one node stands as one node, and every map where it costs least.

    Args:
        model: a path, the bytes of a file, or a model or a graph of onnx-graphsurgeon, which are never changed; or an
            open model, which is used up, and of which the result refers to the same files.
        shapes: sizes of dynamic inputs to count costs with; they decide nothing about exactness.
        assume_inference: rewrites BatchNormalization and Dropout in training mode to inference first, but for those
            whose statistics are placeholders: mean 0 and variance 1 in every channel.
        freeze_initializers: takes initializers that are inputs as well for constants; they are no longer inputs.
        assume_placeholders: as ``assume_inference``, and placeholders are meant as well.
        outputs: the outputs to keep, with what they need; none keeps all.
        max_constant_mb: MiB of constants that may be computed and of weights that may be folded, beyond twice the
            size of the model's own; what would take more is refused.
        refused: tensors that no region may end in, each with the reason to report.
        decisions: regions to fold or to keep whatever they cost, as ``autotune`` measures them.
        below: whether maps are moved through resizing, pooling, Concat and sums, below what their authors deploy.

    Returns:
        The rewritten model, what was folded, and what was not and why. The model is a graph of onnx-graphsurgeon where
        one was given.

    Raises:
        ModelError: the model cannot be read or is not valid.
        CheckError: ``shapes`` does not fit the model's inputs, it has no such output, or ``decisions`` are about
            another model.
    """
    with paused_collection():
        loaded, files = _opened(surgeon.to_model(model) if surgeon.is_surgeon(model) else model)
        source, notes = prepare(
            loaded,
            assume_inference=assume_inference,
            freeze_initializers=freeze_initializers,
            assume_placeholders=assume_placeholders,
            outputs=outputs,
            files=files,
        )
        fixed = assume.fixed_initializers(source)
        working = inline_functions(source, WORTH_INLINING)
        owned = working is not loaded or not isinstance(model, onnx.ModelProto)
        sizes = input_shapes(source, shapes or {})
        made = _Made(dict(refused or {}))
        while True:
            linked = view_model(working, sizes, max_constant_mb=max_constant_mb, files=files)
            views = list(_all_graphs(linked))
            found = [find_regions(view, made.refused, _about(view, decisions)) for view in views]
            made.tensors.update(name for node in linked.nodes for name in node.outputs)
            moves: list[Rewrite] = []
            if below:
                found[-1] = held_back(linked, found[-1], made.refused)
            if not any(findings.groups for findings in found):
                if below and not decisions.keep_all:
                    moves = find_rewrites(linked, found[-1].walk, made.refused)
                if not moves:
                    break
            if not owned:
                working, owned = _copy(working), True
                views = list(_all_graphs(linked.rebased(working.graph)))
            if moves:
                made.moved(working, views[-1], len(views) - 1, moves)
                continue
            # Asked while the graph is as it was searched.
            final = is_final(linked, found) and not (below and may_find(linked))
            if made.round(working, views, found) and final:
                found = [settled(linked, found[-1])]
                break
        _require_sinks(decisions, made.tensors)
        refusals = (*made.refused.values(), *(refusal for findings in found for refusal in findings.refusals))
        fused = working if made.regions else source
        if made.regions:
            assume.drop_unread(fused, fixed)
        elif source is loaded and isinstance(model, onnx.ModelProto):
            fused = model  # even if its nodes had to be sorted to be read
        remarks = made.growth.remarks(source, fused)
        if files is not None and not isinstance(model, OpenModel):
            files.load_all(fused)
        doubts = (*made.doubts, *declined_doubts(found[-1].declined))
        if surgeon.is_surgeon(model):
            fused = surgeon.to_graph(fused) if made.regions or notes else model
        return Fusion(fused, tuple(made.regions.values()), refusals, notes, doubts, remarks)


@dataclass
class _Made:
    """What round after round of folding made.

    Attributes:
        refused: sinks of regions that could not be folded, and why.
        regions: by the number of their graph and their sink.
        doubts: those that are folded.
        tensors: what nodes of the main graph make or made.
        growth: why the file may have grown.
    """

    refused: dict[str, Refusal]
    regions: dict[tuple[int, str], Region] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    tensors: set[str] = field(default_factory=set)
    growth: Growth = field(default_factory=Growth)

    def round(self, model: onnx.ModelProto, views: Sequence[GraphView], found: Sequence[Findings]) -> bool:
        """Folds what was found in each graph of a model; whether all of it could be folded.

        What did not fit into the budget is tried again in the next round, which has a budget of its own: so that a
        model in which nothing is left to fold stays one when it is read again.
        """
        before = set(self.refused)
        written = 0
        for number, (view, findings) in enumerate(zip(views, found, strict=True)):
            doubtful = doubtful_groups(findings.groups) if view.outer is None else []
            emitted = _emit(model, view, findings.plans, self.refused, self.growth)
            self._note(number, findings, doubtful, {region.sink: region for region in emitted})
            written += len(emitted)
        new = self.refused.keys() - before
        if written:
            self.refused = {
                sink: refusal
                for sink, refusal in self.refused.items()
                if sink not in new or refusal.code != "too-large"
            }
        return not new

    def moved(self, model: onnx.ModelProto, view: GraphView, number: int, moves: Sequence[Rewrite]) -> None:
        """Moves what was found in the main graph; what has no exact form there is refused, and not tried again."""
        for region in write_rewrites(model, view, moves, self.refused):
            self.regions.pop((number, region.sink), None)
            self.regions[number, region.sink] = region

    def _note(self, number: int, findings: Findings, doubtful: Sequence[Group], emitted: Mapping[str, Region]) -> None:
        """Takes up what a round wrote into one graph; regions of earlier rounds inside are no longer regions."""
        for plan in findings.plans:
            if plan.sink in emitted:
                for name in (name for node in plan.members for name in node.outputs):
                    self.regions.pop((number, name), None)
        self.regions |= {(number, sink): region for sink, region in emitted.items()}
        self.doubts += folded_doubts(doubtful, emitted)


@contextmanager
def paused_collection() -> Iterator[None]:
    """No garbage is collected in the block: a graph in the making is not garbage, and to look through it takes time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def prepare(
    model: onnx.ModelProto,
    *,
    assume_inference: bool = False,
    freeze_initializers: bool = False,
    assume_placeholders: bool = False,
    outputs: Collection[str] = (),
    files: TensorFiles | None = None,
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with what the caller takes for granted written into it, and what that changed, in sentences.

    Args:
        model: not changed; returned as it is where there is nothing to write.
        assume_inference: as for fuse().
        freeze_initializers: as for fuse().
        assume_placeholders: as for fuse().
        outputs: as for fuse().
        files: where the initializers are that the model only refers to; None where it holds them all.

    Raises:
        CheckError: the model has no such output.
    """
    model, notes = standardize_weights(model, files)
    if outputs:
        model, kept = assume.keep_outputs(model, outputs)
        notes += kept
    if freeze_initializers:
        model, frozen = assume.freeze_initializers(model)
        notes += frozen
    if assume_inference or assume_placeholders:
        model, assumed = assume.assume_inference(model, placeholders=assume_placeholders)
        notes += assumed
    return model, notes


def _opened(model: ModelLike | OpenModel) -> tuple[onnx.ModelProto, TensorFiles | None]:
    """The model, and where the initializers are that it only refers to."""
    if isinstance(model, onnx.ModelProto | bytes):
        return load_model(model), None
    opened = model if isinstance(model, OpenModel) else open_model(model)
    return opened.model, opened.files


def _all_graphs(view: GraphView) -> Iterator[GraphView]:
    """The innermost graphs first, so that editing one leaves the indices of the others as they are."""
    for inner in view.subgraphs:
        yield from _all_graphs(inner)
    yield view


def input_shapes(model: onnx.ModelProto, given: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """A size for every axis of every input that a caller has to feed.

    Raises:
        CheckError: ``given`` does not fit the model's inputs.
    """
    types = tensor_types(onnx.GraphProto(input=fed_inputs(model.graph)))
    return bind_shapes({name: known.shape for name, known in types.items() if known.shape is not None}, given)


def _emit(
    model: onnx.ModelProto, view: GraphView, plans: Sequence[Plan], refused: dict[str, Refusal], growth: Growth
) -> list[Region]:
    """Folds and writes one region after the other, if there is one that can be folded.

    Args:
        model: changed in place.
        view: of one of its graphs.
        plans: of regions of that graph.
        refused: gets the regions that have no exact form in the model's type.
        growth: gets the others, before the graph changes.
    """
    folds = _fold_each(view, plans, refused, growth)
    first = next(folds, None)
    return [] if first is None else emit(model, view, chain([first], folds))


def _fold_each(
    view: GraphView, plans: Sequence[Plan], refused: dict[str, Refusal], growth: Growth
) -> Iterator[tuple[Plan, Folded]]:
    for plan in plans:
        try:
            with contained("folding a region"):
                folded = fold(plan.value, plan.form.group, view.elem_type(plan.sink), view.constants.budget)
                growth.note(plan, folded)
        except LiftError as error:
            refused[plan.sink] = Refusal(error.code, plan.last.name, str(error))
            continue
        yield plan, folded


def _require_sinks(decisions: Decisions, tensors: Container[str]) -> None:
    """Makes sure that every sink is a tensor of the main graph, or one that a fold writes on the way to such a one."""
    for sink in decisions.sinks:
        stems = [sink[:end] for end, char in enumerate(sink) if char == "."]
        if not any(stem in tensors for stem in (sink, *stems)):
            raise CheckError(f"the decisions are about {sink!r}, which no node of the model makes")


def _about(view: GraphView, decisions: Decisions) -> Decisions:
    """The decisions that hold in a graph; those about single regions are about the main one."""
    return decisions if view.outer is None else decisions.within(())


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied
