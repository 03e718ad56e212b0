"""``build.py`` without TensorRT, and its calls recorded by a stand-in for it."""

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import pytest

from tests.cli.models import BLOCK, filled
from tests.programs import SAMPLES, loaded

BUILD = SAMPLES / "tensorrt" / "build.py"


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return loaded(BUILD, monkeypatch, "tensorrt_build")


@pytest.fixture
def block(tmp_path: Path) -> Path:
    path = tmp_path / "block.onnx"
    onnx.save(filled(BLOCK), path)
    return path


class StandIn:
    """The part of TensorRT's Python API that builds engines; it records the profile and refuses when told to."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.profile: dict[str, tuple[Any, ...]] = {}
        self.profiles_added = 0
        self.parsed = ""
        self._refuses = refuses
        self.Logger = type("Logger", (), {"WARNING": 2, "__init__": lambda *_: None})

    def Builder(self, _logger: object) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(
            create_network=lambda _flags: "network",
            create_builder_config=lambda: SimpleNamespace(add_optimization_profile=self._add),
            create_optimization_profile=lambda: SimpleNamespace(set_shape=self._set),
            build_serialized_network=lambda *_: b"plan",
        )

    def OnnxParser(self, _network: object, _logger: object) -> SimpleNamespace:  # noqa: N802
        error = SimpleNamespace(desc=lambda: "no such layer")
        return SimpleNamespace(parse_from_file=self._parse, num_errors=1, get_error=lambda _index: error)

    def _parse(self, path: str) -> bool:
        self.parsed = path
        return not self._refuses

    def _set(self, name: str, *shapes: tuple[int, ...]) -> None:
        self.profile[name] = shapes

    def _add(self, _profile: object) -> None:
        self.profiles_added += 1


def test_without_tensorrt_it_says_so_in_one_line(block: Path, tmp_path: Path) -> None:
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so is not there')")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(BUILD.parents[2])])}

    done = subprocess.run(
        [sys.executable, str(BUILD), str(block)], capture_output=True, text=True, env=environment, timeout=120
    )

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "error: TensorRT is not installed, so that nothing can be built: pip install tensorrt\n"


def test_without_a_gpu_it_says_so_too(build: ModuleType, block: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = SimpleNamespace(cuda=SimpleNamespace(is_available=lambda: False))
    monkeypatch.setattr(build, "optional", {"tensorrt": StandIn(), "torch": torch}.get)

    assert build.main([str(block)]) == 3


def test_the_profile_goes_from_one_example_to_the_batch(build: ModuleType, block: Path) -> None:
    trt = StandIn()

    plan = build.build(trt, block, build.input_shapes(block, {"image": (8, 4, 5, 7)}))

    assert (plan, trt.parsed, trt.profiles_added) == (b"plan", str(block), 1)
    assert trt.profile == {"image": ((1, 4, 5, 7), (8, 4, 5, 7), (8, 4, 5, 7))}


def test_what_the_parser_refuses_is_reported(
    build: ModuleType, block: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = build.build_and_time(StandIn(refuses=True), None, [block], [{"image": (8, 4, 5, 7)}], 3)

    assert code == 1
    assert capsys.readouterr().err == f"error: {block}: no such layer\n"


def test_medians_and_their_ratio_are_printed(
    build: ModuleType, block: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build.report([Path("a.onnx"), Path("b.onnx")], [[2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], "conditions")

    assert capsys.readouterr().out.splitlines() == [
        "a.onnx: median 2.000 ms, conditions",
        "b.onnx: median 1.000 ms, conditions",
        "b.onnx is 2.00 times as fast",
    ]


def test_models_run_in_turns(build: ModuleType) -> None:
    calls: list[str] = []
    runners = [SimpleNamespace(milliseconds=lambda name=name: calls.append(name) or 1.0) for name in "ab"]

    samples = build.race(runners, 3)

    assert samples == [[1.0] * 3, [1.0] * 3]
    assert calls == ["a", "b"] * (build.WARMUP_ROUNDS + 3)
