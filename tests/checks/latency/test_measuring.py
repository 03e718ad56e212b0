import numpy as np
import onnxruntime
import pytest

from repvgg_onnx.checks.latency import Conditions, Latency, benchmark, benchmark_models, require_batches
from repvgg_onnx.checks.options import RunOptions
from repvgg_onnx.checks.statistics import Ratio, Timing
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
    assert result.sentence.endswith(f"{result.pairs} pairs in {result.conditions.opened}")


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
        (
            latency(1.25, 1.2, 1.3, "faster", provider="CUDAExecutionProvider", provider_options={"device_id": "1"}),
            "1.25x faster (95% CI 1.20-1.30), onnxruntime 1.31 ENABLE_ALL CUDAExecutionProvider, device_id=1, "
            "1 thread, 1x3x224x320, 200 pairs in 10 sessions",
        ),
        (
            latency(1.25, 1.2, 1.3, "faster", isolated=True),
            "1.25x faster (95% CI 1.20-1.30), onnxruntime 1.31 ENABLE_ALL, 1 thread, 1x3x224x320, "
            "200 pairs in 10 sessions, each in a process of its own",
        ),
    ],
)
def test_the_sentence_tells_verdict_doubt_and_conditions(result, sentence):
    assert result.sentence == sentence


def test_the_batch_is_axis_0_of_the_first_input():
    assert conditions(shapes={"x": (8, 3, 5, 7), "scale": (2,)}).batch == 8
    assert conditions(shapes={"scale": (), "x": (8, 3)}).batch == 1
    assert conditions(shapes={}).batch == 1


def test_several_models_are_compared_with_the_first():
    found = benchmark_models([relu_block()] * 3, shapes={"x": (2, 4, 5, 7)}, seconds=SHORT)
    assert len(found.models) == 3
    assert found.models[0].ratio == Ratio(1.0, 1.0, 1.0)
    for index, model_ in enumerate(found.models):
        columns = np.concatenate(found.legs)[:, index]
        assert model_.timing.samples_ns == tuple(columns.tolist())
        assert model_.throughput == pytest.approx(2 * 1e9 / model_.timing.median_ns)
        assert len(model_.creation_ns) == len(found.legs) == found.conditions.sessions
        assert 0 < min(model_.creation_ns) <= model_.creation_median_ns <= max(model_.creation_ns)
        assert model_.footprint is None
        assert model_.ratio.low <= model_.ratio.speedup <= model_.ratio.high
    assert found.rounds == len(found.models[0].timing.samples_ns) >= 6
    pair = found.latency(2)
    assert (pair.before, pair.after) == (found.models[0].timing, found.models[2].timing)
    assert (pair.speedup, pair.low, pair.high) == (
        found.models[2].ratio.speedup,
        found.models[2].ratio.low,
        found.models[2].ratio.high,
    )
    assert pair.pairs == found.rounds


def test_a_benchmark_is_one_of_two_models_on_one_thread_by_default():
    one, two = relu_block(), relu_block()
    found = benchmark(one, two, seconds=SHORT, threads=2, seed=3)

    assert found.conditions.threads == 2
    assert benchmark(one, two, seconds=SHORT).conditions.threads == 1
    assert found.pairs >= 6


def test_one_model_alone_has_no_ratio_to_others():
    (found,) = benchmark_models([relu_block()], seconds=SHORT).models
    assert found.ratio == Ratio(1.0, 1.0, 1.0)
    assert found.timing.median_ns > 0


def test_no_model_is_refused():
    with pytest.raises(CheckError, match="at least one model"):
        benchmark_models([])


def test_a_batch_is_axis_0_of_every_input():
    two = model(
        "g (float[N,4] x, float[M,2,3] z, float w) => (float[N,4] y, float[M,2,3] u, float v) "
        "{ y = Relu(x) u = Relu(z) v = Neg(w) }"
    )
    found = benchmark_models([two], batch=6, shapes={"z": (3, 2, 3)}, seconds=SHORT)
    assert found.conditions.shapes == {"x": (6, 4), "z": (6, 2, 3), "w": ()}
    assert found.conditions.batch == 6


def test_a_batch_takes_its_rows_from_the_users_inputs():
    rows = np.arange(4 * 4 * 5 * 7, dtype=np.float32).reshape(4, 4, 5, 7)
    found = benchmark_models([relu_block()], batch=2, inputs={"x": rows}, seconds=SHORT)
    assert found.conditions.shapes == {"x": (2, 4, 5, 7)}


def test_a_fixed_batch_is_refused_with_what_to_do():
    fixed = model("g (float[2,4] x) => (float[2,4] y) { y = Relu(x) }")
    assert benchmark_models([fixed], batch=2, seconds=SHORT).conditions.batch == 2
    for check in (
        lambda: benchmark_models([fixed], batch=3),
        lambda: require_batches([fixed], (2, 3), RunOptions()),
    ):
        with pytest.raises(CheckError, match=r"fixes the batch of input 'x' at 2, so it cannot run with 3: export"):
            check()
    require_batches([fixed, fixed], (2,), RunOptions())


def test_the_memory_of_every_model_is_asked_for_in_a_process_of_its_own():
    small = model("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    large = model(
        "g (float[N,4] x) => (float[N,4] y) { z = MatMul(x, k) y = MatMul(z, l) }", {"k": (4, 2**21), "l": (2**21, 4)}
    )
    found = [benchmark_models([one], seconds=SHORT, memory=True).models[0].footprint for one in (small, large)]
    assert all(footprint is not None and 0 < footprint.base_bytes <= footprint.peak_bytes for footprint in found)
    assert found[1].added_bytes - found[0].added_bytes > 2 * 4 * 2**21 * 4


def test_isolated_models_have_processes_of_their_own():
    found = benchmark_models([relu_block()], batch=3, seconds=0.01, isolate=True)
    assert found.conditions.isolated
    assert found.conditions.sessions == len(found.legs) >= 6
    assert all(leg.shape[1] == 1 and leg.min() > 0 for leg in found.legs)
    assert all(len(one.creation_ns) == len(found.legs) for one in found.models)
    assert all(one.footprint is not None for one in found.models)
