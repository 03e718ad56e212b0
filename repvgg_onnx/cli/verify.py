"""What ``verify`` does, and the two comparisons that ``fuse`` makes."""

from pathlib import Path

import onnx
from rich.console import Group

from repvgg_onnx import __version__
from repvgg_onnx.checks.bisection import Bisection, bisect
from repvgg_onnx.checks.latency import Latency, benchmark
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.parity import verify as verify_outputs
from repvgg_onnx.cli.boundary import CheckFailedError
from repvgg_onnx.cli.files import require_models
from repvgg_onnx.cli.options import Output, Runtime
from repvgg_onnx.cli.output import show, stage
from repvgg_onnx.cli.places import protect_models
from repvgg_onnx.cli.sizes import common_sizes, on_sizes
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.report.bisection import bisection_report
from repvgg_onnx.report.findings import size_lines
from repvgg_onnx.report.layout import section
from repvgg_onnx.report.machine import parity_json
from repvgg_onnx.report.run import Verification
from repvgg_onnx.report.terminal import parity_failure, parity_report
from repvgg_onnx.workflows.turns import alone

Model = Path | bytes | onnx.ModelProto


def run_verify(
    before: Path, after: Path, tolerance: float | None, runtime: Runtime, output: Output, *, bisecting: bool
) -> None:
    """Compare the outputs of two files, and their inner tensors if the user wants to bisect, and report.

    Raises:
        BadInputError: a model cannot be used.
        CheckFailedError: the outputs differ.
        UsageError: the JSON report would be written where it cannot or must not be.
    """
    require_models(before, after)
    protect_models(output, before, after)
    sizes = common_sizes((before, after), runtime)
    runtime = on_sizes(runtime, sizes)
    parity = compare(before, after, tolerance, runtime, output)
    bisection = _bisect(before, after, tolerance, runtime, output) if bisecting else None
    below = section("Bisection", bisection_report(bisection)) if bisection else ()
    subject = Verification(str(before), str(after), parity, bisection)
    report = Group(parity_report(parity), *size_lines(sizes), *below)
    show(output, report, parity_json(__version__, parity, bisection, sizes), subject)
    if not parity.passed:
        raise CheckFailedError(f"{after}: differs from {before}, {parity_failure(parity)}")


@timed("check")
def compare(before: Model, after: Model, tolerance: float | None, runtime: Runtime, output: Output) -> Parity:
    """The outputs of two models compared, by all of onnxruntime's threads unless the user limits them."""
    with stage("Comparing outputs", quiet=output.quiet):
        return verify_outputs(
            before,
            after,
            labels=runtime.labels,
            tolerance=tolerance,
            **runtime.arguments(threads=0),
        )


def _bisect(before: Path, after: Path, tolerance: float | None, runtime: Runtime, output: Output) -> Bisection:
    """The inner tensors of two models compared on what their outputs were compared on."""
    with stage("Comparing inner tensors", quiet=output.quiet):
        return bisect(
            before,
            after,
            tolerance=tolerance,
            **runtime.arguments(threads=0),
        )


@timed("measure")
def measure(before: Model, after: Model, seconds: float, runtime: Runtime, output: Output) -> Latency:
    """The latencies of two models compared, on one thread unless the user wants more."""
    with alone(), stage(f"Measuring latency, at most {seconds:g} s", quiet=output.quiet):
        return benchmark(
            before,
            after,
            seconds=seconds,
            **runtime.arguments(threads=1),
        )
