"""fuse(): knows the order of the stages and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import onnx

from repvgg_onnx.errors import LiftError
from repvgg_onnx.fusion.emit import emit
from repvgg_onnx.fusion.fold import Folded, fold
from repvgg_onnx.fusion.lifters import WORTH_INLINING
from repvgg_onnx.fusion.regions import Plan, find_regions
from repvgg_onnx.fusion.results import Refusal, Region
from repvgg_onnx.graph import assume
from repvgg_onnx.graph.link import view_model
from repvgg_onnx.graph.load import ModelLike, load_model
from repvgg_onnx.graph.normalize import inline_functions, tensor_types
from repvgg_onnx.graph.view import GraphView
from repvgg_onnx.shapes import bind_shapes


@dataclass(frozen=True)
class Fusion:
    """What fuse() found and made.

    Attributes:
        model: the rewritten model; the input's where nothing folds.
        regions: what was folded, in graph order.
        refusals: what was not, and why.
        notes: what was taken for granted because the caller said so, in sentences.
    """

    model: onnx.ModelProto
    regions: tuple[Region, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...] = ()


def fuse(
    model: ModelLike,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    assume_inference: bool = False,
    freeze_initializers: bool = False,
) -> Fusion:
    """Every affine region that is cheaper as one node stands as one node.

    Args:
        model: a path, the bytes of a file, or a model, which is never changed.
        shapes: sizes of dynamic inputs to count costs with; they decide nothing about exactness.
        assume_inference: rewrites BatchNormalization and Dropout in training mode to inference first.
        freeze_initializers: takes initializers that are inputs as well for constants; they are no inputs any more.

    Returns:
        The rewritten model, what was folded, and what was not and why.

    Raises:
        ModelError: the model cannot be read or is not valid.
        CheckError: ``shapes`` does not fit the model's inputs.
    """
    loaded = load_model(model)
    source, notes = prepare(loaded, assume_inference=assume_inference, freeze_initializers=freeze_initializers)
    working = inline_functions(source, WORTH_INLINING)
    owned = working is not loaded or not isinstance(model, onnx.ModelProto)
    sizes = input_shapes(source, shapes or {})
    regions: dict[tuple[int, str], Region] = {}
    refused: dict[str, Refusal] = {}
    while True:
        found = [(view, *find_regions(view, refused)) for view in _all_graphs(view_model(working, sizes))]
        if not any(plans for _, plans, _ in found):
            break
        if not owned:
            working, owned = _copy(working), True
            continue  # and look at the copy
        for number, (view, plans, _) in enumerate(found):
            for region in _emit(working, view, plans, refused):
                for sink in _sinks_within(plans, region):
                    regions.pop((number, sink), None)
                regions[number, region.sink] = region
    refusals = (refusal for _, _, refusals in found for refusal in refusals)
    return Fusion(working if regions else source, tuple(regions.values()), (*refused.values(), *refusals), notes)


def prepare(
    model: onnx.ModelProto, *, assume_inference: bool, freeze_initializers: bool
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with what the caller takes for granted written into it, and what that changed, in sentences.

    Args:
        model: not changed; returned as it is where there is nothing to write.
        assume_inference: as for fuse().
        freeze_initializers: as for fuse().
    """
    notes: tuple[str, ...] = ()
    if assume_inference:
        model, notes = assume.assume_inference(model)
    if freeze_initializers:
        model, frozen = assume.freeze_initializers(model)
        notes += frozen
    return model, notes


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
    stored = {tensor.name for tensor in model.graph.initializer}
    types = tensor_types(onnx.GraphProto(input=[value for value in model.graph.input if value.name not in stored]))
    return bind_shapes({name: known.shape for name, known in types.items() if known.shape is not None}, given)


def _emit(model: onnx.ModelProto, view: GraphView, plans: Sequence[Plan], refused: dict[str, Refusal]) -> list[Region]:
    """Folds and writes one region after the other, if there is one that can be folded."""
    folds = _fold_each(view, plans, refused)
    first = next(folds, None)
    return [] if first is None else emit(model, view, chain([first], folds))


def _fold_each(view: GraphView, plans: Sequence[Plan], refused: dict[str, Refusal]) -> Iterator[tuple[Plan, Folded]]:
    """Region by region; those that have no exact form in the model's type are noted as refused."""
    for plan in plans:
        try:
            yield plan, fold(plan.value, plan.form.group, view.elem_type(plan.sink))
        except LiftError as error:
            refused[plan.sink] = Refusal(error.code, plan.members[-1].name, str(error))


def _sinks_within(plans: Sequence[Plan], region: Region) -> Iterator[str]:
    """Tensors inside a region: sinks of regions that an earlier round wrote and this one takes in."""
    for plan in plans:
        if plan.sink == region.sink:
            yield from (name for node in plan.members for name in node.outputs)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied
