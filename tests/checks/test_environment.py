import os
import platform

import numpy as np
import onnxruntime
import pytest

from repvgg_onnx.checks.environment import Environment, cpu_name, describe_environment, governor
from repvgg_onnx.checks.latency import obstacles
from repvgg_onnx.checks.latency.noise import DRIFT, TAIL, noise_of


def environment(**changes) -> Environment:
    usual = {
        "cpu": "Acme 9000",
        "cores": 4,
        "governor": "performance",
        "load": 0.25,
        "onnxruntime": "1.31.1",
        "python": "3.11.7",
        "platform": "Linux x86_64",
    }
    return Environment(**{**usual, **changes})


def test_the_environment_of_this_process():
    found = describe_environment()
    assert found.onnxruntime == onnxruntime.__version__
    assert found.python == platform.python_version()
    assert 1 <= found.cores <= os.cpu_count()
    assert (found.cpu, found.governor) == (cpu_name(), governor())
    assert found.cpu
    assert found.platform.startswith(platform.system())


@pytest.mark.parametrize(
    ("text", "name"),
    [("processor\t: 0\nmodel name\t: Acme   9000\nmodel name\t: Acme 9000\n", "Acme 9000"), ("nothing\n", "chip")],
)
def test_the_name_of_the_processor(tmp_path, monkeypatch, text, name):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "chip")
    assert cpu_name(tmp_path / "cpuinfo") == name


def test_the_governor_is_read_or_unknown(tmp_path):
    assert governor(tmp_path / "governor") is None
    (tmp_path / "governor").write_text("powersave\n")
    assert governor(tmp_path / "governor") == "powersave"


def test_the_environment_on_one_line():
    line = "Acme 9000, 4 cores, governor performance, load 0.25, onnxruntime 1.31.1, Python 3.11.7, Linux x86_64"
    assert str(environment()) == line
    short = "Acme 9000, 1 core, onnxruntime 1.31.1, Python 3.11.7, Linux x86_64"
    assert str(environment(cores=1, governor=None, load=None)) == short


@pytest.mark.parametrize(
    ("changes", "threads", "words"),
    [
        ({}, 1, []),
        ({"load": 3.4}, 1, []),
        ({"load": 3.6}, 1, ["load average was 3.60 on 4 cores"]),
        ({"load": 0.6}, 4, ["load average was 0.60 on 4 cores"]),
        ({"load": 0.6}, 0, ["load average was 0.60 on 4 cores"]),
        ({"load": 0.4}, 8, []),
        ({"load": None, "governor": None}, 4, []),
        ({"governor": "powersave"}, 1, ["governor is powersave"]),
        ({"load": 9.0, "governor": "ondemand"}, 1, ["load average was 9.00", "governor is ondemand"]),
    ],
)
def test_what_speaks_against_a_machine_before_the_start(changes, threads, words):
    found = obstacles(environment(**changes), threads)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def legs(drift: float, tail: float) -> list[np.ndarray]:
    """Twenty legs whose medians are spread by ``drift``, and in which a tenth of all runs takes ``tail`` times."""
    rng = np.random.default_rng(0)
    medians = 1e6 * (1 + drift * rng.standard_normal(20))
    factors = np.where(np.arange(100) < 90, 1.0, tail)
    return [np.stack([median * factors, np.full(100, 5e5)], axis=1).astype(np.int64) for median in medians]


@pytest.mark.parametrize(
    ("drift", "tail", "words"),
    [
        (0.01, 1.1, []),
        (2.5 * DRIFT, 1.0, ["median varied by"]),
        (0.0, 2 * TAIL, ["one run in twenty of the first model took 3.0 times"]),
        (2.5 * DRIFT, 3.0, ["median varied by", "one run in twenty"]),
    ],
)
def test_what_the_samples_say_against_themselves(drift, tail, words):
    found = noise_of(legs(drift, tail))
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_only_the_first_model_is_looked_at():
    swapped = [leg[:, ::-1] for leg in legs(0.5, 9.0)]
    assert noise_of(swapped) == ()
