"""fuse(): knows the order of the stages and nothing else."""

import gc
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from repvgg_onnx.compiler.below.rewrite import Rewrite
from repvgg_onnx.compiler.below.search import find_rewrites, held_back, may_find
from repvgg_onnx.compiler.below.write import write_rewrites
from repvgg_onnx.compiler.containment import contained
from repvgg_onnx.compiler.decisions import UNDECIDED, Decisions, Doubt
from repvgg_onnx.compiler.doubts import declined_doubts, doubtful_groups, folded_doubts
from repvgg_onnx.compiler.emit import Origin, emit
from repvgg_onnx.compiler.fold import Folded, fold
from repvgg_onnx.compiler.growth import Growth
from repvgg_onnx.compiler.lifters import WORTH_INLINING
from repvgg_onnx.compiler.lifters.registry import note_origin
from repvgg_onnx.compiler.options import CompileKeywords, CompileOptions, Shapes
from repvgg_onnx.compiler.plans import Plan
from repvgg_onnx.compiler.regions import Findings, Group, find_regions
from repvgg_onnx.compiler.results import Refusal, Region
from repvgg_onnx.compiler.rounds import is_final, settled
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.errors import CheckError, LiftError
from repvgg_onnx.graph import assume, surgeon
from repvgg_onnx.graph.bodies import fed_inputs, tensor_bytes
from repvgg_onnx.graph.link import Skeletons, skeletons_of, view_model
from repvgg_onnx.graph.load import ModelLike, Source
from repvgg_onnx.graph.normalize import TensorType, inline_functions, tensor_types
from repvgg_onnx.graph.shapes import bind_shapes
from repvgg_onnx.graph.standardize import standardize_weights
from repvgg_onnx.graph.storage.files import TensorFiles
from repvgg_onnx.graph.view import GraphView

if TYPE_CHECKING:
    from typing_extensions import Unpack


MOST_ROUNDS = 64  # in which maps are moved: far more than any network took, and an end whatever undoes what


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
        origins: what the regions of the main graph were folded from, by sink; it refers to the input's weights, does
            not leave the process, and is empty where they are in a file, which may change.
        types: of the input's tensors, on the sizes that costs were counted with.
        files: where the initializers are that the model only refers to, if a source was given that refers to some.
    """

    model: "onnx.ModelProto | surgeon.Graph"
    regions: tuple[Region, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    remarks: tuple[str, ...] = ()
    origins: Mapping[str, Origin] = field(default_factory=dict, repr=False, compare=False)
    types: Mapping[str, TensorType] = field(default_factory=dict, repr=False, compare=False)
    files: TensorFiles | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what does not leave the process."""
        return {**vars(self), "origins": {}, "types": {}, "files": None}


@timed("fold")
@np.errstate(all="ignore")  # weights may be anything; what is not finite in the end is refused
def fuse(
    model: "ModelLike | Source | surgeon.Graph",
    *,
    decisions: Decisions = UNDECIDED,
    refused: Mapping[str, Refusal] | None = None,
    **options: "Unpack[CompileKeywords]",
) -> Fusion:
    """Every affine region that is cheaper as one node stands as one node, and every map where it costs least.

    Args:
        model: a path, the bytes of a file, a model, a graph of onnx-graphsurgeon, or a source. None of them is changed;
            the result for a source refers to the same files.
        decisions: regions to fold or to keep whatever they cost, as ``autotune`` measures them.
        refused: tensors that no region may end in, each with the reason to report.
        **options: the fields of CompileOptions: ``shapes``, ``assume_inference``, ``freeze_initializers``,
            ``assume_placeholders``, ``outputs``, ``max_constant_mb``,
            ``below``.

    Returns:
        The rewritten model, what was folded, and what was not and why. The model is a graph of onnx-graphsurgeon where
        one was given.

    Raises:
        ModelError: the model cannot be read or is not valid.
        CheckError: ``shapes`` does not fit the model's inputs, it has no such output, or ``decisions`` are about
            another model.
    """
    with paused_collection():
        source = Source.of(surgeon.to_model(model) if surgeon.is_surgeon(model) else model)
        made = prepare(source, CompileOptions(**options))
        is_ours = not isinstance(model, onnx.ModelProto | Source) or made.flat is not source.model
        fusion = compiled(made, decisions, refused or {}, owned=is_ours)
        if surgeon.is_surgeon(model):
            is_new = fusion.regions or fusion.notes
            return replace(fusion, model=surgeon.to_graph(fusion.model) if is_new else model)
        if not isinstance(model, Source) and fusion.files is not None:
            fusion.files.load_all(fusion.model)
            fusion = replace(fusion, files=None)
        is_input = isinstance(model, onnx.ModelProto) and fusion.model is source.model
        return replace(fusion, model=model) if is_input else fusion  # even if its nodes had to be sorted to be read


@timed("fold")
@np.errstate(all="ignore")  # weights may be anything; what is not finite in the end is refused
def compiled(
    prepared: "Prepared", decisions: Decisions, refused: Mapping[str, Refusal], *, owned: bool = False
) -> Fusion:
    """``fuse`` of what was prepared, which may be compiled again with other decisions; the model is its files'.

    Args:
        prepared: the model.
        decisions: regions to fold or to keep whatever they cost.
        refused: tensors that no region may end in, each with the reason to report.
        owned: whether the model may be changed, so that it is compiled once only.

    Raises:
        ModelError: the model is not valid.
        CheckError: ``decisions`` are about another model, or the shapes do not fit it.
    """
    with paused_collection():
        working, files = prepared.flat, prepared.source.files
        files = None if files is None else files.shared()
        made = _Made(dict(refused))
        # Asked now, since a model that is owned is changed.
        stored, fixed = tensor_bytes(prepared.model), assume.fixed_initializers(prepared.model)
        known: Skeletons | Shapes = prepared.skeletons
        below = prepared.options.below and not decisions.keep_all
        while True:
            linked = view_model(working, known, max_constant_mb=prepared.options.max_constant_mb, files=files)
            views = list(_all_graphs(linked))
            made.look(linked)
            found = [find_regions(view, made.refused, _about(view, decisions)) for view in views]
            found[-1] = held_back(linked, found[-1], made.refused) if below else found[-1]
            is_folded = not any(findings.groups for findings in found)
            may_move = below and is_folded and made.rounds < MOST_ROUNDS
            moves = find_rewrites(linked, found[-1].walk, made.refused) if may_move else []
            if is_folded and not moves:
                break
            if not owned:
                working, owned = _copy(working), True
                views = list(_all_graphs(linked.rebased(working.graph)))
            known = prepared.sizes
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
        fused = working if made.regions else prepared.model
        if made.regions:
            assume.drop_unread(fused, fixed)
        remarks = made.growth.remarks(stored, fused) if made.regions else ()
        doubts = (*made.doubts, *declined_doubts(found[-1].declined))
        origins = made.origins if files is None else {}
        regions = tuple(made.regions.values())
        return Fusion(fused, regions, refusals, prepared.notes, doubts, remarks, origins, made.types, files)


@dataclass
class _Made:
    """What round after round of folding made.

    Attributes:
        refused: sinks of regions that could not be folded, and why.
        regions: by the number of their graph and their sink.
        doubts: those that are folded.
        tensors: what nodes of the main graph make or made.
        origins: what the regions of the main graph were folded from, by sink.
        growth: why the file may have grown.
        types: of the tensors that there were at first.
        rounds: how often maps were moved.
    """

    refused: dict[str, Refusal]
    regions: dict[tuple[int, str], Region] = field(default_factory=dict)
    doubts: list[Doubt] = field(default_factory=list)
    tensors: set[str] = field(default_factory=set)
    origins: dict[str, Origin] = field(default_factory=dict)
    growth: Growth = field(default_factory=Growth)
    types: Mapping[str, TensorType] = field(default_factory=dict)
    rounds: int = 0

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
            self._note(number, findings, doubtful, {region.sink: region for region, _ in emitted})
            if view.outer is None:
                self.origins |= {region.sink: origin for region, origin in emitted}
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
        self.rounds += 1
        written = write_rewrites(model, view, moves, self.refused)
        sinks = {region.sink for region in written}
        done = [move for move in moves if sinks.issuperset(each.sink for each in move.moved)]
        gone = {name for move in done for index in move.removed for name in view.nodes[index].outputs}
        self.regions = {key: region for key, region in self.regions.items() if key[0] != number or key[1] not in gone}
        self.origins = {sink: origin for sink, origin in self.origins.items() if not gone & {sink, origin.product}}
        self.regions |= {(number, region.sink): region for region in written}

    def look(self, view: GraphView) -> None:
        """Takes up what the main graph has, and tells nodes that were emitted what their weights were rounded from."""
        self.types = self.types or view.sizes
        self.tensors.update(name for node in view.nodes for name in node.outputs)
        for origin in self.origins.values():
            if origin.product in view.makers:
                note_origin(view.makers[origin.product], origin.conv)

    def _note(self, number: int, findings: Findings, doubtful: Sequence[Group], emitted: Mapping[str, Region]) -> None:
        """Takes up what a round wrote into one graph; regions of earlier rounds whose node goes are regions no more."""
        for plan in findings.plans:
            if plan.sink in emitted:
                gone = (node for node in plan.members if node.index in plan.removed)
                for name in (name for node in gone for name in node.outputs):
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


@dataclass(frozen=True, eq=False)
class Prepared:
    """A source with what the caller takes for granted written into it.

    Attributes:
        source: the model as it was given.
        options: what was asked for.
        model: the model with it written in; the source's where there was nothing to write.
        notes: what that changed, in sentences.
    """

    source: Source
    options: CompileOptions
    model: onnx.ModelProto
    notes: tuple[str, ...]

    @cached_property
    def flat(self) -> onnx.ModelProto:
        """The model with those functions inlined that are worth it; the model itself where there are none."""
        return inline_functions(self.model, WORTH_INLINING)

    @cached_property
    def sizes(self) -> dict[str, tuple[int, ...]]:
        """A size for every axis of every input that a caller has to feed.

        Raises:
            CheckError: the options' shapes do not fit the inputs.
        """
        return input_shapes(self.model, self.options.shapes or {})

    @cached_property
    def skeletons(self) -> Skeletons:
        """The types of ``flat``.

        Raises:
            ModelError: the graph is not valid ONNX.
            CheckError: the options' shapes do not fit the inputs.
        """
        return skeletons_of(self.flat, self.sizes)


def prepare(source: Source, options: CompileOptions) -> Prepared:
    """The source with what the caller takes for granted written into a copy, if there is anything to write.

    Raises:
        CheckError: the model has no such output.
    """
    model, notes = standardize_weights(source.model, source.files)
    if options.outputs:
        model, kept = assume.keep_outputs(model, options.outputs)
        notes += kept
    if options.freeze_initializers:
        model, frozen = assume.freeze_initializers(model)
        notes += frozen
    if options.assume_inference or options.assume_placeholders:
        model, assumed = assume.assume_inference(model, placeholders=options.assume_placeholders)
        notes += assumed
    return Prepared(source, options, model, notes)


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
) -> list[tuple[Region, Origin]]:
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
