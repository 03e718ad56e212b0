"""fuse(): knows the order of the stages and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from repvgg_onnx.errors import LiftError
from repvgg_onnx.fusion.emit import emit
from repvgg_onnx.fusion.fold import Folded, fold
from repvgg_onnx.fusion.lifters import LIFTERS
from repvgg_onnx.fusion.regions import Plan, find_regions
from repvgg_onnx.fusion.results import Refusal, Region
from repvgg_onnx.graph.load import ModelLike, load_model
from repvgg_onnx.graph.normalize import inline_functions, tensor_types
from repvgg_onnx.graph.view import GraphView, view_model
from repvgg_onnx.shapes import bind_shapes


@dataclass(frozen=True)
class Fusion:
    """What fuse() found and made.

    Attributes:
        model: the rewritten model; the input's where nothing folds.
        regions: what was folded, in graph order.
        refusals: what was not, and why.
    """

    model: onnx.ModelProto
    regions: tuple[Region, ...]
    refusals: tuple[Refusal, ...]


def fuse(model: ModelLike, *, shapes: Mapping[str, Sequence[int]] | None = None) -> Fusion:
    """Every affine region that is cheaper as one node stands as one node.

    Args:
        model: a path, the bytes of a file, or a model, which is never changed.
        shapes: sizes of dynamic inputs to count costs with; they decide nothing about exactness.

    Returns:
        The rewritten model, what was folded, and what was not and why.

    Raises:
        ModelError: the model cannot be read or is not valid.
        CheckError: ``shapes`` does not fit the model's inputs.
    """
    source = load_model(model)
    working = inline_functions(source, frozenset(LIFTERS))
    owned = working is not source or not isinstance(model, onnx.ModelProto)
    sizes = input_shapes(source, shapes or {})
    regions: list[Region] = []
    refused: dict[str, Refusal] = {}
    while True:
        view = view_model(working, sizes)
        plans, refusals = find_regions(view, refused)
        if not plans:
            break
        folds = _fold_each(view, plans, refused)
        first = next(folds, None)
        if first is None:
            continue
        if not owned:
            working, owned = _copy(working), True
        regions = _absorb(regions, emit(working, _chain(first, folds)))
    return Fusion(working if regions else source, tuple(regions), (*refused.values(), *refusals))


def input_shapes(model: onnx.ModelProto, given: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """A size for every axis of every input that a caller has to feed.

    Raises:
        CheckError: ``given`` does not fit the model's inputs.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    types = tensor_types(onnx.GraphProto(input=[value for value in model.graph.input if value.name not in stored]))
    return bind_shapes({name: known.shape for name, known in types.items() if known.shape is not None}, given)


def _fold_each(view: GraphView, plans: Sequence[Plan], refused: dict[str, Refusal]) -> Iterator[tuple[Plan, Folded]]:
    """Folds one region after the other; those that have no exact form in the model's type are noted as refused."""
    for plan in plans:
        try:
            yield plan, fold(plan.value.conv, view.elem_type(plan.sink))
        except LiftError as error:
            refused[plan.sink] = Refusal(error.code, plan.members[-1].name, str(error))


def _chain(first: tuple[Plan, Folded], rest: Iterator[tuple[Plan, Folded]]) -> Iterator[tuple[Plan, Folded]]:
    yield first
    yield from rest


def _absorb(earlier: Sequence[Region], later: Sequence[Region]) -> list[Region]:
    """All regions, without the earlier ones whose nodes became members of later ones."""
    gone = {member for region in later for member in region.members}
    return [region for region in earlier if not gone.issuperset(region.members)] + list(later)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied
