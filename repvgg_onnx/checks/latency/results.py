"""What was measured, and under which conditions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from repvgg_onnx.checks.latency.memory import Footprint
from repvgg_onnx.checks.latency.noise import noise_of
from repvgg_onnx.checks.session import CPU
from repvgg_onnx.checks.statistics import Ratio, Samples, Timing, Verdict


@dataclass(frozen=True)
class Conditions:
    """What a latency was measured under.

    Attributes:
        onnxruntime: its version.
        provider: execution provider.
        level: graph optimization level.
        threads: threads inside an operator; 0 where onnxruntime decided.
        shapes: input name to shape.
        sessions: how many times every model was opened afresh.
        seconds: sum of all samples.
        provider_options: what the provider was told.
        isolated: whether every session had a process of its own.
    """

    onnxruntime: str
    provider: str
    level: str
    threads: int
    shapes: Mapping[str, tuple[int, ...]]
    sessions: int
    seconds: float
    provider_options: Mapping[str, str] = field(default_factory=dict)
    isolated: bool = False

    @property
    def batch(self) -> int:
        """Examples in one run: axis 0 of the first input; 1 where there is no such axis."""
        shape = next(iter(self.shapes.values()), ())
        return shape[0] if shape else 1

    @property
    def opened(self) -> str:
        """Such as ``20 sessions``, or ``6 sessions, each in a process of its own``."""
        sessions = "1 session" if self.sessions == 1 else f"{self.sessions} sessions"
        return f"{sessions}, each in a process of its own" if self.isolated else sessions

    def __str__(self) -> str:
        """Such as ``onnxruntime 1.31 ENABLE_ALL, 1 thread, 1x3x224x224``."""
        version = ".".join(self.onnxruntime.split(".")[:2])
        level = self.level.removeprefix("ORT_")
        where = "" if self.provider == CPU else f" {self.provider}"
        options = [f"{key}={value}" for key, value in self.provider_options.items()]
        threads = {0: "default threads", 1: "1 thread"}.get(self.threads, f"{self.threads} threads")
        shapes = ["x".join(map(str, shape)) or "scalar" for shape in self.shapes.values()]
        return ", ".join([f"onnxruntime {version} {level}{where}", *options, threads, *shapes])


@dataclass(frozen=True)
class Latency:
    """How the latencies of two models compare.

    Attributes:
        before: latency of the first model.
        after: latency of the second.
        speedup: median over the pairs of before / after; above 1 the second is faster.
        low: lower end of the speedup's 95 % interval.
        high: upper end.
        verdict: ``faster``, ``slower`` or ``not distinguishable``, of the second model.
        pairs: how many times both were measured, one right after the other.
        conditions: what they were measured under.
        warnings: signs in the samples that the machine was not quiet.
    """

    before: Timing
    after: Timing
    speedup: float
    low: float
    high: float
    verdict: Verdict
    pairs: int
    conditions: Conditions
    warnings: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The verdict with its interval and its conditions, on one line."""
        return f"{self.finding}, {self.conditions}, {self.pairs} pairs in {self.conditions.opened}"

    @property
    def finding(self) -> str:
        """The verdict with its interval, such as ``1.14x faster (95% CI 1.12-1.16)``."""
        factor, low, high = Ratio(self.speedup, self.low, self.high).stated
        words = "as fast, not distinguishable" if self.verdict == "not distinguishable" else self.verdict
        return f"{factor:.2f}x {words} (95% CI {low:.2f}-{high:.2f})"


@dataclass(frozen=True)
class ModelLatency:
    """How fast one of several models is.

    Attributes:
        timing: its latency.
        throughput: examples per second at the median latency.
        ratio: latency of the first model over this one's; exactly 1 for the first model itself.
        creation_ns: what it took to open each session, in nanoseconds.
        footprint: memory of a process that opened it and ran it once, of several processes the median; None where that
            was not asked for or cannot be known.
    """

    timing: Timing
    throughput: float
    ratio: Ratio
    creation_ns: tuple[int, ...]
    footprint: Footprint | None

    @property
    def creation_median_ns(self) -> int:
        """Median time to open a session, in nanoseconds."""
        return round(float(np.median(self.creation_ns)))


@dataclass(frozen=True)
class Latencies:
    """How the latencies of one or more models compare with the first one's.

    Attributes:
        models: each model, in the order given.
        legs: latencies in nanoseconds of each leg, rounds x models.
        conditions: what they were measured under.
    """

    models: tuple[ModelLatency, ...]
    legs: Sequence[Samples] = field(repr=False, compare=False)  # the samples of the models, in another form
    conditions: Conditions

    @property
    def rounds(self) -> int:
        """How many times every model was timed."""
        return sum(map(len, self.legs))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Signs in the samples that the machine was not quiet: what was seen, and what to do."""
        return noise_of(self.legs)

    def latency(self, index: int = 1) -> Latency:
        """The first model and another one as two.

        Args:
            index: which other one.
        """
        first, second = self.models[0], self.models[index]
        ratio = second.ratio
        return Latency(
            before=first.timing,
            after=second.timing,
            speedup=ratio.speedup,
            low=ratio.low,
            high=ratio.high,
            verdict=ratio.verdict,
            pairs=self.rounds,
            conditions=self.conditions,
            warnings=self.warnings,
        )
