"""What ``bench`` does: one measurement for each batch and number of threads, a report, and a picture."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

from repvgg_onnx import __version__
from repvgg_onnx.checks.environment import describe_environment
from repvgg_onnx.checks.latency import Latencies, Race, measure, obstacles, require_batches
from repvgg_onnx.cli.files import opened_models
from repvgg_onnx.cli.options import BenchOptions, Output, Runtime
from repvgg_onnx.cli.output import show, stage
from repvgg_onnx.cli.places import protect_models, require_report_file
from repvgg_onnx.cli.sizes import common_sizes, on_sizes
from repvgg_onnx.report.latency import BenchReport, bench_report
from repvgg_onnx.report.machine import bench_json
from repvgg_onnx.report.plot import plot_latencies, require_matplotlib
from repvgg_onnx.report.units import plural

THREADS = 1
"""Threads to measure on where the user does not say."""


def run_bench(options: BenchOptions, runtime: Runtime, output: Output) -> None:
    """Measure every model at every batch and number of threads, and report.

    Raises:
        BadInputError: a model cannot be used.
        ExtraMissingError: a picture is asked for and matplotlib is missing.
        UsageError: a file would be written where it cannot or must not be.
    """
    protect_models(output, *options.models)
    _require_plot(options, output, *options.models)
    opened = opened_models(*options.models)
    sides = [side for model in opened for side in model.sides]
    protect_models(output, *sides)
    _require_plot(options, output, *sides)
    runtime = on_sizes(runtime, common_sizes(opened, runtime))
    threads = options.threads or (THREADS,)
    environment = describe_environment()
    if options.batches:
        require_batches(options.models, options.batches, runtime.options(threads=THREADS))
    report = BenchReport(
        version=__version__,
        models=tuple(map(str, options.models)),
        environment=environment,
        warnings=obstacles(environment, max(threads)),
        blocks=tuple(_measure(options, runtime, output)),
    )
    plot = options.plot
    pictures = {} if plot is None else {plot: plot_latencies(report, plot.suffix[1:].lower())}
    show(output, bench_report(report), bench_json(report), report, pictures=pictures)


def _measure(options: BenchOptions, runtime: Runtime, output: Output) -> Iterator[Latencies]:
    """One measurement for each batch and number of threads, in the order given."""
    for batch, threads in product(options.batches or (None,), options.threads or (THREADS,)):
        at = f" at batch {batch}" if options.batches else ""
        on = f" on {plural(threads, 'thread')}" if options.threads else ""
        with stage(f"Measuring latency{at}{on}, at most {options.seconds:g} s", quiet=output.quiet):
            how = Race(options.seconds, batch=batch, isolate=options.isolate, memory=True)
            yield measure(options.models, how, replace(runtime, threads=threads).options(threads=THREADS))


def _require_plot(options: BenchOptions, output: Output, *inputs: Path) -> None:
    """The picture, if there is to be one, can be made and written and overwrites nothing of the user's.

    Raises:
        ExtraMissingError: matplotlib is missing.
        UsageError: its name does not end as a picture's, its folder does not exist, or it would overwrite a file.
    """
    plot = options.plot
    if plot is None:
        return
    require_report_file("plot", plot, *(file for _, file in output.files), *inputs)
    require_matplotlib()
