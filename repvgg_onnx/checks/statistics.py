"""What samples of two latencies say: summaries, the paired ratio, and how sure it is. Pure functions of arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Verdict = Literal["faster", "slower", "not distinguishable"]

MIN_PAIRS = 6  # of fewer, not even the whole range holds the median with 95 % confidence: 2 * 0.5**5 > 0.05
CONFIDENCE = 0.95
RESAMPLES = 1000
RESOLUTION = 0.005  # what one process may favour one of two equal models by, measured on a 60 microsecond model

Samples = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Timing:
    """Latency of one model.

    Attributes:
        median_ns: median in nanoseconds.
        p95_ns: 95th percentile.
        iqr_ns: distance of the quartiles.
        samples_ns: every sample, in the order measured.
    """

    median_ns: int
    p95_ns: int
    iqr_ns: int
    samples_ns: tuple[int, ...]


@dataclass(frozen=True)
class Ratio:
    """How many times faster one model is than another.

    Attributes:
        speedup: latency of the first over latency of the second; above 1 the second is faster.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    speedup: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say of the second model."""
        if self.low > 1:
            return "faster"
        return "slower" if self.high < 1 else "not distinguishable"

    @property
    def stated(self) -> tuple[float, float, float]:
        """The factor and the ends of its interval as one says them: of a slower model, how many times slower."""
        if self.verdict == "slower":
            return 1 / self.speedup, 1 / self.high, 1 / self.low
        return self.speedup, self.low, self.high

    @property
    def half_width(self) -> float:
        """Half the interval, relative to the speedup."""
        return (self.high - self.low) / 2 / self.speedup


def summarize(samples_ns: Samples) -> Timing:
    """Median, 95th percentile and interquartile range.

    Args:
        samples_ns: latencies in nanoseconds, rounds.
    """
    q1, median, q3, p95 = (round(float(q)) for q in np.percentile(samples_ns, (25, 50, 75, 95)))
    return Timing(median, p95, q3 - q1, tuple(int(ns) for ns in samples_ns))


def paired_ratio(legs: Sequence[Samples], *, first: int = 0, second: int = 1, seed: int = 0) -> Ratio:
    """Median ratio of two models' latencies, with a two-level bootstrap interval.

    The two samples of a pair are taken one after the other, so that what slows the machine for a while slows both and
    leaves their ratio alone. Legs differ from each other by where their sessions happen to lie in memory, which may be
    worth percents in small models: the interval resamples legs, and pairs within them. What stays the same in all legs
    of one process no resampling sees: RESOLUTION is added at both ends for it.

    Args:
        legs: latencies of each leg, rounds x models.
        first: column of the model to compare with.
        second: column of the model of interest.
        seed: seed of the resampling.

    Source: Kalibera and Jones, Rigorous Benchmarking in Reasonable Time (2013): repeat at every level that varies;
        Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3: the percentile interval.
    """
    logs = [np.log(leg[:, first]) - np.log(leg[:, second]) for leg in legs]
    low, high = bootstrap_interval(logs, seed=seed)
    center = np.median(np.concatenate(logs))
    return Ratio(float(np.exp(center)), float(np.exp(low - RESOLUTION)), float(np.exp(high + RESOLUTION)))


def bootstrap_interval(legs: Sequence[npt.NDArray[np.float64]], *, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the median over all legs, resampling legs and observations within them.

    Args:
        legs: observations of each leg.
        seed: seed of the resampling.
    """
    rng = np.random.default_rng(seed)
    sizes = np.array([len(leg) for leg in legs])
    starts = np.cumsum(sizes) - sizes
    chosen = rng.integers(0, len(legs), (RESAMPLES, len(legs), 1))
    within = rng.random((RESAMPLES, len(legs), round(sizes.mean()))) * sizes[chosen]
    resampled = np.concatenate(legs)[starts[chosen] + within.astype(np.intp)]
    medians = np.median(resampled.reshape(RESAMPLES, -1), axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(medians, (tail, 1 - tail))
    return float(low), float(high)
