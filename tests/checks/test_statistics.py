import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_onnx.checks.statistics import RESOLUTION, Ratio, bootstrap_interval, paired_ratio, summarize

LEGS = st.builds(
    lambda seed, legs, pairs: synthetic(seed, legs, pairs), st.integers(0, 999), st.integers(1, 6), st.integers(6, 40)
)


def synthetic(seed: int, legs: int, pairs: int, factor: float = 1.0, spread: float = 0.05) -> list[np.ndarray]:
    """Latencies of two models, the second ``factor`` times faster, with drift that both share and outliers."""
    rng = np.random.default_rng(seed)
    result = []
    for _ in range(legs):
        drift = np.cumsum(rng.normal(0, spread, (pairs, 1)), axis=0)
        noise = rng.normal(0, spread, (pairs, 2)) + 0.5 * (rng.random((pairs, 2)) < 0.02)
        base = np.array([1e6, 1e6 / factor])
        result.append((base * np.exp(drift + noise)).astype(np.int64))
    return result


def test_a_summary_is_made_of_percentiles_in_nanoseconds():
    samples = np.random.default_rng(0).permutation(np.arange(1, 102)) * 1000
    timing = summarize(samples)
    assert (timing.median_ns, timing.p95_ns, timing.iqr_ns) == (51_000, 96_000, 50_000)
    assert timing.samples_ns == tuple(samples.tolist())
    assert all(type(ns) is int for ns in (timing.median_ns, timing.p95_ns, timing.iqr_ns, timing.samples_ns[0]))


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.01, 1.2, "faster"),
        (0.8, 0.99, "slower"),
        (0.9, 1.1, "not distinguishable"),
        (1.0, 1.1, "not distinguishable"),
        (0.9, 1.0, "not distinguishable"),
    ],
)
def test_the_verdict_is_what_the_interval_excludes(low, high, verdict):
    assert Ratio((low + high) / 2, low, high).verdict == verdict


def test_half_width_is_relative():
    assert Ratio(2.0, 1.9, 2.1).half_width == pytest.approx(0.05)


@given(LEGS)
def test_the_interval_holds_the_estimate(legs):
    ratio = paired_ratio(legs)
    assert ratio.low <= ratio.speedup * np.exp(-RESOLUTION) * (1 + 1e-9)
    assert ratio.speedup * np.exp(RESOLUTION) <= ratio.high * (1 + 1e-9)


@given(LEGS)
def test_exchanging_the_models_inverts_the_ratio(legs):
    forward, backward = paired_ratio(legs), paired_ratio(legs, first=1, second=0)
    assert backward.speedup == pytest.approx(1 / forward.speedup)
    assert (backward.low, backward.high) == pytest.approx((1 / forward.high, 1 / forward.low), rel=0.05)


@given(LEGS, st.integers(2, 50))
def test_the_unit_of_time_does_not_matter(legs, scale):
    ratio, scaled = paired_ratio(legs), paired_ratio([leg * scale for leg in legs])
    assert (scaled.speedup, scaled.low, scaled.high) == pytest.approx((ratio.speedup, ratio.low, ratio.high))


@given(LEGS)
def test_what_slows_both_samples_of_a_pair_does_not_matter(legs):
    slowed = [leg * np.arange(1, len(leg) + 1)[:, None] for leg in legs]
    assert paired_ratio(slowed).speedup == pytest.approx(paired_ratio(legs).speedup)


def test_the_same_seed_gives_the_same_interval():
    legs = synthetic(3, 4, 20)
    assert paired_ratio(legs, seed=5) == paired_ratio(legs, seed=5)
    assert paired_ratio(legs, seed=5) != paired_ratio(legs, seed=6)


def test_equal_models_are_rarely_told_apart_and_different_ones_always():
    equal = [paired_ratio(synthetic(seed, 10, 30)).verdict for seed in range(60)]
    assert equal.count("not distinguishable") >= 54
    assert {paired_ratio(synthetic(seed, 10, 30, 1.1)).verdict for seed in range(20)} == {"faster"}
    assert {paired_ratio(synthetic(seed, 10, 30, 0.9)).verdict for seed in range(20)} == {"slower"}


def test_the_true_ratio_is_found():
    ratio = paired_ratio(synthetic(1, 10, 200, 1.25))
    assert ratio.speedup == pytest.approx(1.25, rel=0.01)
    assert ratio.low < 1.25 < ratio.high


def test_legs_that_disagree_widen_the_interval():
    agreeing = synthetic(2, 8, 50)
    disagreeing = [leg * [100, 95 + 10 * (index % 2)] for index, leg in enumerate(agreeing)]
    assert paired_ratio(disagreeing).half_width > 1.5 * paired_ratio(agreeing).half_width


def test_other_columns_can_be_compared():
    three = np.array([[100, 50, 25]] * 8)
    assert paired_ratio([three], second=2).speedup == pytest.approx(4)
    assert paired_ratio([three], first=1, second=2).speedup == pytest.approx(2)


def test_more_observations_narrow_the_bootstrap_interval():
    rng = np.random.default_rng(0)
    widths = [np.ptp(bootstrap_interval([rng.normal(0, 1, count)])) for count in (20, 2000)]
    assert widths[1] < widths[0] / 4
    assert bootstrap_interval([np.full(6, 2.5)]) == (2.5, 2.5)


@pytest.mark.parametrize(
    ("ratio", "stated"),
    [
        (Ratio(2.0, 1.6, 2.5), (2.0, 1.6, 2.5)),
        (Ratio(0.5, 0.4, 0.8), (2.0, 1.25, 2.5)),
        (Ratio(0.9, 0.8, 1.25), (0.9, 0.8, 1.25)),
    ],
)
def test_a_slower_model_is_said_to_be_so_many_times_slower(ratio, stated):
    assert ratio.stated == pytest.approx(stated)
