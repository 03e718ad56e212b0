"""The input of ``fuse`` read, folded, and checked region by region; nothing is written yet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from repvgg_onnx.census import census, profile
from repvgg_onnx.census.topology import topology
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.checks.session import CPU
from repvgg_onnx.cli.files import describe, require_files
from repvgg_onnx.cli.options import Output, Runtime
from repvgg_onnx.cli.output import stage
from repvgg_onnx.cli.sizes import found_sizes, on_sizes
from repvgg_onnx.cli.tasks import FuseTask
from repvgg_onnx.cli.tuning import decided, measured
from repvgg_onnx.cli.writing import Drafts
from repvgg_onnx.compiler.decisions import UNDECIDED
from repvgg_onnx.compiler.fuse import Fusion, compiled, prepare
from repvgg_onnx.compiler.options import CompileOptions
from repvgg_onnx.compiler.results import Refusal, Region
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.graph.assume import overridable_convolutions
from repvgg_onnx.graph.load import OpenModel, open_model
from repvgg_onnx.report.model import ModelFile, Overridable
from repvgg_onnx.workflows.autotune import Tuning, replayed
from repvgg_onnx.workflows.prove import Proof, proved

LARGEST_OBSERVED = 2**30
"""Bytes of tensors above which regions are not checked one by one, because that keeps several copies in memory."""


@dataclass(frozen=True)
class Candidate:
    """What the compiler made of the input.

    Attributes:
        before: the input file, with its profile.
        after: the fused model, with its profile, as long as it is not a file.
        opened: the input.
        fusion: the fused model; None where there is nothing to write but the input itself.
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
    fusion: Fusion | None
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


def candidate_of(task: FuseTask, opened: OpenModel, output: Output, drafts: Drafts) -> Candidate:
    """The input measured, if that was asked for, folded as decided, and checked, if that was asked for and can be.

    What is compared with the input is the file that stands among the drafts, and will be written.
    """
    options = task.options
    verifies = options.verify and not options.check
    runs = (options.verify or options.bench or options.autotune) and not options.check
    sizes = found_sizes(opened, task.compiling, task.runtime) if runs else None
    task = task.on(sizes)
    tuning = measured(task, opened, output)
    # What a proof takes beside folding, which times itself, is checking.
    doing = "Folding and checking" if verifies else "Folding"
    with stage(f"{doing} {options.model.name}", quiet=output.quiet), timed("check"):
        before = _described(opened, task.compiling)
        decisions = decided(options, tuning, opened.model)
        overridable = _overridable(opened, task.compiling)
        if verifies and before.census.tensor_bytes <= LARGEST_OBSERVED:
            request = task.request(opened, decisions, threads=0)
            proof = proved(request, lambda fusion: drafts.file(fusion, before, opened))
        else:
            proof = Proof(compiled(prepare(opened, task.compiling), decisions, {}), (), ())
        if tuning is None and decisions is not UNDECIDED:
            tuning = replayed(proof.fusion, decisions)
        candidate = _candidate(before, opened, proof, task.compiling, tuning)
        return replace(candidate, overridable=overridable, sizes=sizes)


def folded(opened: OpenModel, compiling: CompileOptions, output: Output) -> Candidate:
    """The input folded by cost, and nothing checked; it is run only where its sizes are not known."""
    shapes = {name: tuple(shape) for name, shape in (compiling.shapes or {}).items()}
    runtime = Runtime(shapes, (), {}, None, CPU, ())
    sizes = found_sizes(opened, compiling, runtime)
    compiling = replace(compiling, shapes=on_sizes(runtime, sizes).shapes)
    with stage(f"Folding {opened.path.name}", quiet=output.quiet):
        before = _described(opened, compiling)
        overridable = _overridable(opened, compiling)
        proof = Proof(compiled(prepare(opened, compiling), UNDECIDED, {}), (), ())
        return replace(_candidate(before, opened, proof, compiling), overridable=overridable, sizes=sizes)


@timed("read")
def opened_file(path: Path) -> OpenModel:
    """The model in a file.

    Raises:
        BadInputError: it is not a readable file.
        ModelError: it is not a model.
    """
    require_files(path)
    return open_model(path)


@timed("read")
def _described(opened: OpenModel, compiling: CompileOptions) -> ModelFile:
    """What is said of the input: that of the input as it is folded, with what is taken for granted in it."""
    prepared = prepare(opened, compiling)
    taken = profile(prepared.model, shapes=compiling.shapes)
    described = replace(describe(opened.path, opened), profile=taken, topology=topology(opened.model))
    return replace(described, census=census(prepared.model)) if prepared.notes else described


def _overridable(opened: OpenModel, compiling: CompileOptions) -> Overridable | None:
    """The convolutions that stay because a caller may feed their weights; the regions are those of the frozen model."""
    if compiling.freeze_initializers:
        return None
    kept = prepare(opened, CompileOptions(outputs=compiling.outputs)).model
    convolutions, total = overridable_convolutions(kept)
    if not convolutions:
        return None
    fusion = compiled(prepare(opened, replace(compiling, freeze_initializers=True)), UNDECIDED, {})
    return Overridable(convolutions, total, len(fusion.regions))


def _candidate(
    before: ModelFile, opened: OpenModel, proof: Proof, compiling: CompileOptions, tuning: Tuning | None = None
) -> Candidate:
    fusion = proof.fusion
    changed = fusion if fusion.regions or fusion.notes else None
    taken = before.profile if changed is None else profile(fusion.model, shapes=compiling.shapes)
    after = ModelFile(None, None, census(fusion.model), taken)
    found = (fusion.regions, fusion.refusals, fusion.notes)
    checks = (proof.regions, proof.failed, proof.parity)
    return Candidate(before, after, opened, changed, *found, *checks, tuning, fusion.remarks)
