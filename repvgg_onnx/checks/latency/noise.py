"""Signs that a machine was not quiet enough to measure on."""

from collections.abc import Sequence

import numpy as np

from repvgg_onnx.checks.environment import Environment
from repvgg_onnx.checks.statistics import Samples

DRIFT = 0.05
"""Spread of the first model's median over the legs, relative, from which on a machine counts as noisy.

It is 1.48 times the median absolute deviation, which is the standard deviation where the spread is normal. Sessions of
one model differ by up to 2 % on a quiet machine, by where they happen to lie in memory.
"""
TAIL = 1.5
"""95th percentile of the first model's latency over its median from which on a machine counts as noisy."""
SPARE = 0.5
"""Load average that is not a sign of another program at work."""

_NORMAL = 1.4826  # standard deviation of a normal distribution over its median absolute deviation


def noise_of(legs: Sequence[Samples]) -> tuple[str, ...]:
    """What the samples of the first model say against the measurement: what was seen, and what to do.

    Args:
        legs: latencies in nanoseconds of each leg, rounds x models.
    """
    medians = np.array([np.median(leg[:, 0]) for leg in legs])
    drift = _NORMAL * float(np.median(np.abs(medians - np.median(medians))) / np.median(medians))
    median, p95 = np.percentile(np.concatenate(legs)[:, 0], (50, 95))
    found = []
    if drift > DRIFT:
        found.append(
            f"the first model's median varied by {drift:.0%} from session to session: close other programs, or "
            "measure for longer"
        )
    if p95 > TAIL * median:
        found.append(
            f"one run in twenty of the first model took {p95 / median:.1f} times its median or longer: close other "
            "programs, or measure on fewer threads than there are cores"
        )
    return tuple(found)


def obstacles(environment: Environment, threads: int) -> tuple[str, ...]:
    """What speaks against measuring on a machine in this state, before anything is measured.

    Args:
        environment: the machine.
        threads: threads that are going to run; 0 is as many as there are cores.
    """
    found = []
    needed = threads or environment.cores
    if environment.load is not None and environment.load > max(environment.cores - needed, 0) + SPARE:
        found.append(
            f"the load average was {environment.load:.2f} on {environment.cores} cores before the start: close other "
            "programs, or wait a minute"
        )
    if environment.governor not in (None, "performance"):
        found.append(
            f"the CPU governor is {environment.governor}, so that the clock changes meanwhile: set it to performance"
        )
    return tuple(found)
