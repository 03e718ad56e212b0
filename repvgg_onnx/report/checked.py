"""What documents say of checks: how outputs, regions and latencies compare."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from repvgg_onnx.checks.agreement import Accuracy, Agreement
from repvgg_onnx.checks.bisection import Bisection
from repvgg_onnx.checks.inner import InnerParity
from repvgg_onnx.checks.latency import Footprint, Latencies, Latency, ModelLatency
from repvgg_onnx.checks.parity import OutputParity, Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.checks.statistics import Timing, Verdict
from repvgg_onnx.report.document import Entry, Key, entry
from repvgg_onnx.report.latency import BenchReport

OutputEntry = entry(
    "OutputEntry",
    OutputParity,
    "How one output compares.",
    "name dtype shape error tolerance passed worst_feed worst_level reason noise range decided_by remark",
)
AgreementEntry = entry(
    "AgreementEntry",
    Agreement,
    "How the classes that two models choose compare.",
    "output rows same before after",
    before=Key(
        Accuracy | None,
        "how often the first model is right; null where no labels are known.",
        lambda it: it.before if it.before.rows else None,
    ),
    after=Key(Accuracy | None, "the same of the second.", lambda it: it.after if it.after.rows else None),
)
InnerEntry = entry(
    "InnerEntry",
    InnerParity,
    "How one tensor inside compares, computed from the original's values before it.",
    "name error noise limit feed reason passed",
)
ParityEntry = entry(
    "ParityEntry",
    Parity,
    "How the outputs of two models compare.",
    "passed error noise tolerance_reason feeds levels outputs agreements inner remarks",
    *(OutputEntry, AgreementEntry, InnerEntry),
)
RegionParityEntry = entry(
    "RegionParityEntry",
    RegionParity,
    "How one region compares on the activations that arrive there; a bound of null is none.",
    "name sink error bound used tolerance feed noise passed",
)
BisectionEntry = entry(
    "BisectionEntry",
    Bisection,
    "Where two models begin to differ.",
    "obstacle tolerance tolerance_reason feeds level origins tensors",
    origins=Key(
        tuple[str, ...],
        "names of the tensors at which an error arises, in the first model's order.",
        lambda it: tuple(tensor.name for tensor in it.origins),
    ),
)
VerifyEntry = entry(
    "VerifyEntry",
    None,
    "Report of verify.",
    "sizes parity bisection",
    sizes=Key(
        Mapping[str, Sequence[int]] | None,
        "what both models were run on; null where the usual sizes run, or the user gave them.",
    ),
    parity=Key(ParityEntry, "how their outputs compare."),
    bisection=Key(BisectionEntry | None, "where they begin to differ; null without --bisect."),
)
RaceEntry = entry(
    "RaceEntry",
    Latency,
    "How the latencies of two models compare, without the samples.",
    "verdict speedup speedup_low=low speedup_high=high pairs conditions",
)
LatencyEntry = entry(
    "LatencyEntry",
    Latency,
    "How the latencies of two models compare, with every sample.",
    "verdict speedup speedup_low=low speedup_high=high pairs conditions before after",
)
FootprintEntry = entry(
    "FootprintEntry",
    Footprint,
    "Resident memory of a process that has imported onnxruntime, opened one session and run it once.",
    "base_bytes peak_bytes added_bytes",
)
MeasuredEntry = entry(
    "MeasuredEntry",
    Timing,
    "How fast one of several models is; of the first one, which ratios refer to, the ratio is null.",
    "median_ns iqr_ns p95_ns examples_per_second speedup speedup_low speedup_high verdict "
    "session_creation_median_ns session_creation_ns memory samples_ns",
    examples_per_second=Key(float, "examples per second at the median latency."),
    speedup=Key(float | None, "latency of the first model over this one's."),
    speedup_low=Key(float | None, "lower end of the speedup's 95 % interval."),
    speedup_high=Key(float | None, "upper end."),
    verdict=Key(Verdict | None, "what the interval allows to say of the model."),
    session_creation_median_ns=Key(int, "median time to open a session."),
    session_creation_ns=Key(tuple[int, ...], "what it took to open each session."),
    memory=Key(FootprintEntry | None, "of a process that opened it and ran it once; null where that cannot be known."),
    samples_ns=Key(tuple[tuple[int, ...], ...], "every sample, a list for each session."),
)


def _measured(model: ModelLatency, ends: Sequence[int], *, first: bool) -> Entry:
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


def _models(block: Latencies) -> tuple[Entry, ...]:
    """The samples session by session."""
    ends = list(accumulate(map(len, block.legs), initial=0))
    return tuple(_measured(model, ends, first=not index) for index, model in enumerate(block.models))


def _pair(report: BenchReport) -> Entry | None:
    """Two models under one condition as ``fuse`` has them too."""
    alone = len(report.models) == 2 and len(report.blocks) == 1
    return LatencyEntry.of(report.blocks[0].latency()) if alone else None


BenchmarkEntry = entry(
    "BenchmarkEntry",
    Latencies,
    "Every model under one condition.",
    "batch conditions rounds warnings models",
    batch=Key(int, "examples in one run.", lambda it: it.conditions.batch),
    models=Key(tuple[MeasuredEntry, ...], "each model, in the order given.", _models),  # type: ignore[valid-type]
)
BenchEntry = entry(
    "BenchEntry",
    BenchReport,
    "Report of bench.",
    "models environment warnings benchmarks=blocks latency",
    BenchmarkEntry,
    latency=Key(LatencyEntry | None, "for two models under one condition.", _pair),
)
