"""What ``verify`` does, and the two comparisons that ``fuse`` makes."""

from pathlib import Path

from rich.console import Group

from repvgg_onnx import __version__
from repvgg_onnx.checks.bisection import bisected
from repvgg_onnx.checks.latency import Latency, Race, measure
from repvgg_onnx.checks.options import CheckOptions, RunOptions
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.parity import compare as compare_outputs
from repvgg_onnx.cli.boundary import CheckFailedError
from repvgg_onnx.cli.files import opened_models
from repvgg_onnx.cli.options import Output, Runtime
from repvgg_onnx.cli.output import show, stage
from repvgg_onnx.cli.places import protect_models
from repvgg_onnx.cli.sizes import common_sizes, on_sizes
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.graph.load import ModelLike
from repvgg_onnx.report.bisection import bisection_report
from repvgg_onnx.report.findings import size_lines
from repvgg_onnx.report.layout import section
from repvgg_onnx.report.machine import parity_json
from repvgg_onnx.report.run import Verification
from repvgg_onnx.report.terminal import parity_failure, parity_report
from repvgg_onnx.workflows.turns import alone


def run_verify(
    before: Path, after: Path, tolerance: float | None, runtime: Runtime, output: Output, *, bisecting: bool
) -> None:
    """Compare the outputs of two files, and their inner tensors if the user wants to bisect, and report.

    Raises:
        BadInputError: a model cannot be used.
        CheckFailedError: the outputs differ.
        UsageError: the JSON report would be written where it cannot or must not be.
    """
    protect_models(output, before, after)
    opened = opened_models(before, after)
    protect_models(output, *(side for model in opened for side in model.sides))
    sizes = common_sizes(opened, runtime)
    running = on_sizes(runtime, sizes).options(threads=0, tolerance=tolerance)
    parity = compare(before, after, running, output)
    bisection = None
    if bisecting:
        with stage("Comparing inner tensors", quiet=output.quiet):
            bisection = bisected(before, after, running)
    below = section("Bisection", bisection_report(bisection)) if bisection else ()
    subject = Verification(str(before), str(after), parity, bisection)
    report = Group(parity_report(parity), *size_lines(sizes), *below)
    show(output, report, parity_json(__version__, parity, bisection, sizes), subject)
    if not parity.passed:
        raise CheckFailedError(f"{after}: differs from {before}, {parity_failure(parity)}")


@timed("check")
def compare(before: ModelLike, after: ModelLike, running: CheckOptions, output: Output) -> Parity:
    """The outputs of two models compared."""
    with stage("Comparing outputs", quiet=output.quiet):
        return compare_outputs(before, after, running)


@timed("measure")
def compare_latency(
    before: ModelLike, after: ModelLike, seconds: float, running: RunOptions, output: Output
) -> Latency:
    """The latencies of two models compared."""
    with alone(), stage(f"Measuring latency, at most {seconds:g} s", quiet=output.quiet):
        return measure((before, after), Race(seconds), running).latency()
