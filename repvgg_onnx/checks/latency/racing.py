"""Models that run in turns, in legs with fresh sessions, until their ratios are known or the time is up."""

import gc
from collections.abc import Callable, Sequence
from time import perf_counter_ns

import numpy as np
import numpy.typing as npt

from repvgg_onnx.checks.statistics import MIN_PAIRS, RESOLUTION, Samples, bootstrap_interval, paired_ratio

MAX_LEGS = 20
ENOUGH_LEGS = 6
"""Legs that do if every interval is narrow by then.

From here on the intervals are looked at after every leg. What decides is their width alone, never where they lie, so
that stopping favours no verdict. Legs that happen to be alike end a race early, which could make intervals too narrow;
in 300 simulated races each, whose legs differ by 0.4, 0.7, 1 and 1.5 % and pairs by 3 %, the interval held the true
ratio in 100, 100, 99 and 97 %.

Source: Chow and Robbins, On the Asymptotic Theory of Fixed-Width Sequential Confidence Intervals for the Mean (1965).
"""
MAX_ROUNDS_OF_LEG = 250
NARROW = 3 * RESOLUTION
"""Half-width of an interval, relative to the ratio or to the median, that needs no more legs: 1.5 %."""
WARM_UP_SHARE = 0.1

_OPENING_SHARE = 0.5  # of the time allowed may go into opening sessions
_PADDING_SIZES = (64, 200_000)  # bytes of a block
_PADDING_COUNT = (1, 32)  # blocks before a session is opened

Run = Callable[[], object]
Padding = npt.NDArray[np.uint8]


def race(makers: Sequence[Callable[[], Run]], *, seconds: float, seed: int = 0) -> list[Samples]:
    """Latencies in nanoseconds of each leg, rounds x models: a round runs every model once, in random order.

    A leg makes everything afresh. There are up to twenty, as long as making takes no more than half of ``seconds`` and
    every leg has time for six rounds; six do when the interval of every model's ratio to the first, or of the only
    model's own median, is narrow then. The race ends with the round in which the time runs out.

    Args:
        makers: for each model, what makes it ready and returns the call to time.
        seconds: bound of the whole, making and warm-up included; one leg of six rounds is run in any case.
        seed: seed of the orders and of the intervals.
    """
    rng = np.random.default_rng(seed)
    legs: list[Samples] = []
    count = MAX_LEGS
    deadline = perf_counter_ns() + round(seconds * 1e9)
    collecting = gc.isenabled()
    gc.disable()
    try:
        while not (legs and is_over(legs, count, seconds)):
            started = perf_counter_ns()
            runs, _padding = _make(makers, rng)
            making_ns = perf_counter_ns() - started
            count = count if legs else _leg_count(runs, seconds, making_ns / 1e9)
            now = perf_counter_ns()
            if legs and now >= deadline:
                break
            # The legs that are left share the time that is left; each of them but this one has to be made first.
            left = count - len(legs)
            share_ns = max((deadline - now - (left - 1) * making_ns) // left, 0)
            legs.append(_leg(runs, share_ns, deadline, rng, fewest=0 if legs else MIN_PAIRS))
            if perf_counter_ns() + making_ns >= deadline:
                break
    finally:
        if collecting:
            gc.enable()
    return [leg for leg in legs if len(leg)]


def is_over(legs: Sequence[Samples], count: int, seconds: float) -> bool:
    """Whether enough is measured: as many legs as were planned, the time, or intervals that are narrow.

    Args:
        legs: what is measured so far, at least one leg.
        count: legs that were planned.
        seconds: bound of the sum of all samples.
    """
    timed_s = sum(float(leg.sum()) for leg in legs) / 1e9
    return len(legs) >= count or timed_s >= seconds or (len(legs) >= ENOUGH_LEGS and _is_narrow(legs))


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
    count = min(seconds / (MIN_PAIRS * round_s), _OPENING_SHARE * seconds / max(making_s, 1e-9), MAX_LEGS)
    return max(int(count), 1)


def _leg(runs: Sequence[Run], share_ns: int, deadline: int, rng: np.random.Generator, *, fewest: int) -> Samples:
    """Warm-up, then as many rounds as fit, or six where the time of the race allows them.

    Args:
        runs: what to time.
        share_ns: time of this leg.
        deadline: when the race ends.
        rng: source of the orders.
        fewest: rounds to run however long they take.
    """
    started = perf_counter_ns()
    while perf_counter_ns() - started < WARM_UP_SHARE * share_ns:
        for run in runs:
            run()
    rounds: list[list[int]] = []
    while len(rounds) < MAX_ROUNDS_OF_LEG:
        now = perf_counter_ns()
        if len(rounds) >= fewest and (now >= deadline or (len(rounds) >= MIN_PAIRS and now - started >= share_ns)):
            break
        rounds.append(_one_round(runs, rng.permutation(len(runs))))
    return np.array(rounds, np.int64).reshape(-1, len(runs))


def _one_round(runs: Sequence[Run], order: Samples) -> list[int]:
    latencies_ns = [0] * len(runs)
    for index in order:
        run = runs[index]
        started = perf_counter_ns()
        run()
        latencies_ns[index] = perf_counter_ns() - started
    return latencies_ns


def _is_narrow(legs: Sequence[Samples]) -> bool:
    """Whether every model's ratio to the first, or the only model's median, is known well enough."""
    models = legs[0].shape[1]
    if models == 1:
        low, high = bootstrap_interval([np.log(leg[:, 0]) for leg in legs])
        return (high - low) / 2 < NARROW
    return all(paired_ratio(legs, second=other).half_width < NARROW for other in range(1, models))
