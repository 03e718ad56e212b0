import io
import json

import numpy as np
import pytest
from rich.console import Console

from repvgg_onnx.checks.environment import Environment
from repvgg_onnx.checks.latency import Conditions, Footprint, Latencies, ModelLatency
from repvgg_onnx.checks.statistics import Ratio, summarize
from repvgg_onnx.report.latency import BenchReport, bench_report
from repvgg_onnx.report.machine import bench_json
from repvgg_onnx.report.marks import is_own
from repvgg_onnx.report.plot import FORMATS, plot_latencies

ENVIRONMENT = Environment("Acme 9000", 4, None, 0.25, "1.31.1", "3.11.7", "Linux x86_64")
RATIOS = (Ratio(1.0, 1.0, 1.0), Ratio(1.25, 1.2, 1.3), Ratio(0.8, 0.75, 0.9), Ratio(1.001, 0.99, 1.01))
MEGABYTE = 10**6


def block(models=4, *, median_ns=12_000_000, batch=8, footprint=True, **changes) -> Latencies:
    """Two legs of three rounds, quiet, of models whose ratios to the first are RATIOS."""
    medians = [round(median_ns / ratio.speedup) for ratio in RATIOS[:models]]
    legs = [np.outer((99, 100, 101), medians) // 100 for _ in range(2)]
    conditions = {
        "onnxruntime": "1.31.1",
        "provider": "CPUExecutionProvider",
        "level": "ORT_ENABLE_ALL",
        "threads": 1,
        "shapes": {"x": (batch, 3, 5, 7)},
        "sessions": 2,
        "seconds": 1.5,
    }
    found = [
        ModelLatency(
            summarize(np.concatenate(legs)[:, index]),
            batch * 1e9 / medians[index],
            ratio,
            (2_000_000, 4_000_000),
            Footprint(60 * MEGABYTE, (80 + index) * MEGABYTE) if footprint else None,
        )
        for index, ratio in enumerate(RATIOS[:models])
    ]
    return Latencies(tuple(found), legs, Conditions(**{**conditions, **changes}))


def report(*blocks, **changes) -> BenchReport:
    names = tuple(f"net{index}.onnx" for index in range(len(blocks[0].models)))
    values = {"version": "9.8.7", "models": names, "environment": ENVIRONMENT, "warnings": (), "blocks": blocks}
    return BenchReport(**(values | changes))


def lines(made: BenchReport) -> list[str]:
    """The report at 80 columns, blanks squeezed."""
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(bench_report(made))
    text = console.file.getvalue().splitlines()
    assert max(map(len, text)) <= 80
    return [" ".join(line.split()) for line in text]


def test_several_models_are_one_table():
    assert lines(report(block())) == [
        "A net0.onnx",
        "B net1.onnx",
        "C net2.onnx",
        "D net3.onnx",
        "",
        "Acme 9000, 4 cores, load 0.25, onnxruntime 1.31.1, Python 3.11.7, Linux x86_64",
        "",
        "onnxruntime 1.31 ENABLE_ALL, 1 thread, 8x3x5x7, 6 rounds in 2 sessions",
        "median IQR p95 examples open memory",
        "ms ms ms per s ms MB against A 95% CI",
        "A 12.00 0.180 12.12 666.67 3.00 20.0",
        "B 9.60 0.144 9.70 833.33 3.00 21.0 1.25x faster 1.20-1.30",
        "C 15.00 0.225 15.15 533.33 3.00 22.0 1.25x slower 1.11-1.33",
        "D 11.99 0.180 12.11 667.33 3.00 23.0 1.00x as fast 0.99-1.01",
    ]


def test_one_model_has_no_columns_of_ratios():
    text = lines(report(block(1, median_ns=800, footprint=False)))
    assert "onnxruntime 1.31 ENABLE_ALL, 1 thread, 8x3x5x7, 6 runs in 2 sessions" in text
    assert text[-2:][0] == "ns ns ns per s ms MB"
    assert text[-1].startswith("A 800.00 ")
    assert text[-1].endswith(" 10,000,000 3.00 n/a")


def test_every_block_has_its_conditions_and_doubts():
    noisy = block(2, threads=2)
    noisy.legs[0][2, 0] *= 9
    text = " ".join(lines(report(block(2, batch=1), noisy, warnings=("the load was high: wait",))))
    assert "1 thread, 1x3x5x7" in text
    assert "2 threads, 8x3x5x7" in text
    assert text.index("noisy: the load was high: wait") < text.index("1 thread")
    assert text.count("noisy: one run in twenty of the first model took") == 1
    assert text.index("noisy: one run in twenty") > text.index("2 threads")


def test_isolated_sessions_are_said_to_be():
    assert "6 rounds in 2 sessions, each in a process of its own" in " ".join(lines(report(block(isolated=True))))


def test_names_cannot_steer_the_terminal():
    assert "A bad\\x1b[2J.onnx" in lines(report(block(1), models=("bad\x1b[2J.onnx",)))


def test_the_document_has_everything():
    made = block(2, provider_options={"device_id": "1"})
    document = json.loads(bench_json(report(made, warnings=("wait",))))
    assert list(document) == [
        "schema_version",
        "tool_version",
        "models",
        "environment",
        "warnings",
        "benchmarks",
        "latency",
    ]
    assert document["schema_version"] == 1
    assert document["environment"]["cpu"] == "Acme 9000"
    (found,) = document["benchmarks"]
    assert (found["batch"], found["rounds"], found["warnings"]) == (8, 6, [])
    assert found["conditions"]["provider_options"] == {"device_id": "1"}
    first, second = found["models"]
    assert first == {
        "median_ns": made.models[0].timing.median_ns,
        "iqr_ns": made.models[0].timing.iqr_ns,
        "p95_ns": made.models[0].timing.p95_ns,
        "examples_per_second": made.models[0].throughput,
        "speedup": None,
        "speedup_low": None,
        "speedup_high": None,
        "verdict": None,
        "session_creation_median_ns": 3_000_000,
        "session_creation_ns": [2_000_000, 4_000_000],
        "memory": {"base_bytes": 60 * MEGABYTE, "peak_bytes": 80 * MEGABYTE, "added_bytes": 20 * MEGABYTE},
        "samples_ns": [leg[:, 0].tolist() for leg in made.legs],
    }
    assert (second["speedup"], second["speedup_low"], second["speedup_high"]) == (1.25, 1.2, 1.3)
    assert second["verdict"] == "faster"
    assert document["latency"]["speedup"] == 1.25


def test_memory_that_is_not_known_is_null():
    assert json.loads(bench_json(report(block(1, footprint=False))))["benchmarks"][0]["models"][0]["memory"] is None


@pytest.mark.parametrize("blocks", [(block(3),), (block(2), block(2))], ids=["three models", "two blocks"])
def test_only_two_models_in_one_block_are_a_pair(blocks):
    assert json.loads(bench_json(report(*blocks)))["latency"] is None


@pytest.mark.parametrize(("kind", "magic"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_a_picture_is_the_same_every_time(kind, magic):
    assert kind in FORMATS
    made = report(block(), block(threads=2))
    picture = plot_latencies(made, kind)
    assert picture.startswith(magic)
    assert picture == plot_latencies(made, kind)
    assert is_own("plot", picture)
    assert not is_own("plot", picture.replace(b"repvgg-onnx", b"another one"))


def test_a_picture_shows_every_model_of_every_block():
    made = report(block(3), block(3, threads=2), models=("a$b$.onnx", "long/" * 20 + "net.onnx", "c\x07.onnx"))
    text = plot_latencies(made, "svg").decode()
    assert text.count("FillBetweenPolyCollection") == 6
    assert all(f"<!-- {words}" in text for words in ("A  a$b$.onnx -->", "C  c\\x07.onnx -->", "latency, ms;"))


def test_samples_that_are_all_equal_can_be_drawn():
    same = block(2)
    for leg in same.legs:
        leg[:] = 7
    flat = Latencies(
        tuple(ModelLatency(summarize(np.full(6, 7)), 1.0, RATIOS[0], (1,), None) for _ in range(2)),
        same.legs,
        same.conditions,
    )
    assert plot_latencies(report(flat), "png").startswith(b"\x89PNG")
