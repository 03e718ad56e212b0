import gc

import numpy as np
import onnxruntime
import pytest

from repvgg_onnx.checks.latency import Conditions, Latency, benchmark, race
from repvgg_onnx.checks.statistics import Timing, paired_ratio
from repvgg_onnx.errors import CheckError, ModelError
from tests.checks.models import BFLOAT16, model, relu_block

SHORT = 0.05  # seconds


def conditions(**changes) -> Conditions:
    usual = {
        "onnxruntime": "1.31.1",
        "provider": "CPUExecutionProvider",
        "level": "ORT_ENABLE_ALL",
        "threads": 1,
        "shapes": {"x": (1, 3, 224, 320)},
        "sessions": 10,
        "seconds": 4.5,
    }
    return Conditions(**{**usual, **changes})


def latency(speedup: float, low: float, high: float, verdict: str, **changes) -> Latency:
    timing = Timing(1000, 1100, 50, (1000,))
    return Latency(timing, timing, speedup, low, high, verdict, 200, conditions(**changes))


def test_a_benchmark_reports_samples_and_conditions():
    result = benchmark(relu_block(), relu_block(), shapes={"x": (2, 4, 5, 7)}, seconds=SHORT)
    assert len(result.before.samples_ns) == len(result.after.samples_ns) == result.pairs >= 6
    assert min(result.before.samples_ns) > 0
    assert result.low <= result.speedup <= result.high
    assert result.before.median_ns <= result.before.p95_ns
    assert result.conditions.shapes == {"x": (2, 4, 5, 7)}
    assert result.conditions.onnxruntime == onnxruntime.__version__
    assert (result.conditions.level, result.conditions.threads) == ("ORT_ENABLE_ALL", 1)
    total = sum(result.before.samples_ns) + sum(result.after.samples_ns)
    assert result.conditions.seconds == pytest.approx(total / 1e9)
    assert result.sentence.endswith(f"{result.pairs} pairs in {result.conditions.sessions} sessions")


def test_the_users_first_batch_is_what_runs(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.ones((3, 4, 5, 7), np.float32))
    assert benchmark(relu_block(), relu_block(), inputs=path, seconds=SHORT).conditions.shapes == {"x": (3, 4, 5, 7)}


def test_bfloat16_can_be_measured():
    same = model("g (bfloat16[2,3] x) => (float[2,3] y) { y = Cast<to = 1>(x) }")
    values = {"x": np.ones((2, 3), BFLOAT16)}
    assert benchmark(same, same, inputs=values, seconds=SHORT).pairs >= 6


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_no_time_is_refused(seconds):
    with pytest.raises(CheckError, match="seconds to measure"):
        benchmark(relu_block(), relu_block(), seconds=seconds)


def test_models_that_cannot_be_compared_are_refused():
    other = model("g (float[N,4,5,7] z) => (float[N,4,5,7] y) { y = Relu(z) }")
    with pytest.raises(CheckError, match="different inputs"):
        benchmark(relu_block(), other)
    with pytest.raises(ModelError, match="cannot load"):
        benchmark(relu_block(), b"not a model")
    gather = model("g (int64[N] i) => (float[N,6] y) { y = Gather(table, i) }", {"table": (3, 6)})
    with pytest.raises(CheckError, match="cannot run the model"):
        benchmark(gather, gather, shapes={"i": (40,)})


def test_a_race_makes_every_model_afresh_for_each_leg_and_runs_all_in_every_round():
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

    monkeypatch.setattr("repvgg_onnx.checks.latency.perf_counter_ns", lambda: now[0] + 1)
    monkeypatch.setattr("repvgg_onnx.checks.latency._leg_count", lambda runs, seconds, making_s: 1)
    (leg,) = race([lambda: slow, lambda: slow], seconds=3.0)
    assert leg.tolist() == [[10**9, 10**9]] * 6


def test_a_race_ends_half_way_when_the_ratio_is_known(monkeypatch):
    now = [0]

    def take(ns):
        now[0] += ns

    def maker(ns):
        take(10**6)
        return lambda: take(ns)

    monkeypatch.setattr("repvgg_onnx.checks.latency.perf_counter_ns", lambda: now[0])
    legs = race([lambda: maker(2 * 10**6), lambda: maker(10**6)], seconds=30.0)
    assert [leg.shape for leg in legs] == [(250, 2)] * 10
    ratio = paired_ratio(legs)
    assert ratio.speedup == pytest.approx(2)
    assert ratio.verdict == "faster"


def test_a_race_goes_on_while_the_ratio_is_doubtful(monkeypatch):
    now = [0]
    rng = np.random.default_rng(0)

    def run():
        now[0] += int(rng.integers(10**6, 10**7))

    monkeypatch.setattr("repvgg_onnx.checks.latency.perf_counter_ns", lambda: now[0] + 1)
    monkeypatch.setattr("repvgg_onnx.checks.latency._leg_count", lambda runs, seconds, making_s: 20)
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


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (
            latency(1.1416, 1.12, 1.16, "faster"),
            "1.14x faster (95% CI 1.12-1.16), onnxruntime 1.31 ENABLE_ALL, 1 thread, 1x3x224x320, "
            "200 pairs in 10 sessions",
        ),
        (
            latency(0.8, 0.75, 0.9, "slower", threads=4, sessions=1),
            "1.25x slower (95% CI 1.11-1.33), onnxruntime 1.31 ENABLE_ALL, 4 threads, 1x3x224x320, "
            "200 pairs in 1 session",
        ),
        (
            latency(1.001, 0.99, 1.01, "not distinguishable", threads=0, provider="CUDAExecutionProvider"),
            "1.00x as fast, not distinguishable (95% CI 0.99-1.01), "
            "onnxruntime 1.31 ENABLE_ALL CUDAExecutionProvider, default threads, 1x3x224x320, "
            "200 pairs in 10 sessions",
        ),
    ],
)
def test_the_sentence_tells_verdict_doubt_and_conditions(result, sentence):
    assert result.sentence == sentence


def test_a_race_keeps_to_its_time_when_runs_turn_out_slower(monkeypatch):
    now = [0]

    def run():
        now[0] += 10**9

    monkeypatch.setattr("repvgg_onnx.checks.latency.perf_counter_ns", lambda: now[0])
    monkeypatch.setattr("repvgg_onnx.checks.latency._leg_count", lambda runs, seconds, making_s: 5)
    legs = race([lambda: run] * 2, seconds=20.0)
    assert [len(leg) for leg in legs] == [6, 6]
