"""The commands, their arguments and their help; what they do is imported when they are called."""

from pathlib import Path
from typing import Any, Literal

import click

from repvgg_onnx import __version__
from repvgg_onnx.cli.boundary import Boundary, MisuseError
from repvgg_onnx.cli.options import (
    FILE,
    Assumptions,
    FuseOptions,
    Output,
    Runtime,
    assumption_options,
    debug_option,
    json_option,
    labels_option,
    max_constant_option,
    output_options,
    quiet_option,
    runtime_options,
    shape_option,
    tolerance_option,
)

_CONFLICTS = (
    ("in_place", "output"),
    ("check", "output"),
    ("check", "in_place"),
    ("check", "min_speedup"),
    ("no_bench", "min_speedup"),
    ("no_verify", "tolerance"),
    ("no_verify", "labels"),
    ("no_verify", "strict"),
    ("check", "strict"),
)
"""Options of ``fuse`` of which one would silently undo the other."""


_EXIT_CODES = """
\b
Exit codes:
  0  done
  1  a check failed: outputs, a gate, or foldable regions left in --check
  2  the command was given wrongly
  3  the input cannot be used, or the output not be written
"""


def _example(line: str) -> str:
    """The end of a help text; the backspace keeps click from wrapping it."""
    return f"\b\nExample:\n  {line}"


@click.group(
    cls=Boundary,
    epilog=_example("repvgg-onnx fuse model.onnx") + "\n" + _EXIT_CODES,
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


@cli.command(epilog=_example("repvgg-onnx fuse model.onnx -o deployed.onnx --shape image=8,3,224,224"))
@click.argument("model", type=FILE)
@click.option("-o", "--output", type=FILE, help="File to write.  [default: MODEL.fused.onnx beside MODEL]")
@click.option("--in-place", is_flag=True, help="Overwrite MODEL.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 if anything can be folded.")
@click.option("--no-verify", is_flag=True, help="Write without comparing outputs.")
@click.option("--no-bench", is_flag=True, help="Do not measure latency.")
@assumption_options
@max_constant_option
@tolerance_option
@runtime_options
@labels_option
@click.option(
    "--bench-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Longest time to measure for.",
)
@click.option(
    "--min-speedup",
    type=click.FloatRange(min=0, min_open=True),
    help="Write nothing and exit 1 if the speedup is surely below this.",
)
@click.option("--strict", is_flag=True, help="Write nothing and exit 1 if a region fails its check.")
@output_options
@click.pass_context
def fuse(
    ctx: click.Context,
    /,
    *,
    model: Path,
    output: Path | None,
    in_place: bool,
    check: bool,
    no_verify: bool,
    no_bench: bool,
    assume_inference: bool,
    freeze_initializers: bool,
    max_constant_mb: int,
    tolerance: float | None,
    bench_seconds: float,
    min_speedup: float | None,
    strict: bool,
    json_path: str | None,
    quiet: bool,
    **runtime: Any,
) -> None:
    """Fold every affine region of MODEL into one node.

    The outputs of both models are compared before anything is written, and nothing that differs is written.
    """
    _refuse_conflicts(ctx)
    from repvgg_onnx.cli.fusing import run_fuse

    options = FuseOptions(
        model,
        output,
        in_place,
        check,
        not no_verify,
        not no_bench,
        tolerance,
        bench_seconds,
        min_speedup,
        max_constant_mb,
        strict,
    )
    assumptions = Assumptions(assume_inference, freeze_initializers)
    run_fuse(options, assumptions, Runtime(**runtime), Output(json_path, quiet))


@cli.command(epilog=_example("repvgg-onnx inspect model.onnx --json regions.json"))
@click.argument("model", type=FILE)
@click.option("--all", "every", is_flag=True, help="List every region and every refusal, not the alike as one.")
@assumption_options
@max_constant_option
@shape_option
@output_options
def inspect(
    *,
    model: Path,
    every: bool,
    shapes: dict[str, tuple[int, ...]],
    max_constant_mb: int,
    json_path: str | None,
    quiet: bool,
    **assumed: Any,
) -> None:
    """Show what could be folded in MODEL, what could not, why, and what to do."""
    from repvgg_onnx.cli.fusing import run_inspect

    output = Output(json_path, quiet)
    run_inspect(model, Assumptions(**assumed), shapes, output, max_constant_mb=max_constant_mb, every=every)


@cli.command(epilog=_example("repvgg-onnx explain two-roots"))
@click.argument("code", required=False)
@json_option
@debug_option
def explain(*, code: str | None, json_path: str | None) -> None:
    """Say what the refusal called CODE means and what to do; without CODE, list all."""
    from repvgg_onnx.cli.explaining import run_explain

    run_explain(code, Output(json_path, quiet=False))


@cli.command(epilog=_example("repvgg-onnx verify model.onnx model.fused.onnx --inputs data.npz"))
@click.argument("before", metavar="A", type=FILE)
@click.argument("after", metavar="B", type=FILE)
@click.option("--bisect", is_flag=True, help="Show where they begin to differ, by tensors of the same names.")
@tolerance_option
@runtime_options
@labels_option
@output_options
def verify(
    *,
    before: Path,
    after: Path,
    bisect: bool,
    tolerance: float | None,
    json_path: str | None,
    quiet: bool,
    **runtime: Any,
) -> None:
    """Compare the outputs of models A and B; exit 1 if they differ."""
    from repvgg_onnx.cli.checking import run_verify

    run_verify(before, after, tolerance, Runtime(**runtime), Output(json_path, quiet), bisecting=bisect)


@cli.command(epilog=_example("repvgg-onnx bench model.onnx model.fused.onnx --threads 2 --seconds 10"))
@click.argument("before", metavar="A", type=FILE)
@click.argument("after", metavar="B", type=FILE)
@runtime_options
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=5.0,
    show_default=True,
    help="Longest time to measure for.",
)
@output_options
def bench(*, before: Path, after: Path, seconds: float, json_path: str | None, quiet: bool, **runtime: Any) -> None:
    """Measure how much faster model B is than model A."""
    from repvgg_onnx.cli.checking import run_bench

    run_bench(before, after, seconds, Runtime(**runtime), Output(json_path, quiet))


@cli.command(
    short_help="Export a network of the zoo to ONNX, or list them.",
    epilog=_example("repvgg-onnx export repvgg-a0 -o a0.onnx --no-fold"),
)
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
def export(
    ctx: click.Context,
    /,
    *,
    name: str | None,
    output: Path | None,
    deployed: bool,
    checkpoint: Path | None,
    exporter: Literal["torchscript", "dynamo"],
    fold: bool,
    quiet: bool,
) -> None:
    """Export the network called NAME to ONNX; without NAME, list all networks."""
    from repvgg_onnx.cli.exporting import list_networks, run_export

    if name is None:
        list_networks()
    elif output is None:
        raise click.UsageError("Missing option '-o' / '--output'.", ctx)
    else:
        run_export(name, output, deployed=deployed, checkpoint=checkpoint, exporter=exporter, fold=fold, quiet=quiet)


def _refuse_conflicts(ctx: click.Context) -> None:
    """Raise a usage error if two options were given that do not go together."""
    for one, other in _CONFLICTS:
        if ctx.params[one] and ctx.params[other]:
            first, second = (f"--{name.replace('_', '-')}" for name in (one, other))
            raise click.UsageError(f"{first} and {second} do not go together", ctx)
