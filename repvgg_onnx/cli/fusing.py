"""What ``fuse`` and ``inspect`` do: every stage in order, and nothing is written before every check has passed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx

from repvgg_onnx import __version__
from repvgg_onnx.census import Census, census
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.cli.boundary import CheckFailedError, about
from repvgg_onnx.cli.checking import compare, measure
from repvgg_onnx.cli.files import describe
from repvgg_onnx.cli.options import Assumptions, FuseOptions, Output, Runtime
from repvgg_onnx.cli.output import protect_models, show, stage
from repvgg_onnx.cli.writing import Draft, drafted, target_of
from repvgg_onnx.fusion.codes import CODES
from repvgg_onnx.fusion.results import Refusal, Region
from repvgg_onnx.graph.load import OpenModel, load_model, open_model
from repvgg_onnx.pipeline import Fusion, fuse, prepare
from repvgg_onnx.proof import prove
from repvgg_onnx.report.machine import fuse_json
from repvgg_onnx.report.model import FuseReport, ModelFile, Verdict
from repvgg_onnx.report.terminal import fuse_report, inspect_report, parity_failure
from repvgg_onnx.report.units import plural

LARGEST_OBSERVED = 2**30
"""Bytes of tensors above which regions are not checked one by one, because that keeps several copies in memory."""


@dataclass(frozen=True)
class _Candidate:
    """What the compiler made of the input.

    Attributes:
        before: the input file.
        after: what the fused model stores.
        opened: the input, whose files the fused model refers to.
        model: the fused model; None where there is nothing to write but the input itself.
        regions: what was folded.
        refusals: what was not, and why.
        notes: what was taken for granted about the input.
        checked: how each region compares on its own, where that was asked for.
        failed: the same for regions that were left as they were because of it.
    """

    before: ModelFile
    after: Census
    opened: OpenModel
    model: onnx.ModelProto | None
    regions: tuple[Region, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]
    checked: tuple[RegionParity, ...] = ()
    failed: tuple[RegionParity, ...] = ()


def run_fuse(options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output) -> None:
    """Fold, check, write and report, in this order.

    Raises:
        BadInputError: the model cannot be used.
        CheckFailedError: a check failed.
        UsageError: a file would be written where it cannot or must not be.
    """
    target = target_of(options, output)
    protect_models(output, options.model, target)
    with about(options.model):
        if _observes(options):
            candidate = _prove(options, assumptions, runtime, output)
        else:
            candidate = _fold(options.model, assumptions, runtime.shapes, output, options.max_constant_mb)
    with drafted(candidate.model, candidate.before, candidate.opened, target) as draft:
        with about(options.model):
            parity, latency = _check(candidate, draft, options, assumptions, runtime, output)
        verdict = judge(options, candidate.regions, parity, latency, candidate.failed)
        written = draft if verdict in (Verdict.FUSED, Verdict.NOTHING_TO_FOLD) else None
        if written is not None:
            written.commit()
    report = _report(candidate, verdict, written=written, parity=parity, latency=latency, gate=options.min_speedup)
    show(output, fuse_report(report), fuse_json(report))
    _raise_failed(options, report)


def run_inspect(
    model: Path,
    assumptions: Assumptions,
    shapes: Mapping[str, Sequence[int]],
    output: Output,
    *,
    max_constant_mb: int,
    every: bool,
) -> None:
    """Fold and report, and write nothing.

    Raises:
        BadInputError: the model cannot be used.
        UsageError: the JSON report would be written where it cannot or must not be.
    """
    protect_models(output, model, None)
    with about(model):
        candidate = _fold(model, assumptions, shapes, output, max_constant_mb)
    report = _report(candidate, Verdict.FOLDABLE if candidate.regions else Verdict.NOTHING_TO_FOLD)
    show(output, inspect_report(report, every=every), fuse_json(report))


def judge(
    options: FuseOptions,
    regions: Sequence[Region],
    parity: Parity | None,
    latency: Latency | None,
    failed: Sequence[RegionParity] = (),
) -> Verdict:
    """How a run ends, from what was found and measured.

    A gate on the speedup fails only where the whole confidence interval is below it.
    """
    if failed and (options.strict or not regions):
        return Verdict.REGION_FAILED
    if not regions:
        return Verdict.NOTHING_TO_FOLD
    if options.check:
        return Verdict.FOLDABLE
    if parity is not None and not parity.passed:
        return Verdict.PARITY_FAILED
    if options.min_speedup is not None and latency is not None and latency.high < options.min_speedup:
        return Verdict.TOO_SLOW
    return Verdict.FUSED


def _fold(
    path: Path, assumptions: Assumptions, shapes: Mapping[str, Sequence[int]], output: Output, max_constant_mb: int
) -> _Candidate:
    """The input read and folded."""
    with stage(f"Folding {path.name}", quiet=output.quiet):
        before = describe(path)
        opened = open_model(path)
        fusion = fuse(opened, shapes=shapes, max_constant_mb=max_constant_mb, **asdict(assumptions))
        return _candidate(before, opened, fusion)


def _observes(options: FuseOptions) -> bool:
    """Whether the regions are checked one by one, which keeps several copies of the model in memory."""
    return options.verify and not options.check and describe(options.model).census.tensor_bytes <= LARGEST_OBSERVED


def _prove(options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output) -> _Candidate:
    """The input read, folded, and each region checked on the activations that arrive there."""
    with stage(f"Folding {options.model.name}", quiet=output.quiet):
        proof = prove(
            options.model,
            max_constant_mb=options.max_constant_mb,
            **runtime.arguments(threads=0),
            **asdict(assumptions),
        )
        opened = open_model(options.model)
        return _candidate(describe(options.model), opened, proof.fusion, proof.regions, proof.failed)


def _candidate(
    before: ModelFile,
    opened: OpenModel,
    fusion: Fusion,
    checked: tuple[RegionParity, ...] = (),
    failed: tuple[RegionParity, ...] = (),
) -> _Candidate:
    changed = fusion.model if fusion.regions or fusion.notes else None
    after = census(fusion.model)
    return _Candidate(before, after, opened, changed, fusion.regions, fusion.refusals, fusion.notes, checked, failed)


def _check(
    candidate: _Candidate,
    draft: Draft | None,
    options: FuseOptions,
    assumptions: Assumptions,
    runtime: Runtime,
    output: Output,
) -> tuple[Parity | None, Latency | None]:
    """The comparisons that were asked for; none where nothing was folded, no latency of a wrong model."""
    if draft is None or not candidate.regions:
        return None, None
    parity, latency = None, None
    baseline = _baseline(options.model, assumptions) if candidate.notes else options.model
    if options.verify:
        parity = compare(baseline, draft.file, options.tolerance, runtime, output)
    if options.bench and (parity is None or parity.passed):
        latency = measure(baseline, draft.file, options.bench_seconds, runtime, output)
    return parity, latency


def _baseline(path: Path, assumptions: Assumptions) -> onnx.ModelProto:
    """The input with what is taken for granted written into it, which a fold must not change."""
    model, _ = prepare(load_model(path), **asdict(assumptions))
    return model


def _report(
    candidate: _Candidate,
    verdict: Verdict,
    *,
    written: Draft | None = None,
    parity: Parity | None = None,
    latency: Latency | None = None,
    gate: float | None = None,
) -> FuseReport:
    """Everything about a run, for the renderers."""
    after = ModelFile(None, None, candidate.after) if written is None else written.described
    return FuseReport(
        version=__version__,
        before=candidate.before,
        after=after,
        regions=candidate.regions,
        refusals=candidate.refusals,
        parity=parity,
        latency=latency,
        min_speedup=gate,
        verdict=verdict,
        notes=candidate.notes,
        region_parities=candidate.checked,
        rolled_back=candidate.failed,
        advice={code: CODES[code].advice for code in dict.fromkeys(refusal.code for refusal in candidate.refusals)},
    )


def _raise_failed(options: FuseOptions, report: FuseReport) -> None:
    """Raise the failure that a verdict stands for."""
    if report.verdict is Verdict.PARITY_FAILED and report.parity is not None:
        sentence = f"the fused model differs, {parity_failure(report.parity)}; nothing was written"
    elif report.verdict is Verdict.TOO_SLOW and report.latency is not None:
        sentence = (
            f"the speedup is at most {report.latency.high:.3g} (95% confidence), "
            f"below --min-speedup {options.min_speedup:g}; nothing was written"
        )
    elif report.verdict is Verdict.REGION_FAILED:
        counted = plural(len(report.rolled_back), "region")
        sentence = f"{counted} failed the check on recorded activations; nothing was written"
    elif report.verdict is Verdict.FOLDABLE:
        sentence = f"{plural(len(report.regions), 'region')} can be folded"
    else:
        return
    raise CheckFailedError(f"{options.model}: {sentence}")
