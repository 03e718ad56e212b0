"""The input of ``fuse`` read, folded, and checked region by region; nothing is written yet."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx

from repvgg_onnx.census import census, profile
from repvgg_onnx.census.topology import topology
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.checks.session import CPU
from repvgg_onnx.cli.files import describe, require_files
from repvgg_onnx.cli.options import Assumptions, FuseOptions, Output, Runtime
from repvgg_onnx.cli.output import stage
from repvgg_onnx.cli.sizes import found_sizes, on_sizes
from repvgg_onnx.cli.tuning import decided, measured
from repvgg_onnx.cli.writing import Drafts
from repvgg_onnx.compiler.decisions import UNDECIDED, Decisions
from repvgg_onnx.compiler.fuse import Fusion, fuse, prepare
from repvgg_onnx.compiler.results import Refusal, Region
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.graph.assume import overridable_convolutions
from repvgg_onnx.graph.load import OpenModel, open_model
from repvgg_onnx.report.model import ModelFile, Overridable
from repvgg_onnx.workflows.autotune import Tuning, replayed
from repvgg_onnx.workflows.prove import Proof, prove

LARGEST_OBSERVED = 2**30
"""Bytes of tensors above which regions are not checked one by one, because that keeps several copies in memory."""


@dataclass(frozen=True)
class Candidate:
    """What the compiler made of the input.

    Attributes:
        before: the input file, with its profile.
        after: the fused model, with its profile, as long as it is not a file.
        opened: the input, whose files the fused model refers to.
        model: the fused model; None where there is nothing to write but the input itself.
        regions: what was folded.
        refusals: what was not, and why.
        notes: what was taken for granted about the input.
        remarks: what is to be known of the fused model.
        checked: how each region compares on its own, where that was asked for.
        failed: the same for regions that were left as they were because of it.
        parity: how the outputs compare with the input's, where that was asked for and regions were checked.
        tuning: what was decided about doubtful folds, if anything was.
        overridable: convolutions whose weights a caller may feed, if there are any.
        sizes: shapes that everything is run and counted with, if they had to be found.
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
    parity: Parity | None = None
    tuning: Tuning | None = None
    remarks: tuple[str, ...] = ()
    overridable: Overridable | None = None
    sizes: Mapping[str, tuple[int, ...]] | None = None


def candidate_of(
    options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output, drafts: Drafts
) -> Candidate:
    """The input measured, if that was asked for, folded as decided, and checked, if that was asked for and can be.

    What is compared with the input is the file that stands among the drafts, and will be written.
    """
    opened = _opened(options.model)
    runs = options.verify or options.bench or options.autotune
    sizes = found_sizes(opened, assumptions, runtime) if runs and not options.check else None
    runtime = on_sizes(runtime, sizes)
    tuning = measured(options, assumptions, runtime, output)
    # What a proof takes beside folding, which times itself, is checking.
    doing = "Folding and checking" if options.verify and not options.check else "Folding"
    with stage(f"{doing} {options.model.name}", quiet=output.quiet), timed("check"):
        before = _described(opened, runtime.shapes, assumptions)
        decisions = decided(options, tuning, opened.model)
        overridable = _overridable(opened, assumptions, runtime.shapes, options.max_constant_mb)
        if options.verify and not options.check and before.census.tensor_bytes <= LARGEST_OBSERVED:
            proof = prove(
                options.model,
                max_constant_mb=options.max_constant_mb,
                decisions=decisions,
                labels=runtime.labels,
                tolerance=options.tolerance,
                written=lambda model: drafts.file(model, before, opened),
                **runtime.arguments(threads=0),
                **asdict(assumptions),
            )
        else:
            proof = Proof(_fused(opened, assumptions, runtime.shapes, options.max_constant_mb, decisions), (), ())
        if tuning is None and decisions is not UNDECIDED:
            tuning = replayed(proof.fusion, decisions)
        candidate = _candidate(before, opened, proof, runtime.shapes, tuning)
        return replace(candidate, overridable=overridable, sizes=sizes)


def folded(
    path: Path, assumptions: Assumptions, shapes: dict[str, tuple[int, ...]], output: Output, max_constant_mb: int
) -> Candidate:
    """The input read and folded by cost, and nothing checked; it is run only where its sizes are not known."""
    opened = _opened(path)
    runtime = Runtime(shapes, (), {}, None, CPU, ())
    sizes = found_sizes(opened, assumptions, runtime)
    shapes = on_sizes(runtime, sizes).shapes
    with stage(f"Folding {path.name}", quiet=output.quiet):
        before = _described(opened, shapes, assumptions)
        overridable = _overridable(opened, assumptions, shapes, max_constant_mb)
        fusion = _fused(opened, assumptions, shapes, max_constant_mb, UNDECIDED)
        candidate = _candidate(before, opened, Proof(fusion, (), ()), shapes)
        return replace(candidate, overridable=overridable, sizes=sizes)


@timed("read")
def _opened(path: Path) -> OpenModel:
    require_files(path)
    return open_model(path)


@timed("read")
def _described(opened: OpenModel, shapes: Mapping[str, Sequence[int]], assumptions: Assumptions) -> ModelFile:
    """What is said of the input: that of the input as it is folded, with what is taken for granted in it."""
    model, notes = prepare(opened.model, files=opened.files, **asdict(assumptions))
    file = describe(opened.path, opened)
    described = replace(file, profile=profile(model, shapes=shapes), topology=topology(opened.model))
    return replace(described, census=census(model)) if notes else described


def _overridable(
    opened: OpenModel, assumptions: Assumptions, shapes: Mapping[str, Sequence[int]], max_constant_mb: int
) -> Overridable | None:
    """The convolutions that stay because a caller may feed their weights; the regions are those of the frozen model."""
    if assumptions.freeze_initializers:
        return None
    kept, _ = prepare(opened.model, outputs=assumptions.outputs, files=opened.files)
    convolutions, total = overridable_convolutions(kept)
    if not convolutions:
        return None
    frozen = replace(assumptions, freeze_initializers=True)
    fusion = _fused(open_model(opened.path), frozen, shapes, max_constant_mb, UNDECIDED)
    return Overridable(convolutions, total, len(fusion.regions))


def _fused(
    opened: OpenModel,
    assumptions: Assumptions,
    shapes: Mapping[str, Sequence[int]],
    max_constant_mb: int,
    decisions: Decisions,
) -> Fusion:
    return fuse(opened, shapes=shapes, max_constant_mb=max_constant_mb, decisions=decisions, **asdict(assumptions))


def _candidate(
    before: ModelFile,
    opened: OpenModel,
    proof: Proof,
    shapes: Mapping[str, Sequence[int]],
    tuning: Tuning | None = None,
) -> Candidate:
    fusion = proof.fusion
    changed = fusion.model if fusion.regions or fusion.notes else None
    taken = before.profile if changed is None else profile(fusion.model, shapes=shapes)
    after = ModelFile(None, None, census(fusion.model), taken)
    found = (fusion.regions, fusion.refusals, fusion.notes)
    checks = (proof.regions, proof.failed, proof.parity)
    return Candidate(before, after, opened, changed, *found, *checks, tuning, fusion.remarks)
