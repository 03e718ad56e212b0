"""The input of ``fuse`` read, folded, and checked region by region; nothing is written yet."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx

from repvgg_onnx.census import census, profile
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.cli.files import describe, require_files
from repvgg_onnx.cli.options import Assumptions, FuseOptions, Output, Runtime
from repvgg_onnx.cli.output import stage
from repvgg_onnx.cli.tuning import decided, measured
from repvgg_onnx.fusion.decisions import UNDECIDED, Decisions
from repvgg_onnx.fusion.results import Refusal, Region
from repvgg_onnx.graph.load import OpenModel, open_model
from repvgg_onnx.pipeline import Fusion, fuse
from repvgg_onnx.proof import prove
from repvgg_onnx.report.model import ModelFile
from repvgg_onnx.report.topology import topology
from repvgg_onnx.tuning import Tuning, replayed

LARGEST_OBSERVED = 2**30
"""Bytes of tensors above which regions are not checked one by one, because that keeps several copies in memory."""


@dataclass(frozen=True)
class Candidate:
    """What the compiler made of the input.

    Attributes:
        before: the input file, with its profile.
        after: the fused model, with its profile, as long as it is no file.
        opened: the input, whose files the fused model refers to.
        model: the fused model; None where there is nothing to write but the input itself.
        regions: what was folded.
        refusals: what was not, and why.
        notes: what was taken for granted about the input.
        checked: how each region compares on its own, where that was asked for.
        failed: the same for regions that were left as they were because of it.
        tuning: what was decided about doubtful folds, if anything was.
    """

    before: ModelFile
    after: ModelFile
    opened: OpenModel
    model: onnx.ModelProto | None
    regions: tuple[Region, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]
    checked: tuple[RegionParity, ...] = ()
    failed: tuple[RegionParity, ...] = ()
    tuning: Tuning | None = None


def candidate_of(options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output) -> Candidate:
    """The input measured, if that was asked for, folded as decided, and checked region by region, if it can be."""
    require_files(options.model)
    tuning = measured(options, assumptions, runtime, output)
    decisions = decided(options, tuning)
    if _observes(options):
        candidate = _prove(options, assumptions, runtime, output, decisions)
    else:
        candidate = folded(options.model, assumptions, runtime.shapes, output, options.max_constant_mb, decisions)
    return candidate if tuning is None else replace(candidate, tuning=tuning)


def folded(
    path: Path,
    assumptions: Assumptions,
    shapes: Mapping[str, Sequence[int]],
    output: Output,
    max_constant_mb: int,
    decisions: Decisions = UNDECIDED,
) -> Candidate:
    """The input read and folded."""
    with stage(f"Folding {path.name}", quiet=output.quiet):
        before, opened = _read(path, shapes)
        fusion = fuse(
            opened, shapes=shapes, max_constant_mb=max_constant_mb, decisions=decisions, **asdict(assumptions)
        )
        return replace(_candidate(before, opened, fusion, shapes), tuning=_replayed(fusion, decisions))


def _observes(options: FuseOptions) -> bool:
    """Whether the regions are checked one by one, which keeps several copies of the model in memory."""
    return (
        options.verify
        and not options.check
        and census(open_model(options.model).model).tensor_bytes <= LARGEST_OBSERVED
    )


def _prove(
    options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output, decisions: Decisions
) -> Candidate:
    """The input read, folded, and each region checked on the activations that arrive there."""
    with stage(f"Folding {options.model.name}", quiet=output.quiet):
        proof = prove(
            options.model,
            max_constant_mb=options.max_constant_mb,
            decisions=decisions,
            **runtime.arguments(threads=0),
            **asdict(assumptions),
        )
        before, opened = _read(options.model, runtime.shapes)
        candidate = _candidate(before, opened, proof.fusion, runtime.shapes, proof.regions, proof.failed)
        return replace(candidate, tuning=_replayed(proof.fusion, decisions))


def _read(path: Path, shapes: Mapping[str, Sequence[int]]) -> tuple[ModelFile, OpenModel]:
    """The input, and what is said of it."""
    opened = open_model(path)
    profiled = profile(opened.model, shapes=shapes)
    return replace(describe(path, opened), profile=profiled, topology=topology(opened.model)), opened


def _replayed(fusion: Fusion, decisions: Decisions) -> Tuning | None:
    """What decisions of a file did; None where there are none."""
    return None if decisions is UNDECIDED else replayed(fusion, decisions)


def _candidate(
    before: ModelFile,
    opened: OpenModel,
    fusion: Fusion,
    shapes: Mapping[str, Sequence[int]],
    checked: tuple[RegionParity, ...] = (),
    failed: tuple[RegionParity, ...] = (),
) -> Candidate:
    changed = fusion.model if fusion.regions or fusion.notes else None
    taken = before.profile if changed is None else profile(fusion.model, shapes=shapes)
    after = ModelFile(None, None, census(fusion.model), taken)
    return Candidate(before, after, opened, changed, fusion.regions, fusion.refusals, fusion.notes, checked, failed)
