"""How a run of ``fuse`` ends: its verdict, and the sentence for one that failed."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.cli.options import FuseOptions
from repvgg_onnx.fusion.results import Region
from repvgg_onnx.report.model import FuseReport, Verdict
from repvgg_onnx.report.terminal import parity_failure
from repvgg_onnx.report.units import plural


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
    if failed and options.strict:
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


def failure(options: FuseOptions, report: FuseReport) -> str | None:
    """Why a run ends with exit code 1, in a sentence; None where it does not."""
    if report.verdict is Verdict.PARITY_FAILED and report.parity is not None:
        return f"the fused model differs, {parity_failure(report.parity)}; nothing was written"
    if report.verdict is Verdict.TOO_SLOW:
        return f"{_shortfall(report)} below --min-speedup {options.min_speedup:g}; nothing was written"
    if report.verdict is Verdict.REGION_FAILED:
        counted = plural(len(report.rolled_back), "region")
        return f"{counted} failed a check; nothing was written"
    if report.verdict is Verdict.UNFIT and report.target is not None:
        return f"the parser of {report.target.release} would refuse the model; nothing was written"
    if report.verdict is Verdict.FOLDABLE and len(report.regions) > options.max_foldable:
        allowed = f", and --max-foldable is {options.max_foldable}" if options.max_foldable else ""
        return f"{plural(len(report.regions), 'region')} can be folded{allowed}"
    return None


def without_codes(report: FuseReport, codes: Collection[str]) -> FuseReport:
    """The report without the refusals of these codes, which the user wants to hear nothing of."""
    return replace(report, refusals=tuple(refusal for refusal in report.refusals if refusal.code not in codes))


def _shortfall(report: FuseReport) -> str:
    """How fast a model is that is not fast enough."""
    if report.latency is None:
        return "nothing was folded, so that the speedup is 1,"
    latency = report.latency
    return f"the speedup is {latency.speedup:.3g}, and its 95% interval, {latency.low:.3g}-{latency.high:.3g}, ends"
