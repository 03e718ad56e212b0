"""What ``verify`` and ``bench`` do, and the two comparisons that ``fuse`` makes."""

from pathlib import Path

import onnx

from repvgg_onnx import __version__
from repvgg_onnx.checks.latency import Latency, benchmark
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.parity import verify as verify_outputs
from repvgg_onnx.cli.boundary import CheckFailedError
from repvgg_onnx.cli.files import require_files
from repvgg_onnx.cli.options import Output, Runtime
from repvgg_onnx.cli.output import protect_models, show, stage
from repvgg_onnx.report.machine import latency_json, parity_json
from repvgg_onnx.report.terminal import latency_report, parity_failure, parity_report

Model = Path | bytes | onnx.ModelProto


def run_verify(before: Path, after: Path, tolerance: float | None, runtime: Runtime, output: Output) -> None:
    """Compare two files and report.

    Raises:
        BadInputError: a model cannot be used.
        CheckFailedError: the outputs differ.
        UsageError: the JSON report would be written where it cannot or must not be.
    """
    require_files(before, after)
    protect_models(output, before, after)
    parity = compare(before, after, tolerance, runtime, output)
    show(output, parity_report(parity), parity_json(__version__, parity))
    if not parity.passed:
        raise CheckFailedError(f"{after}: differs from {before}, {parity_failure(parity)}")


def run_bench(before: Path, after: Path, seconds: float, runtime: Runtime, output: Output) -> None:
    """Measure two files and report.

    Raises:
        BadInputError: a model cannot be used.
        UsageError: the JSON report would be written where it cannot or must not be.
    """
    require_files(before, after)
    protect_models(output, before, after)
    latency = measure(before, after, seconds, runtime, output)
    show(output, latency_report(latency), latency_json(__version__, latency))


def compare(before: Model, after: Model, tolerance: float | None, runtime: Runtime, output: Output) -> Parity:
    """The outputs of two models compared, by all of onnxruntime's threads unless the user limits them."""
    with stage("Comparing outputs", quiet=output.quiet):
        return verify_outputs(
            before,
            after,
            shapes=runtime.shapes,
            inputs=runtime.inputs,
            tolerance=tolerance,
            provider=runtime.provider,
            threads=runtime.threads or 0,
        )


def measure(before: Model, after: Model, seconds: float, runtime: Runtime, output: Output) -> Latency:
    """The latencies of two models compared, on one thread unless the user wants more."""
    with stage(f"Measuring latency, at most {seconds:g} s", quiet=output.quiet):
        return benchmark(
            before,
            after,
            shapes=runtime.shapes,
            inputs=runtime.inputs,
            threads=runtime.threads or 1,
            provider=runtime.provider,
            seconds=seconds,
        )
