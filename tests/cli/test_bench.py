import json
import sys
from dataclasses import replace
from itertools import chain
from xml.etree import ElementTree

import onnx
import pytest

from repvgg_onnx.checks.latency import Race
from repvgg_onnx.checks.options import CheckOptions
from repvgg_onnx.cli import bench
from tests.cli.models import BLOCK, filled
from tests.models import perturbed

QUICK = ("--seconds", "0.02")


@pytest.fixture
def other(tmp_path):
    """The block with other weights."""
    path = tmp_path / "other.onnx"
    onnx.save(perturbed(filled(BLOCK)), path)
    return path


@pytest.fixture
def fixed(tmp_path):
    """The block with a batch of two."""
    path = tmp_path / "fixed.onnx"
    onnx.save(filled(BLOCK.replace("N,", "2,")), path)
    return path


def test_two_models_are_compared(run, block, other, monkeypatch):
    monkeypatch.chdir(block.parent)
    ran = run("bench", block.name, other.name, *QUICK)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[:2] == [f"A {block.name}", f"B {other.name}"]
    assert "1 thread, 1x4x5x7" in ran.out
    assert "95% CI" in ran.out
    assert max(map(len, ran.out.splitlines()[2:])) <= 80


def test_one_model_alone_has_no_ratio(run, block):
    ran = run("bench", block, *QUICK)

    assert (ran.code, ran.err) == (0, "")
    assert "median" in ran.out
    assert "95% CI" not in ran.out


def test_several_models_as_json(run, block, other):
    ran = run("bench", block, other, block, *QUICK, "--shape", "image=3,4,5,7", "--json")

    document = json.loads(ran.out)
    (found,) = document["benchmarks"]
    assert document["models"] == [str(block), str(other), str(block)]
    assert document["environment"]["cores"] >= 1
    assert document["latency"] is None
    assert (found["batch"], found["conditions"]["shapes"]) == (3, {"image": [3, 4, 5, 7]})
    assert [one["verdict"] is None for one in found["models"]] == [True, False, False]
    for one in found["models"]:
        assert len(one["samples_ns"]) == found["conditions"]["sessions"] == len(one["session_creation_ns"])
        assert sum(map(len, one["samples_ns"])) == found["rounds"]


def test_two_models_have_the_key_of_fuse_as_well(run, block, other):
    ran = run("bench", block, other, *QUICK, "--threads", "2", "--json")

    document = json.loads(ran.out)
    (found,) = document["benchmarks"]
    assert document["latency"]["conditions"]["threads"] == 2
    assert document["latency"]["before"]["median_ns"] == found["models"][0]["median_ns"] > 0
    assert document["latency"]["after"]["samples_ns"] == [*chain(*found["models"][1]["samples_ns"])]
    assert document["latency"]["speedup"] == found["models"][1]["speedup"]


def test_a_sweep_is_a_block_for_every_batch_and_number_of_threads(run, block, other):
    ran = run("bench", block, other, *QUICK, "--batch", "1, 3,1", "--threads", "1,2", "--json")

    found = json.loads(ran.out)
    assert [(one["batch"], one["conditions"]["threads"]) for one in found["benchmarks"]] == [
        (1, 1),
        (1, 2),
        (3, 1),
        (3, 2),
    ]
    assert found["latency"] is None


def test_a_batch_that_a_model_does_not_take_is_found_before_anything_is_measured(run, fixed, monkeypatch):
    assert run("bench", fixed, *QUICK, "--batch", "2").code == 0
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("measured"))

    ran = run("bench", fixed, "--batch", "2,8")

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "fixes the batch of input 'image' at 2, so it cannot run with 8: export it again" in ran.err


def test_options_reach_the_measurement(run, block, other, monkeypatch):
    seen = []
    measure = bench.measure

    def spy(models, how, running):
        seen.append((models, how, running))
        return measure(models, replace(how, isolate=False), replace(running, provider="CPUExecutionProvider"))

    monkeypatch.setattr(bench, "measure", spy)
    monkeypatch.setattr(bench, "common_sizes", lambda *_: None)  # the provider is not there to try any on
    more = ["--provider", "AnyProvider", "--provider-option", "device_id=1", "--provider-option", "a=b=c"]
    ran = run("bench", block, other, *QUICK, *more, "--range", "image=0,1", "--isolate")

    assert ran.code == 0
    provider = ("AnyProvider", {"device_id": "1", "a": "b=c"})
    running = CheckOptions(shapes={}, ranges={"image": (0.0, 1.0)}, threads=1, provider=provider)
    assert seen == [((block, other), Race(0.02, isolate=True, memory=True), running)]


def test_a_noisy_machine_is_said_so(run, block, monkeypatch):
    monkeypatch.setattr(bench, "obstacles", lambda environment, threads: (f"{threads} threads are too many: stop",))

    ran = run("bench", block, *QUICK, "--threads", "1,2", "--json")
    text = run("bench", block, *QUICK, "--threads", "2,1")

    assert json.loads(ran.out)["warnings"] == ["2 threads are too many: stop"]
    assert "noisy: 2 threads are too many: stop\n" in text.out


@pytest.mark.parametrize("command", ["bench", "verify", "fuse"])
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--provider", "NoSuchProvider"), "'NoSuchProvider' is not available: this onnxruntime has "),
        (("--provider-option", "use_arena=0"), "CPUExecutionProvider takes no options, so use_arena cannot be set"),
        (("--provider-option", "use_arena"), "'use_arena' is not of the form KEY=VALUE"),
        (("--provider-option", "=1"), "'' is not of the form KEY=VALUE"),
    ],
)
def test_a_provider_that_is_not_there_or_is_told_nonsense_is_one_line(run, block, tmp_path, command, options, sentence):
    ran = run(command, *[block] * (1 if command == "fuse" else 2), *options)

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert sentence in ran.err
    assert list(tmp_path.iterdir()) == [block]


@pytest.mark.parametrize("option", ["--batch", "--threads"])
@pytest.mark.parametrize("value", ["0", "1,x", "1,,2", "-1", "1.5", ","])
def test_numbers_that_are_none_are_misuse(run, block, option, value):
    ran = run("bench", block, f"{option}={value}")

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"'{value}' is not a list of positive numbers such as 1,8,32" in ran.err


def test_a_picture_of_the_distributions(run, block, other, tmp_path):
    ran = run("bench", block, other, *QUICK, "--plot", tmp_path / "out.SVG")

    assert (ran.code, ran.err) == (0, "")
    assert ElementTree.parse(tmp_path / "out.SVG").getroot().tag.endswith("svg")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["block.onnx", "other.onnx", "out.SVG"]


@pytest.mark.parametrize(
    ("plot", "more", "sentence"),
    [
        ("out.gif", (), "out.gif does not end in .svg or .png or .pdf, as a picture must"),
        ("block.onnx", (), "block.onnx would overwrite "),
        ("none/out.svg", (), "none does not exist"),
        ("link.svg", (), "link.svg would overwrite "),
        ("out.svg", ("--json=out.svg",), "out.svg does not end in .json"),
    ],
)
def test_a_picture_that_must_not_be_written_is_misuse_before_measuring(
    run, block, tmp_path, monkeypatch, plot, more, sentence
):
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("measured"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.svg").symlink_to(block)
    before = block.read_bytes()

    ran = run("bench", block, "--plot", plot, *more)

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert sentence in ran.err
    assert block.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["block.onnx", "link.svg"]


def test_a_picture_without_matplotlib_is_one_line_before_measuring(run, block, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "measure", lambda *_: pytest.fail("measured"))
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    ran = run("bench", block, "--plot", tmp_path / "out.svg")

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "matplotlib is needed" in ran.err
    assert "pip install 'repvgg-onnx[report]'" in ran.err
    assert list(tmp_path.iterdir()) == [block]


def test_quiet_prints_nothing(run, block):
    ran = run("bench", block, *QUICK, "--quiet")

    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_no_model_is_misuse(run):
    ran = run("bench")

    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert "Missing argument" in ran.err
