import gc
from itertools import chain, count, repeat

import numpy as np
import pytest

from repvgg_onnx.checks.latency import race
from repvgg_onnx.checks.latency.racing import is_over
from repvgg_onnx.checks.statistics import paired_ratio

SHORT = 0.05  # seconds


def test_a_race_makes_every_model_afresh_for_each_leg_and_runs_all_in_every_round(monkeypatch):
    monkeypatch.setattr("repvgg_onnx.checks.latency.racing.perf_counter_ns", count(step=10_000).__next__)
    made, order = [], []

    def maker(index):
        made.append(index)
        return lambda: order.append(index)

    legs = race([lambda index=index: maker(index) for index in range(3)], seconds=SHORT)
    assert all(leg.shape[1] == 3 and len(leg) >= 6 and leg.dtype == np.int64 for leg in legs)
    assert sorted(made) == sorted([0, 1, 2] * len(legs))
    assert len({tuple(made[start : start + 3]) for start in range(0, len(made), 3)}) > 1
    tail = order[-3 * len(legs[-1]) :]
    rounds = [tuple(tail[start : start + 3]) for start in range(0, len(tail), 3)]
    assert {tuple(sorted(one)) for one in rounds} == {(0, 1, 2)}
    assert len(set(rounds)) == 6


def test_a_race_of_slow_models_is_one_leg_of_six_rounds(monkeypatch):
    now = [0]

    def slow():
        now[0] += 10**9

    monkeypatch.setattr("repvgg_onnx.checks.latency.racing.perf_counter_ns", lambda: now[0] + 1)
    (leg,) = race([lambda: slow, lambda: slow], seconds=3.0)
    assert leg.tolist() == [[10**9, 10**9]] * 6


def test_a_race_ends_early_when_the_ratio_is_known(monkeypatch):
    now = [0]

    def take(ns):
        now[0] += ns

    def maker(ns):
        take(10**6)
        return lambda: take(ns)

    monkeypatch.setattr("repvgg_onnx.checks.latency.racing.perf_counter_ns", lambda: now[0])
    legs = race([lambda: maker(2 * 10**6), lambda: maker(10**6)], seconds=30.0)
    assert [leg.shape for leg in legs] == [(250, 2)] * 6
    ratio = paired_ratio(legs)
    assert ratio.speedup == pytest.approx(2)
    assert ratio.verdict == "faster"


def test_a_race_goes_on_while_the_ratio_is_doubtful(monkeypatch):
    now = [0]
    rng = np.random.default_rng(0)

    def run():
        now[0] += int(rng.integers(10**6, 10**7))

    monkeypatch.setattr("repvgg_onnx.checks.latency.racing.perf_counter_ns", lambda: now[0] + 1)
    assert len(race([lambda: run] * 2, seconds=5.0)) == 20


@pytest.mark.parametrize("enabled", [True, False])
def test_a_race_leaves_garbage_collection_as_it_was(enabled):
    seen = []
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        race([lambda: lambda: seen.append(gc.isenabled())] * 2, seconds=0.01)
        assert gc.isenabled() == enabled
        assert set(seen) == {False}
    finally:
        (gc.enable if was else gc.disable)()


def test_a_race_keeps_to_its_time_when_runs_turn_out_slower(monkeypatch):
    """By the first two runs there is time for five legs; all others take three times as long."""
    now, latencies_ns = [0], chain([325 * 10**6] * 2, repeat(10**9))

    def run():
        now[0] += next(latencies_ns)

    monkeypatch.setattr("repvgg_onnx.checks.latency.racing.perf_counter_ns", lambda: now[0])
    legs = race([lambda: run] * 2, seconds=20.0)
    assert [len(leg) for leg in legs] == [6, 2]
    assert 20 * 10**9 <= now[0] < 22 * 10**9  # the round in which the time is up is the last one


@pytest.mark.parametrize(("spread_ns", "legs"), [(10**4, 6), (10**6, 20)])
def test_a_race_of_one_model_ends_early_when_its_median_is_known(monkeypatch, spread_ns, legs):
    now = [0]
    rng = np.random.default_rng(0)

    def run():
        now[0] += 2 * 10**6 + int(rng.integers(-spread_ns, spread_ns))

    monkeypatch.setattr("repvgg_onnx.checks.latency.racing.perf_counter_ns", lambda: now[0])
    monkeypatch.setattr("repvgg_onnx.checks.latency.racing.MAX_ROUNDS_OF_LEG", 6)
    found = race([lambda: run], seconds=30.0)
    assert [leg.shape for leg in found] == [(6, 1)] * legs


def test_making_and_warming_up_count_as_time(monkeypatch):
    """The runs vary so much that no interval is narrow, and only the time ends the race."""
    now = [0]
    rng = np.random.default_rng(0)

    def take(ns):
        now[0] += ns

    def maker():
        take(10**8)
        return lambda: take(int(rng.integers(10**6, 2 * 10**7)))

    monkeypatch.setattr("repvgg_onnx.checks.latency.racing.perf_counter_ns", lambda: now[0])

    legs = race([maker, maker], seconds=3.0)

    assert len(legs) > 3
    assert now[0] <= 3 * 10**9 + 4 * 10**7


def test_stopping_early_does_not_make_intervals_lie(monkeypatch):
    """Races whose sessions differ by as much as real ones: the interval holds the ratio at least 95 times in 100."""
    monkeypatch.setattr("repvgg_onnx.checks.statistics.RESAMPLES", 100)
    rng = np.random.default_rng(0)
    held, ended = 0, 0
    for _ in range(60):
        legs = []
        while not (legs and is_over(legs, 20, 1e9)):
            before = np.exp(rng.normal(0, 0.02, 40) + rng.normal(0, 0.007)) * 1.14e7
            legs.append(np.stack([before, np.exp(rng.normal(0, 0.02, 40)) * 1e7], axis=1).astype(np.int64))
        ratio = paired_ratio(legs)
        held += ratio.low <= 1.14 <= ratio.high
        ended += len(legs) < 20

    assert held >= 57
    assert ended > 30
