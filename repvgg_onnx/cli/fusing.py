"""What ``fuse`` and ``inspect`` do: every stage in order, and nothing is written before every check has passed."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import onnx

from repvgg_onnx import __version__
from repvgg_onnx.census import Census, census
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.cli.boundary import CheckFailedError, about
from repvgg_onnx.cli.checking import compare, measure
from repvgg_onnx.cli.files import describe
from repvgg_onnx.cli.options import Assumptions, FuseOptions, Output, Runtime
from repvgg_onnx.cli.output import protect_models, require_distinct, require_folder, show, stage
from repvgg_onnx.fusion.codes import CODES
from repvgg_onnx.fusion.results import Refusal, Region
from repvgg_onnx.graph.load import has_external_data, load_model
from repvgg_onnx.graph.save import save_model, serialize, write_bytes
from repvgg_onnx.pipeline import fuse, prepare
from repvgg_onnx.report.machine import fuse_json
from repvgg_onnx.report.model import FuseReport, ModelFile, Verdict
from repvgg_onnx.report.terminal import fuse_report, inspect_report, parity_failure
from repvgg_onnx.report.units import plural

FUSED_SUFFIX = ".fused.onnx"
"""What the default name of the output ends in."""


@dataclass(frozen=True)
class _Candidate:
    """What the compiler made of the input.

    Attributes:
        before: the input file.
        after: what the fused model stores.
        content: the bytes that are verified, measured and written, or the model where one file cannot hold it; None
            where there is nothing to write but the input itself.
        regions: what was folded.
        refusals: what was not, and why.
        notes: what was taken for granted about the input.
    """

    before: ModelFile
    after: Census
    content: bytes | onnx.ModelProto | None
    regions: tuple[Region, ...]
    refusals: tuple[Refusal, ...]
    notes: tuple[str, ...]


def run_fuse(options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output) -> None:
    """Fold, check, write and report, in this order.

    Raises:
        BadInputError: the model cannot be used.
        CheckFailedError: a check failed.
        UsageError: a file would be written where it cannot or must not be.
    """
    target = None if options.check else _target(options)
    protect_models(output, options.model, target)
    with about(options.model):
        candidate = _fold(options.model, assumptions, runtime.shapes, output, keep=target is not None)
        parity, latency = _check(candidate, options, assumptions, runtime, output)
    verdict = judge(options, candidate.regions, parity, latency)
    written = target if verdict in (Verdict.FUSED, Verdict.NOTHING_TO_FOLD) else None
    if written is not None:
        _write(candidate, options.model, written)
    report = _report(candidate, verdict, written=written, parity=parity, latency=latency, gate=options.min_speedup)
    show(output, fuse_report(report), fuse_json(report))
    _raise_failed(options, report)


def run_inspect(
    model: Path, assumptions: Assumptions, shapes: Mapping[str, Sequence[int]], output: Output, *, every: bool
) -> None:
    """Fold and report, and write nothing.

    Raises:
        BadInputError: the model cannot be used.
        UsageError: the JSON report would be written where it cannot or must not be.
    """
    protect_models(output, model, None)
    with about(model):
        candidate = _fold(model, assumptions, shapes, output, keep=False)
    report = _report(candidate, Verdict.FOLDABLE if candidate.regions else Verdict.NOTHING_TO_FOLD)
    show(output, inspect_report(report, every=every), fuse_json(report))


def judge(options: FuseOptions, regions: Sequence[Region], parity: Parity | None, latency: Latency | None) -> Verdict:
    """How a run ends, from what was found and measured.

    A gate on the speedup fails only where the whole confidence interval is below it.
    """
    if not regions:
        return Verdict.NOTHING_TO_FOLD
    if options.check:
        return Verdict.FOLDABLE
    if parity is not None and not parity.passed:
        return Verdict.PARITY_FAILED
    if options.min_speedup is not None and latency is not None and latency.high < options.min_speedup:
        return Verdict.TOO_SLOW
    return Verdict.FUSED


def _target(options: FuseOptions) -> Path:
    """The file to write, which is the input only if the user said so."""
    if options.in_place:
        return options.model
    if options.output is not None:
        require_folder(options.output)
    target = options.output or options.model.parent / (options.model.stem + FUSED_SUFFIX)
    require_distinct(target, options.model)
    return target


def _fold(
    path: Path, assumptions: Assumptions, shapes: Mapping[str, Sequence[int]], output: Output, *, keep: bool
) -> _Candidate:
    """The input read and folded; the fused model is kept, as bytes, only where it may be written."""
    with stage(f"Folding {path.name}", quiet=output.quiet):
        before = describe(path)
        fusion = fuse(path, shapes=shapes, **asdict(assumptions))
        changed = bool(fusion.regions or fusion.notes)
        content = (serialize(fusion.model) or fusion.model) if keep and changed else None
        return _Candidate(before, census(fusion.model), content, fusion.regions, fusion.refusals, fusion.notes)


def _check(
    candidate: _Candidate, options: FuseOptions, assumptions: Assumptions, runtime: Runtime, output: Output
) -> tuple[Parity | None, Latency | None]:
    """The comparisons that were asked for; none where nothing was folded, no latency of a wrong model."""
    if candidate.content is None or not candidate.regions:
        return None, None
    parity, latency = None, None
    baseline = _baseline(options.model, assumptions) if candidate.notes else options.model
    if options.verify:
        parity = compare(baseline, candidate.content, options.tolerance, runtime, output)
    if options.bench and (parity is None or parity.passed):
        latency = measure(baseline, candidate.content, options.bench_seconds, runtime, output)
    return parity, latency


def _baseline(path: Path, assumptions: Assumptions) -> onnx.ModelProto:
    """The input with what is taken for granted written into it, which a fold must not change."""
    model, _ = prepare(load_model(path), **asdict(assumptions))
    return model


def _write(candidate: _Candidate, source: Path, target: Path) -> None:
    """The fused model stands at ``target``, in the bytes that were checked."""
    with about(target):
        if candidate.content is None:
            _copy(source, target)
        elif isinstance(candidate.content, bytes):
            write_bytes(candidate.content, target)
        else:
            save_model(candidate.content, target)


def _copy(source: Path, target: Path) -> None:
    """The input stands at ``target``: byte for byte, unless its side files would be out of reach there."""
    if target == source:
        return
    if source.parent.samefile(target.parent) or not has_external_data(source):
        write_bytes(source.read_bytes(), target)
    else:
        save_model(load_model(source), target, external_data=True)


def _report(
    candidate: _Candidate,
    verdict: Verdict,
    *,
    written: Path | None = None,
    parity: Parity | None = None,
    latency: Latency | None = None,
    gate: float | None = None,
) -> FuseReport:
    """Everything about a run, for the renderers."""
    after = ModelFile(None, None, candidate.after) if written is None else describe(written)
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
    elif report.verdict is Verdict.FOLDABLE:
        sentence = f"{plural(len(report.regions), 'region')} can be folded"
    else:
        return
    raise CheckFailedError(f"{options.model}: {sentence}")
