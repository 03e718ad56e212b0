"""What ``fuse`` and ``inspect`` do: every stage in order, and nothing is written before every check has passed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import onnx

from repvgg_onnx import __version__
from repvgg_onnx.census import census, profile
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.cli.boundary import BadInputError, CheckFailedError, about
from repvgg_onnx.cli.checking import compare, measure
from repvgg_onnx.cli.files import describe, require_files
from repvgg_onnx.cli.options import Assumptions, FuseOptions, Output, Runtime
from repvgg_onnx.cli.output import protect_models, show, stage
from repvgg_onnx.cli.reports import failed_outcome, write_reports
from repvgg_onnx.cli.serving import check_target, fit
from repvgg_onnx.cli.tuning import decided, measured, require_decisions_file, save_decisions
from repvgg_onnx.cli.writing import Draft, drafted, target_of
from repvgg_onnx.fusion.codes import CODES
from repvgg_onnx.fusion.decisions import UNDECIDED, Decisions
from repvgg_onnx.fusion.results import Refusal, Region
from repvgg_onnx.graph.load import OpenModel, load_model, open_model
from repvgg_onnx.pipeline import Fusion, fuse, prepare
from repvgg_onnx.proof import prove
from repvgg_onnx.report.machine import fuse_json, many_json
from repvgg_onnx.report.model import FuseReport, ModelFile, Outcome, Verdict
from repvgg_onnx.report.terminal import fuse_report, inspect_report, parity_failure
from repvgg_onnx.report.topology import topology
from repvgg_onnx.report.units import plural
from repvgg_onnx.serving.tensorrt import TensorRTCheck
from repvgg_onnx.tuning import Tuning, replayed

LARGEST_OBSERVED = 2**30
"""Bytes of tensors above which regions are not checked one by one, because that keeps several copies in memory."""


@dataclass(frozen=True)
class _Candidate:
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


def run_fuse(options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output) -> None:
    """Fold, check, write and report, in this order.

    Raises:
        BadInputError: the model cannot be used.
        CheckFailedError: a check failed.
        UsageError: a file would be written where it cannot or must not be.
    """
    try:
        report = fuse_file(options, assumptions, runtime, output)
    except BadInputError as error:
        outcomes = (failed_outcome(options.model, error),)
        write_reports(output.reports, many_json(__version__, outcomes), outcomes)
        raise
    sentence = failure(options, report)
    outcome = Outcome(str(options.model), report, CheckFailedError.exit_code if sentence else 0, sentence)
    show(output, fuse_report(report), fuse_json(report), (outcome,))
    if sentence:
        raise CheckFailedError(f"{options.model}: {sentence}")


def fuse_file(options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output) -> FuseReport:
    """One model folded, checked, and written if every check has passed; nothing is printed but progress.

    Raises:
        BadInputError: the model cannot be used.
        UsageError: a file would be written where it cannot or must not be.
    """
    target = target_of(options, output)
    protect_models(output, options.model, target)
    require_decisions_file(options, output, target)
    with about(options.model):
        candidate = _candidate_of(options, assumptions, runtime, output)
    with drafted(candidate.model, candidate.before, candidate.opened, target) as draft:
        with about(options.model):
            fitness = _fitness(candidate, draft, options, runtime)
            parity, latency = _check(candidate, draft, options, assumptions, runtime, output)
        verdict = fit(judge(options, candidate.regions, parity, latency, candidate.failed), fitness)
        written = draft if verdict in (Verdict.FUSED, Verdict.NOTHING_TO_FOLD) else None
        if written is not None:
            save_decisions(options, candidate.tuning, runtime)
            written.commit()
    report = _report(candidate, verdict, written=written, parity=parity, latency=latency, gate=options.min_speedup)
    report = replace(report, target=fitness, max_foldable=options.max_foldable if options.check else None)
    return without_codes(report, options.ignore)


def failure(options: FuseOptions, report: FuseReport) -> str | None:
    """Why a run ends with exit code 1, in a sentence; None where it does not."""
    if report.verdict is Verdict.PARITY_FAILED and report.parity is not None:
        return f"the fused model differs, {parity_failure(report.parity)}; nothing was written"
    if report.verdict is Verdict.TOO_SLOW:
        return f"{_shortfall(report)} below --min-speedup {options.min_speedup:g}; nothing was written"
    if report.verdict is Verdict.REGION_FAILED:
        counted = plural(len(report.rolled_back), "region")
        return f"{counted} failed the check on recorded activations; nothing was written"
    if report.verdict is Verdict.UNFIT and report.target is not None:
        return f"the parser of {report.target.release} would refuse the model; nothing was written"
    if report.verdict is Verdict.FOLDABLE and len(report.regions) > options.max_foldable:
        allowed = f", and --max-foldable is {options.max_foldable}" if options.max_foldable else ""
        return f"{plural(len(report.regions), 'region')} can be folded{allowed}"
    return None


def without_codes(report: FuseReport, codes: Collection[str]) -> FuseReport:
    """The report without the refusals of these codes, which the user wants to hear nothing of."""
    return replace(
        report,
        refusals=tuple(refusal for refusal in report.refusals if refusal.code not in codes),
        advice={code: advice for code, advice in report.advice.items() if code not in codes},
    )


def run_inspect(
    model: Path,
    assumptions: Assumptions,
    shapes: Mapping[str, Sequence[int]],
    output: Output,
    *,
    max_constant_mb: int,
    every: bool,
    per_layer: bool,
    ignore: Collection[str],
) -> None:
    """Fold and report, and write nothing.

    Raises:
        BadInputError: the model cannot be used.
        UsageError: the JSON report would be written where it cannot or must not be.
    """
    protect_models(output, model, None)
    with about(model):
        candidate = _fold(model, assumptions, shapes, output, max_constant_mb)
    verdict = Verdict.FOLDABLE if candidate.regions else Verdict.NOTHING_TO_FOLD
    report = without_codes(_report(candidate, verdict), ignore)
    show(output, inspect_report(report, every=every, per_layer=per_layer), fuse_json(report))


def judge(
    options: FuseOptions,
    regions: Sequence[Region],
    parity: Parity | None,
    latency: Latency | None,
    failed: Sequence[RegionParity] = (),
) -> Verdict:
    """How a run ends, from what was found and measured.

    A gate on the speedup fails only where the whole confidence interval is below it. The speedup of a copy of the input
    is exactly 1.
    """
    if failed and (options.strict or not regions):
        return Verdict.REGION_FAILED
    if not regions:
        missed = options.min_speedup is not None and options.min_speedup > 1
        return Verdict.TOO_SLOW if missed else Verdict.NOTHING_TO_FOLD
    if options.check:
        return Verdict.FOLDABLE
    if parity is not None and not parity.passed:
        return Verdict.PARITY_FAILED
    if options.min_speedup is not None and latency is not None and latency.high < options.min_speedup:
        return Verdict.TOO_SLOW
    return Verdict.FUSED


def _candidate_of(options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output) -> _Candidate:
    """The input measured, if that was asked for, folded as decided, and checked region by region, if it can be."""
    require_files(options.model)
    tuning = measured(options, assumptions, runtime, output)
    decisions = decided(options, tuning)
    if _observes(options):
        candidate = _prove(options, assumptions, runtime, output, decisions)
    else:
        candidate = _fold(options.model, assumptions, runtime.shapes, output, options.max_constant_mb, decisions)
    return candidate if tuning is None else replace(candidate, tuning=tuning)


def _fold(
    path: Path,
    assumptions: Assumptions,
    shapes: Mapping[str, Sequence[int]],
    output: Output,
    max_constant_mb: int,
    decisions: Decisions = UNDECIDED,
) -> _Candidate:
    """The input read and folded."""
    with stage(f"Folding {path.name}", quiet=output.quiet):
        before = describe(path)
        opened = open_model(path)
        before = replace(before, profile=profile(opened.model, shapes=shapes), topology=topology(opened.model))
        fusion = fuse(
            opened, shapes=shapes, max_constant_mb=max_constant_mb, decisions=decisions, **asdict(assumptions)
        )
        return replace(_candidate(before, opened, fusion, shapes), tuning=_replayed(fusion, decisions))


def _observes(options: FuseOptions) -> bool:
    """Whether the regions are checked one by one, which keeps several copies of the model in memory."""
    return options.verify and not options.check and describe(options.model).census.tensor_bytes <= LARGEST_OBSERVED


def _prove(
    options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output, decisions: Decisions
) -> _Candidate:
    """The input read, folded, and each region checked on the activations that arrive there."""
    with stage(f"Folding {options.model.name}", quiet=output.quiet):
        proof = prove(
            options.model,
            max_constant_mb=options.max_constant_mb,
            decisions=decisions,
            **runtime.arguments(threads=0),
            **asdict(assumptions),
        )
        opened = open_model(options.model)
        profiled = profile(opened.model, shapes=runtime.shapes)
        before = replace(describe(options.model), profile=profiled, topology=topology(opened.model))
        candidate = _candidate(before, opened, proof.fusion, runtime.shapes, proof.regions, proof.failed)
        return replace(candidate, tuning=_replayed(proof.fusion, decisions))


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
) -> _Candidate:
    changed = fusion.model if fusion.regions or fusion.notes else None
    taken = before.profile if changed is None else profile(fusion.model, shapes=shapes)
    after = ModelFile(None, None, census(fusion.model), taken)
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


def _fitness(
    candidate: _Candidate, draft: Draft | None, options: FuseOptions, runtime: Runtime
) -> TensorRTCheck | None:
    """What the target is known to say of what is written, or would be if anything were; None without a target."""
    if options.target is None:
        return None
    path = options.model if draft is None else draft.target
    if candidate.model is None:
        return check_target(candidate.opened, path, runtime)
    if draft is None:
        return check_target(replace(candidate.opened, model=candidate.model, sides=frozenset()), path, runtime)
    return check_target(open_model(draft.file), path, runtime)


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
    after = candidate.after if written is None else replace(written.described, profile=candidate.after.profile)
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
        tuning=candidate.tuning,
        advice={code: CODES[code].advice for code in dict.fromkeys(refusal.code for refusal in candidate.refusals)},
    )


def _shortfall(report: FuseReport) -> str:
    """How fast a model is that is not fast enough."""
    if report.latency is None:
        return "nothing was folded, so that the speedup is 1,"
    latency = report.latency
    return f"the speedup is {latency.speedup:.3g}, and its 95% interval, {latency.low:.3g}-{latency.high:.3g}, ends"
