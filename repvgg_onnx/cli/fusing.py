"""What ``fuse`` and ``inspect`` do: every stage in order, and nothing is written before every check has passed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from repvgg_onnx import __version__
from repvgg_onnx.census import census
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.cli.boundary import CheckFailedError, about
from repvgg_onnx.cli.checking import compare, measure
from repvgg_onnx.cli.options import FuseOptions, Output, Runtime
from repvgg_onnx.cli.output import protect_models, require_distinct, require_folder, show, stage
from repvgg_onnx.graph.load import has_external_data, load_model
from repvgg_onnx.graph.save import save_model, serialize, write_bytes
from repvgg_onnx.pipeline import Fusion, fuse
from repvgg_onnx.report.machine import fuse_json
from repvgg_onnx.report.model import FuseReport, ModelFile, Verdict
from repvgg_onnx.report.terminal import fuse_report, parity_failure
from repvgg_onnx.report.units import plural

FUSED_SUFFIX = ".fused.onnx"
"""What the default name of the output ends in."""

_QUICKLY_PARSED = 2**24  # bytes


@dataclass(frozen=True)
class _Candidate:
    """A fused model as it would be written.

    Attributes:
        before: the input file.
        fusion: what the compiler made of it.
    """

    before: ModelFile
    fusion: Fusion

    @cached_property
    def content(self) -> bytes | onnx.ModelProto:
        """The bytes that are verified, measured and written, or the model where one file cannot hold it."""
        return serialize(self.fusion.model) or self.fusion.model


def run_fuse(options: FuseOptions, runtime: Runtime, output: Output) -> None:
    """Fold, check, write and report, in this order.

    Raises:
        BadInputError: the model cannot be used.
        CheckFailedError: a check failed.
        UsageError: a file would be written where it cannot or must not be.
    """
    target = None if options.check else _target(options)
    protect_models(output, options.model, target)
    with about(options.model):
        candidate = _fold(options.model, runtime.shapes, output)
        parity, latency = _check(candidate, options, runtime, output)
    verdict = judge(options, candidate.fusion, parity, latency)
    if target is not None and verdict is Verdict.FUSED:
        _write(candidate, target)
    if target is not None and verdict is Verdict.NOTHING_TO_FOLD:
        _copy(candidate, options.model, target)
    written = target if verdict in (Verdict.FUSED, Verdict.NOTHING_TO_FOLD) else None
    report = _report(candidate, verdict, written=written, parity=parity, latency=latency, gate=options.min_speedup)
    show(output, fuse_report(report), fuse_json(report))
    _raise_failed(options, report)


def run_inspect(model: Path, shapes: Mapping[str, Sequence[int]], output: Output) -> None:
    """Fold and report, and write nothing.

    Raises:
        BadInputError: the model cannot be used.
        UsageError: the JSON report would be written where it cannot or must not be.
    """
    protect_models(output, model, None)
    with about(model):
        candidate = _fold(model, shapes, output)
    verdict = Verdict.FOLDABLE if candidate.fusion.regions else Verdict.NOTHING_TO_FOLD
    report = _report(candidate, verdict)
    show(output, fuse_report(report), fuse_json(report))


def judge(options: FuseOptions, fusion: Fusion, parity: Parity | None, latency: Latency | None) -> Verdict:
    """How a run ends, from what was found and measured.

    A gate on the speedup fails only where the whole confidence interval is below it.
    """
    if not fusion.regions:
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


def _fold(path: Path, shapes: Mapping[str, Sequence[int]], output: Output) -> _Candidate:
    """The input read and folded."""
    with stage(f"Folding {path.name}", quiet=output.quiet):
        model = load_model(path)
        counted = census(model)
        before = ModelFile(str(path), _size_bytes(path, counted.tensor_bytes), counted)
        fusion = fuse(model, shapes=shapes)
        return _Candidate(before, fusion)


def _check(
    candidate: _Candidate, options: FuseOptions, runtime: Runtime, output: Output
) -> tuple[Parity | None, Latency | None]:
    """The comparisons that were asked for; none where nothing changed, no latency of a wrong model."""
    if options.check or not candidate.fusion.regions:
        return None, None
    parity, latency = None, None
    if options.verify:
        parity = compare(options.model, candidate.content, options.tolerance, runtime, output)
    if options.bench and (parity is None or parity.passed):
        latency = measure(options.model, candidate.content, options.bench_seconds, runtime, output)
    return parity, latency


def _write(candidate: _Candidate, target: Path) -> None:
    """The fused model stands at ``target``, in the bytes that were checked."""
    with about(target):
        if isinstance(candidate.content, bytes):
            write_bytes(candidate.content, target)
        else:
            save_model(candidate.content, target)


def _copy(candidate: _Candidate, source: Path, target: Path) -> None:
    """The input stands at ``target``: byte for byte, unless its side files would be out of reach there."""
    if target == source:
        return
    with about(target):
        if source.parent.samefile(target.parent) or not has_external_data(source):
            write_bytes(source.read_bytes(), target)
        else:
            save_model(candidate.fusion.model, target, external_data=True)


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
    counted = census(candidate.fusion.model)
    if written is None:
        after = ModelFile(None, None, counted)
    else:
        after = ModelFile(str(written), _size_bytes(written, counted.tensor_bytes), counted)
    return FuseReport(
        version=__version__,
        before=candidate.before,
        after=after,
        regions=candidate.fusion.regions,
        refusals=candidate.fusion.refusals,
        parity=parity,
        latency=latency,
        min_speedup=gate,
        verdict=verdict,
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


def _size_bytes(path: Path, tensor_bytes: int) -> int:
    """Size of a model file with its side files, which are not looked for where a large file holds all its tensors."""
    alone = path.stat().st_size
    if alone > max(tensor_bytes, _QUICKLY_PARSED):
        return alone
    model = onnx.load(path, load_external_data=False)
    tensors = filter(uses_external_data, model.graph.initializer)
    sides = {path.parent / ExternalDataInfo(tensor).location for tensor in tensors}
    return alone + sum(side.stat().st_size for side in sides)
