"""Builds TensorRT engines of one or two ONNX models and times them; needs tensorrt and a CUDA build of torch.

Usage: python build.py MODEL.onnx [MODEL2.onnx] [--shape image=8,3,224,224] [--rounds 200]

Each engine is written beside its model, as MODEL.plan. The exit code is 0 when everything was built and timed, 1 if
TensorRT refuses a model, and 3 if TensorRT, CUDA or a model is not there.
"""

import argparse
import importlib
import statistics
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from repvgg_onnx.errors import RepvggOnnxError
from repvgg_onnx.graph.load import open_model
from repvgg_onnx.graph.shapes import bind_shapes, parse_shape
from repvgg_onnx.serving.interface import inputs_of

WARMUP_ROUNDS = 20
Shapes = dict[str, tuple[int, ...]]


def optional(name: str) -> ModuleType | None:
    """The package, if it is installed and can be imported."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def input_shapes(model: Path, given: Shapes) -> Shapes:
    """The shape that each input is run in."""
    return bind_shapes({port.name: port.shape or () for port in inputs_of(open_model(model).model)}, given)


def build(trt: Any, model: Path, shapes: Shapes) -> bytes | None:
    """A serialized engine for batches of 1 to that of the shapes; None if TensorRT refuses the model, and says why."""
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        for index in range(parser.num_errors):
            print(f"error: {model}: {parser.get_error(index).desc()}", file=sys.stderr)
        return None
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    dynamic = [port.name for port in inputs_of(open_model(model).model) if port.is_dynamic and shapes[port.name]]
    for name in dynamic:
        profile.set_shape(name, (1, *shapes[name][1:]), shapes[name], shapes[name])
    if dynamic:
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        print(f"error: {model}: TensorRT cannot build an engine", file=sys.stderr)
    return None if plan is None else bytes(plan)


class Runner:
    """An engine with memory for its inputs and outputs."""

    def __init__(self, trt: Any, torch: Any, plan: bytes, shapes: Shapes) -> None:
        self._torch = torch
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        self._context = self._engine.create_execution_context()
        self._stream = torch.cuda.Stream()
        for name, shape in shapes.items():
            self._context.set_input_shape(name, shape)
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self._memory = {name: self._allocate(trt, name) for name in names}
        for name, memory in self._memory.items():
            self._context.set_tensor_address(name, memory.data_ptr())

    def _allocate(self, trt: Any, name: str) -> Any:
        """Zeros for one input or output."""
        shape = tuple(self._context.get_tensor_shape(name))
        element_bytes = self._engine.get_tensor_dtype(name).itemsize
        elements = self._torch.Size(shape).numel()
        return self._torch.zeros(elements * element_bytes, dtype=self._torch.uint8, device="cuda")

    def milliseconds(self) -> float:
        """The time of one run on the GPU."""
        begin, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record(self._stream)
        self._context.execute_async_v3(self._stream.cuda_stream)
        end.record(self._stream)
        end.synchronize()
        return float(begin.elapsed_time(end))


def race(runners: list[Runner], rounds: int) -> list[list[float]]:
    """Milliseconds of every run, the models one after the other in each round."""
    for runner in runners * WARMUP_ROUNDS:
        runner.milliseconds()
    samples = [[runner.milliseconds() for runner in runners] for _ in range(rounds)]
    return [list(column) for column in zip(*samples, strict=True)]


def report(models: list[Path], samples: list[list[float]], conditions: str) -> None:
    """Prints medians, and the median ratio of two models."""
    for model, times in zip(models, samples, strict=True):
        print(f"{model}: median {statistics.median(times):.3f} ms, {conditions}")
    if len(samples) == 2:
        ratio = statistics.median(one / other for one, other in zip(*samples, strict=True))
        print(f"{models[1]} is {ratio:.2f} times as fast")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Build and time TensorRT engines.")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--shape", action="append", default=[], metavar="NAME=8,3,224,224")
    parser.add_argument("--rounds", type=int, default=200)
    given = parser.parse_args(arguments)
    if len(given.models) > 2:
        parser.error("one or two models")
    trt, torch = optional("tensorrt"), optional("torch")
    if trt is None:
        return fail("TensorRT is not installed, so that nothing can be built: pip install tensorrt")
    if torch is None or not torch.cuda.is_available():
        return fail("a CUDA build of torch and a GPU are needed to time engines")
    try:
        shapes = [input_shapes(model, dict(map(parse_shape, given.shape))) for model in given.models]
    except RepvggOnnxError as error:
        return fail(str(error))
    return build_and_time(trt, torch, given.models, shapes, given.rounds)


def build_and_time(trt: Any, torch: Any, models: list[Path], shapes: list[Shapes], rounds: int) -> int:
    """Writes the engines, races them and prints how they compare; 1 if TensorRT refuses a model."""
    runners = []
    for model, sizes in zip(models, shapes, strict=True):
        plan = build(trt, model, sizes)
        if plan is None:
            return 1
        model.with_suffix(".plan").write_bytes(plan)
        runners.append(Runner(trt, torch, plan, sizes))
    device = torch.cuda.get_device_name()
    written = ", ".join("x".join(map(str, shape)) for shape in shapes[0].values())
    report(models, race(runners, rounds), f"TensorRT {trt.__version__}, {device}, {written}, {rounds} rounds")
    return 0


def fail(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
