"""The commands, their arguments and their help; what they do is imported when they are called."""

from pathlib import Path
from typing import Any

import click

from repvgg_onnx import __version__
from repvgg_onnx.cli.boundary import Boundary, MisuseError
from repvgg_onnx.cli.manual import ENDS, PROGRAM
from repvgg_onnx.cli.options import (
    ABOVE_ZERO,
    FILE,
    NOT_NEGATIVE,
    BenchOptions,
    InspectOptions,
    Output,
    Runtime,
    assumption_options,
    below_option,
    ignore_option,
    labels_option,
    many_options,
    max_constant_option,
    runtime_options,
    shape_option,
    sweep_options,
    tolerance_option,
    tuning_options,
)
from repvgg_onnx.cli.output_options import all_option, debug_option, json_option, output_options, quiet_option
from repvgg_onnx.cli.reports import MEASURED, destinations, report_option
from repvgg_onnx.cli.serving_options import target_option, triton_options
from repvgg_onnx.cli.settings import ConfigurableCommand, config_options

models_argument = click.argument("models", metavar="MODEL...", type=FILE, nargs=-1, required=True)


@click.group(
    cls=Boundary,
    epilog=PROGRAM,
    name="repvgg-onnx",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, prog_name="repvgg-onnx", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """A re-parameterization compiler for ONNX.

    Finds every part of a network that is one affine convolution written as many nodes, writes it as one node, and
    proves on the spot that nothing changed but the speed.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(MisuseError.exit_code)


class FuseCommand(ConfigurableCommand):
    """``fuse``, with its mutually exclusive options."""

    conflicts = (
        ("in_place", "output"),
        ("check", "output"),
        ("check", "in_place"),
        ("check", "min_speedup"),
        ("no_bench", "min_speedup"),
        ("no_verify", "tolerance"),
        ("no_verify", "labels"),
        ("no_verify", "strict"),
        ("check", "strict"),
        ("check", "autotune"),
    )


@cli.command(cls=FuseCommand, epilog=ENDS["fuse"])
@models_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="File to write, or folder for several models.  [default: MODEL.fused.onnx beside MODEL]",
)
@click.option("--in-place", is_flag=True, help="Overwrite MODEL.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if anything can be folded.")
@click.option("--no-verify", is_flag=True, help="Write without comparing outputs.")
@click.option("--no-bench", is_flag=True, help="Do not measure latency.")
@assumption_options
@max_constant_option
@below_option
@tolerance_option
@runtime_options
@labels_option
@click.option(
    "--bench-seconds",
    type=ABOVE_ZERO,
    default=5.0,
    show_default=True,
    help="Longest time to measure for.",
)
@click.option("--min-speedup", type=ABOVE_ZERO, help="Write nothing and exit 1 if the speedup is surely below this.")
@click.option("--strict", is_flag=True, help="Write nothing and exit 1 if a region fails its check.")
@tuning_options
@target_option
@ignore_option
@all_option
@many_options
@config_options
@report_option()
@output_options
@click.pass_context
def fuse(ctx: click.Context, /, **_: Any) -> None:
    """Fold every affine region of each MODEL into one node.

    The outputs of both models are compared before anything is written, and nothing that differs is written. With
    --autotune the result is not slower than MODEL beyond noise. Several models are independent of each other: what
    is wrong with one keeps no other from being written.
    """
    from repvgg_onnx.cli.many import fuse_models

    ctx.exit(fuse_models(ctx))


@cli.command(
    cls=ConfigurableCommand,
    short_help="Exit 1 if models are about to ship with foldable regions.",
    epilog=ENDS["check"],
)
@models_argument
@click.option(
    "--max-foldable",
    type=NOT_NEGATIVE,
    default=0,
    show_default=True,
    help="Foldable regions that each model may have.",
)
@assumption_options
@max_constant_option
@below_option
@shape_option
@ignore_option
@all_option
@many_options
@config_options
@report_option()
@output_options
@click.pass_context
def check(ctx: click.Context, /, **_: Any) -> None:
    """Say what can be folded in each MODEL; exit 1 if one has more than it may. Nothing is written."""
    from repvgg_onnx.cli.many import check_models

    ctx.exit(check_models(ctx))


@cli.command(cls=ConfigurableCommand, short_help="Show what could be folded, and what not.", epilog=ENDS["inspect"])
@click.argument("model", type=FILE)
@click.option(
    "--all",
    "every",
    is_flag=True,
    help="List every region and every refusal, not the alike as one, also those for which nothing can be done.",
)
@click.option("--per-layer", is_flag=True, help="List every node with what it multiplies, moves and keeps in memory.")
@assumption_options
@max_constant_option
@below_option
@shape_option
@ignore_option
@config_options
@output_options
def inspect(*, model: Path, json_path: str | None, quiet: bool, **params: Any) -> None:
    """Show what could be folded in MODEL, what could not, why, and what to do.

    And what the network is made of: parameters, multiply-adds, memory traffic and peak memory of activations.
    """
    from repvgg_onnx.cli.fuse import run_inspect
    from repvgg_onnx.cli.tasks import compile_options

    view = InspectOptions(params["every"], params["per_layer"], params["ignore"])
    run_inspect(model, compile_options(params), view, Output(json_path, quiet))


@cli.command(short_help="Say what a refusal means and what to do.", epilog=ENDS["explain"])
@click.argument("code", required=False)
@json_option
@debug_option
def explain(*, code: str | None, json_path: str | None) -> None:
    """Say what the refusal called CODE means and what to do; without CODE, list all."""
    from repvgg_onnx.cli.explain import run_explain

    run_explain(code, Output(json_path, quiet=False))


@cli.command(cls=ConfigurableCommand, epilog=ENDS["verify"])
@click.argument("before", metavar="A", type=FILE)
@click.argument("after", metavar="B", type=FILE)
@click.option("--bisect", is_flag=True, help="Show where they begin to differ, by tensors of the same names.")
@tolerance_option
@runtime_options
@labels_option
@config_options
@report_option()
@output_options
def verify(
    *, before: Path, after: Path, bisect: bool, tolerance: float | None, reports: tuple[str, ...], **params: Any
) -> None:
    """Compare the outputs of models A and B; exit 1 if they differ."""
    from repvgg_onnx.cli.verify import run_verify

    output = Output(params.pop("json_path"), params.pop("quiet"), destinations(reports))
    run_verify(before, after, tolerance, Runtime(**params), output, bisecting=bisect)


@cli.command(cls=ConfigurableCommand, epilog=ENDS["bench"])
@click.argument("models", metavar="A [B]...", type=FILE, nargs=-1, required=True)
@sweep_options
@click.option(
    "--seconds",
    type=ABOVE_ZERO,
    default=5.0,
    show_default=True,
    help="Longest time to measure for, at each batch and number of threads.",
)
@click.option("--isolate", is_flag=True, help="A fresh process for every session; takes longer.")
@click.option("--plot", type=FILE, metavar="PATH", help="Draw the distributions: .svg, .png or .pdf.")
@config_options
@report_option(MEASURED)
@output_options
def bench(*, reports: tuple[str, ...], json_path: str | None, quiet: bool, **params: Any) -> None:
    """Measure how fast models are, and how much faster than model A."""
    from repvgg_onnx.cli.bench import run_bench

    options = BenchOptions(**{name: params.pop(name) for name in BenchOptions.__dataclass_fields__})
    run_bench(options, Runtime(threads=None, **params), Output(json_path, quiet, destinations(reports)))


@cli.command(short_help="Export a RepVGG to ONNX, or list the family.", epilog=ENDS["export"])
@click.argument("name", required=False)
@click.option("-o", "--output", type=FILE, help="File to write.")
@click.option("--deployed", is_flag=True, help="Export the deployed form, not the training-time form.")
@click.option("--checkpoint", type=FILE, help="State dict of the form that is exported.  [default: random weights]")
@click.option("--exporter", type=click.Choice(["torchscript", "dynamo"]), default="torchscript", show_default=True)
@click.option(
    "--fold/--no-fold", default=True, show_default=True, help="Let the exporter fold constants, or keep every node."
)
@quiet_option
@debug_option
@click.pass_context
def export(ctx: click.Context, /, *, name: str | None, output: Path | None, **options: Any) -> None:
    """Export the RepVGG called NAME to ONNX; without NAME, list the family."""
    from repvgg_onnx.cli.export import list_networks, run_export

    if name is None:
        list_networks()
    elif output is None:
        raise click.UsageError("Missing option '-o' / '--output'.", ctx)
    else:
        run_export(name, output, **options)


@cli.command(short_help="Add a model to Triton's model repository.", epilog=ENDS["triton"])
@click.argument("model", type=FILE)
@click.argument("repository", type=FILE)
@triton_options
@shape_option
@quiet_option
@debug_option
def triton(*, model: Path, repository: Path, version: int, force: bool, quiet: bool, **configured: Any) -> None:
    """Write MODEL and its configuration into REPOSITORY, which Triton serves."""
    from repvgg_onnx.cli.triton import run_triton
    from repvgg_onnx.serving.triton import TritonOptions

    run_triton(model, repository, TritonOptions(**configured), version=version, force=force, quiet=quiet)


@cli.command(short_help="Try every part of this installation.", epilog=ENDS["doctor"])
@output_options
def doctor(*, json_path: str | None, quiet: bool) -> None:
    """Try every part of this installation, and say how to install what is missing."""
    from repvgg_onnx.cli.doctor import run_doctor

    run_doctor(Output(json_path, quiet))
