"""What documents say of checks: how outputs, regions and latencies compare."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec import field

from repvgg_onnx.checks.agreement import Accuracy, Agreement
from repvgg_onnx.checks.bisection import Bisection, TensorParity
from repvgg_onnx.checks.environment import Environment
from repvgg_onnx.checks.inner import InnerParity
from repvgg_onnx.checks.latency import Conditions, Footprint, Latencies, Latency, ModelLatency
from repvgg_onnx.checks.parity import OutputParity, Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.checks.statistics import Timing, Verdict
from repvgg_onnx.checks.verdicts import DecidedBy
from repvgg_onnx.report.document import Entry
from repvgg_onnx.report.latency import BenchReport

if TYPE_CHECKING:
    from typing_extensions import Self


class OutputEntry(Entry, frozen=True, kw_only=True):
    """How one output compares."""

    shows: ClassVar = OutputParity
    name: str
    dtype: str
    shape: tuple[int, ...]
    error: float
    tolerance: float
    passed: bool
    worst_feed: str
    worst_level: str
    reason: str
    noise: float
    range: float | None
    decided_by: DecidedBy
    remark: str


class AgreementEntry(Entry, frozen=True, kw_only=True):
    """How the classes that two models choose compare.

    Attributes:
        before: how often the first model is right; null where no labels are known.
        after: the same of the second.
    """

    shows: ClassVar = Agreement
    output: str
    rows: int
    same: int
    before: Accuracy | None
    after: Accuracy | None

    @classmethod
    def of(cls, result: Agreement, **given: Any) -> "Self":
        """Without accuracies on no rows."""
        before, after = (side if side.rows else None for side in (result.before, result.after))
        return super().of(result, before=before, after=after, **given)


class InnerEntry(Entry, frozen=True, kw_only=True):
    """How one tensor inside compares, computed from the original's values before it."""

    shows: ClassVar = InnerParity
    name: str
    error: float
    noise: float
    limit: float
    feed: str
    reason: str
    passed: bool


class ParityEntry(Entry, frozen=True, kw_only=True):
    """How the outputs of two models compare."""

    shows: ClassVar = Parity
    passed: bool
    error: float
    noise: float
    tolerance_reason: str
    feeds: tuple[str, ...]
    levels: tuple[str, ...]
    outputs: tuple[OutputEntry, ...]
    agreements: tuple[AgreementEntry, ...]
    inner: tuple[InnerEntry, ...]
    remarks: tuple[str, ...]


class RegionParityEntry(Entry, frozen=True, kw_only=True):
    """How one region compares on the activations that arrive there; a bound of null is none."""

    shows: ClassVar = RegionParity
    name: str
    sink: str
    error: float
    bound: float
    used: float
    tolerance: float
    feed: str
    noise: float
    passed: bool


class BisectionEntry(Entry, frozen=True, kw_only=True):
    """Where two models begin to differ.

    Attributes:
        origins: names of the tensors at which an error arises, in the first model's order.
    """

    shows: ClassVar = Bisection
    obstacle: str
    tolerance: float
    tolerance_reason: str
    feeds: tuple[str, ...]
    level: str
    origins: tuple[str, ...]
    tensors: tuple[TensorParity, ...]

    @classmethod
    def of(cls, result: Bisection, **given: Any) -> "Self":
        """The origins by name, since they are among the tensors."""
        return super().of(result, origins=tuple(tensor.name for tensor in result.origins), **given)


class VerifyEntry(Entry, frozen=True, kw_only=True):
    """Report of verify.

    Attributes:
        sizes: what both models were run on; null where the usual sizes run, or the user gave them.
        parity: how their outputs compare.
        bisection: where they begin to differ; null without --bisect.
    """

    sizes: Mapping[str, Sequence[int]] | None
    parity: ParityEntry
    bisection: BisectionEntry | None


class RaceEntry(Entry, frozen=True, kw_only=True):
    """How the latencies of two models compare, without the samples."""

    shows: ClassVar = Latency
    verdict: Verdict
    speedup: float
    low: float = field(name="speedup_low")
    high: float = field(name="speedup_high")
    pairs: int
    conditions: Conditions


class LatencyEntry(RaceEntry, frozen=True, kw_only=True):
    """How the latencies of two models compare, with every sample."""

    before: Timing
    after: Timing


class FootprintEntry(Entry, frozen=True, kw_only=True):
    """Resident memory of a process that has imported onnxruntime, opened one session and run it once."""

    shows: ClassVar = Footprint
    base_bytes: int
    peak_bytes: int
    added_bytes: int


class MeasuredEntry(Entry, frozen=True, kw_only=True):
    """How fast one of several models is; of the first one, which ratios refer to, the ratio is null.

    Attributes:
        examples_per_second: examples per second at the median latency.
        speedup: latency of the first model over this one's.
        speedup_low: lower end of the speedup's 95 % interval.
        speedup_high: upper end.
        verdict: what the interval allows to say of the model.
        session_creation_median_ns: median time to open a session.
        session_creation_ns: what it took to open each session.
        memory: of a process that opened it and ran it once; null where that cannot be known.
        samples_ns: every sample, a list for each session.
    """

    shows: ClassVar = Timing
    median_ns: int
    iqr_ns: int
    p95_ns: int
    examples_per_second: float
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    verdict: Verdict | None
    session_creation_median_ns: int
    session_creation_ns: tuple[int, ...]
    memory: FootprintEntry | None
    samples_ns: tuple[tuple[int, ...], ...]


class BenchmarkEntry(Entry, frozen=True, kw_only=True):
    """Every model under one condition.

    Attributes:
        batch: examples in one run.
    """

    shows: ClassVar = Latencies
    batch: int
    conditions: Conditions
    rounds: int
    warnings: tuple[str, ...]
    models: tuple[MeasuredEntry, ...]

    @classmethod
    def of(cls, result: Latencies, **given: Any) -> "Self":
        """The samples session by session."""
        ends = list(accumulate(map(len, result.legs), initial=0))
        measured = tuple(_measured(model, ends, first=not index) for index, model in enumerate(result.models))
        return super().of(result, batch=result.conditions.batch, models=measured, **given)


class BenchEntry(Entry, frozen=True, kw_only=True):
    """Report of bench.

    Attributes:
        latency: for two models under one condition.
    """

    shows: ClassVar = BenchReport
    models: tuple[str, ...]
    environment: Environment
    warnings: tuple[str, ...]
    blocks: tuple[BenchmarkEntry, ...] = field(name="benchmarks")
    latency: LatencyEntry | None

    @classmethod
    def of(cls, result: BenchReport, **given: Any) -> "Self":
        """Two models under one condition as ``fuse`` has them too."""
        alone = len(result.models) == 2 and len(result.blocks) == 1
        pair = LatencyEntry.of(result.blocks[0].latency()) if alone else None
        return super().of(result, latency=pair, **given)


def _measured(model: ModelLatency, ends: Sequence[int], *, first: bool) -> MeasuredEntry:
    """The figures of one model.

    Args:
        model: what was measured.
        ends: where each session's samples begin, and the last ones end.
        first: whether it is what ratios refer to.
    """
    ratio = None if first else model.ratio
    return MeasuredEntry.of(
        model.timing,
        examples_per_second=model.throughput,
        speedup=ratio and ratio.speedup,
        speedup_low=ratio and ratio.low,
        speedup_high=ratio and ratio.high,
        verdict=ratio and ratio.verdict,
        session_creation_median_ns=model.creation_median_ns,
        session_creation_ns=model.creation_ns,
        memory=model.footprint and FootprintEntry.of(model.footprint),
        samples_ns=tuple(model.timing.samples_ns[start:end] for start, end in pairwise(ends)),
    )
