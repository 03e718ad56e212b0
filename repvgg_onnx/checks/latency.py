"""Is a model faster than another, and how sure is that?"""

import gc
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt
import onnxruntime

from repvgg_onnx.checks.datasets import InputsLike
from repvgg_onnx.checks.inputs import Feed, Ranges, Shapes, Specs, build_feeds
from repvgg_onnx.checks.session import CPU, Array, ModelLike, Session, common_inputs, loadable, open_session
from repvgg_onnx.checks.statistics import MIN_PAIRS, RESOLUTION, Samples, Timing, Verdict, paired_ratio, summarize
from repvgg_onnx.errors import CheckError

LEVEL = "ORT_ENABLE_ALL"

_MAX_LEGS = 20
_ENOUGH_LEGS = 10  # if the interval is narrow by then
_MAX_PAIRS_OF_LEG = 250
_OPENING_SHARE = 0.5  # of the time allowed may go, on top of it, into opening sessions
_WARM_UP_SHARE = 0.1
_NARROW = 2 * RESOLUTION  # relative half-width of an interval that needs no more legs

_PADDING_SIZES = (64, 200_000)  # bytes of a block
_PADDING_COUNT = (1, 32)  # blocks before a session is opened

Run = Callable[[], object]
Padding = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Conditions:
    """What a latency was measured under.

    Attributes:
        onnxruntime: its version.
        provider: execution provider.
        level: graph optimization level.
        threads: threads inside an operator; 0 where onnxruntime decided.
        shapes: input name to shape.
        sessions: how many times both models were opened afresh.
        seconds: sum of all samples.
    """

    onnxruntime: str
    provider: str
    level: str
    threads: int
    shapes: Mapping[str, tuple[int, ...]]
    sessions: int
    seconds: float

    def __str__(self) -> str:
        """Such as ``onnxruntime 1.31 ENABLE_ALL, 1 thread, 1x3x224x224``."""
        version = ".".join(self.onnxruntime.split(".")[:2])
        level = self.level.removeprefix("ORT_")
        where = "" if self.provider == CPU else f" {self.provider}"
        threads = {0: "default threads", 1: "1 thread"}.get(self.threads, f"{self.threads} threads")
        shapes = ["x".join(map(str, shape)) or "scalar" for shape in self.shapes.values()]
        return ", ".join([f"onnxruntime {version} {level}{where}", threads, *shapes])


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
    """

    before: Timing
    after: Timing
    speedup: float
    low: float
    high: float
    verdict: Verdict
    pairs: int
    conditions: Conditions

    @property
    def sentence(self) -> str:
        """The verdict with its interval and its conditions, on one line."""
        sessions = "1 session" if self.conditions.sessions == 1 else f"{self.conditions.sessions} sessions"
        return f"{self._finding}, {self.conditions}, {self.pairs} pairs in {sessions}"

    @property
    def _finding(self) -> str:
        if self.verdict == "slower":
            return f"{1 / self.speedup:.2f}x slower (95% CI {1 / self.high:.2f}-{1 / self.low:.2f})"
        words = "faster" if self.verdict == "faster" else "as fast, not distinguishable"
        return f"{self.speedup:.2f}x {words} (95% CI {self.low:.2f}-{self.high:.2f})"


def benchmark(
    before: ModelLike,
    after: ModelLike,
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    ranges: Ranges | None = None,
    threads: int = 1,
    provider: str = CPU,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
    seconds: float = 5.0,
    seed: int = 0,
) -> Latency:
    """Latencies of two models in one process under ORT_ENABLE_ALL, and what their ratio is.

    Both run in pairs, in random order within each, in up to twenty legs with fresh sessions and a warm-up; ten are
    enough where the interval of the ratio is narrow by then. Six pairs are always run, the fewest that a 95 % interval
    of a median can rest on.

    Args:
        before: path, bytes or ModelProto of the model to compare with.
        after: the model of interest.
        shapes: input name to shape, for dynamic axes.
        inputs: as for ``verify``; the first batch is used. Drawn by default.
        ranges: as for ``verify``.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        provider: onnxruntime execution provider.
        custom_ops: as for ``verify``.
        seconds: bound of the measured part.
        seed: seed of the values, of the order and of the interval.

    Raises:
        CheckError: the models take different inputs, ``shapes``, ``inputs`` or ``ranges`` do not fit them, the provider
            is not available, ``seconds`` is not positive, or a model cannot be run.
        ModelError: onnxruntime cannot load one of the models.
    """
    if not seconds > 0:
        raise CheckError(f"{seconds} is not a number of seconds to measure for")
    with loadable(before) as first, loadable(after) as second:
        opener = partial(open_session, level=LEVEL, provider=provider, threads=threads, custom_ops=custom_ops)
        openers = [partial(opener, source) for source in (first, second)]
        seeds = (seed,) if inputs is None else ()
        feed = partial(build_feeds, shapes=shapes, inputs=inputs, ranges=ranges, seeds=seeds)
        values = _values([opener() for opener in openers], feed)
        legs = race([partial(_ready, opener, values) for opener in openers], seconds=seconds, seed=seed)
    bound = {name: value.shape for name, value in values.items()}
    measured = sum(float(leg.sum()) for leg in legs) / 1e9
    version = onnxruntime.__version__
    return _judged(legs, Conditions(version, provider, LEVEL, threads, bound, len(legs), measured), seed)


def race(makers: Sequence[Callable[[], Run]], *, seconds: float, seed: int = 0) -> list[Samples]:
    """Latencies in nanoseconds of each leg, rounds x models: a round runs every model once, in random order.

    A leg makes everything afresh. There are up to twenty, as long as making takes no more than half of ``seconds`` and
    every leg has time for six rounds; ten do when the interval of every model's ratio to the first is narrow then.

    Args:
        makers: for each model, what makes it ready and returns the call to time.
        seconds: bound of the timed part; one leg of six rounds is run in any case.
        seed: seed of the orders and of the intervals.
    """
    rng = np.random.default_rng(seed)
    legs: list[Samples] = []
    count = _MAX_LEGS
    collecting = gc.isenabled()
    gc.disable()
    try:
        while not (legs and _is_over(legs, count, seconds)):
            started = perf_counter_ns()
            runs, _padding = _make(makers, rng)
            making_s = (perf_counter_ns() - started) / 1e9
            count = count if legs else _leg_count(runs, seconds, making_s)
            legs.append(_leg(runs, seconds / count, rng))
    finally:
        if collecting:
            gc.enable()
    return legs


def _values(sessions: Sequence[Session], feed: Callable[[Specs], tuple[Feed, ...]]) -> dict[str, Array]:
    """What every run is fed; the sessions are run on it once, so that what cannot run fails with a sentence."""
    values = feed(common_inputs(*sessions))[0].values
    for session in sessions:
        session.run(values)
    return values


def _ready(opener: Callable[[], Session], values: Mapping[str, Array]) -> Run:
    return opener().prepare(values)


def _judged(legs: Sequence[Samples], conditions: Conditions, seed: int) -> Latency:
    before, after = np.concatenate(legs).T
    ratio = paired_ratio(legs, seed=seed)
    return Latency(
        before=summarize(before),
        after=summarize(after),
        speedup=ratio.speedup,
        low=ratio.low,
        high=ratio.high,
        verdict=ratio.verdict,
        pairs=len(before),
        conditions=conditions,
    )


def _make(makers: Sequence[Callable[[], Run]], rng: np.random.Generator) -> tuple[list[Run], list[Padding]]:
    """The calls to time, made in random order, and the padding that is to be kept as long as they are.

    Without padding, sessions that are opened after others were closed fall on the same addresses in every leg, and one
    model comes out up to 2 % faster than itself.

    Source: Curtsinger and Berger, Stabilizer: Statistically Sound Performance Evaluation (2013).
    """
    made: dict[int, Run] = {}
    padding: list[Padding] = []
    for index in rng.permutation(len(makers)):
        padding += [np.ones(size, np.uint8) for size in rng.integers(*_PADDING_SIZES, rng.integers(*_PADDING_COUNT))]
        made[int(index)] = makers[index]()
    return [made[index] for index in range(len(makers))], padding


def _leg_count(runs: Sequence[Run], seconds: float, making_s: float) -> int:
    """How many legs the time allows, judged by the first run of each model."""
    started = perf_counter_ns()
    for run in runs:
        run()
    round_s = (perf_counter_ns() - started) / 1e9
    count = min(seconds / (MIN_PAIRS * round_s), _OPENING_SHARE * seconds / making_s, _MAX_LEGS)
    return max(int(count), 1)


def _leg(runs: Sequence[Run], seconds: float, rng: np.random.Generator) -> Samples:
    """Warm-up, then as many rounds as fit."""
    started = perf_counter_ns()
    while perf_counter_ns() - started < _WARM_UP_SHARE * seconds * 1e9:
        for run in runs:
            run()
    rounds: list[list[int]] = []
    started = perf_counter_ns()
    while len(rounds) < MIN_PAIRS or (len(rounds) < _MAX_PAIRS_OF_LEG and perf_counter_ns() - started < seconds * 1e9):
        rounds.append(_one_round(runs, rng.permutation(len(runs))))
    return np.array(rounds, np.int64)


def _one_round(runs: Sequence[Run], order: Samples) -> list[int]:
    latencies_ns = [0] * len(runs)
    for index in order:
        run = runs[index]
        started = perf_counter_ns()
        run()
        latencies_ns[index] = perf_counter_ns() - started
    return latencies_ns


def _is_over(legs: Sequence[Samples], count: int, seconds: float) -> bool:
    timed_s = sum(float(leg.sum()) for leg in legs) / 1e9
    return len(legs) >= count or timed_s >= seconds or (len(legs) == _ENOUGH_LEGS and _is_narrow(legs))


def _is_narrow(legs: Sequence[Samples]) -> bool:
    """Whether every model's ratio to the first is known well enough."""
    models = legs[0].shape[1]
    return all(paired_ratio(legs, second=other).half_width < _NARROW for other in range(1, models))
