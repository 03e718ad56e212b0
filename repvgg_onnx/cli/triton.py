"""What ``triton`` and ``fuse --target`` do."""

from pathlib import Path

import click

from repvgg_onnx.cli.boundary import about
from repvgg_onnx.cli.files import require_files
from repvgg_onnx.cli.options import Runtime
from repvgg_onnx.cli.output import stage
from repvgg_onnx.graph.load import OpenModel, open_model
from repvgg_onnx.report.model import Verdict
from repvgg_onnx.serving.repository import add_version, require_name
from repvgg_onnx.serving.tensorrt import TensorRTCheck, check_tensorrt
from repvgg_onnx.serving.triton import TritonOptions, build_config


def run_triton(
    model: Path, repository: Path, options: TritonOptions, *, version: int, force: bool, quiet: bool
) -> None:
    """Add a version of a model to a repository, and say what was written and how to serve it.

    Raises:
        BadInputError: the model cannot be used, or the repository not be written.
        MisuseError: the options do not fit the model or each other, tritonclient is missing, or something would be
            replaced without ``force``.
        UsageError: shapes were given without a warmup.
    """
    if options.shapes and not options.warmup:
        raise click.UsageError("--shape requires --warmup")
    require_name(options.name)
    require_files(model)
    with stage(f"Writing {options.name}", quiet=quiet):
        with about(model):
            opened = open_model(model)
            config = build_config(opened.model, options)
        with about(repository / options.name):
            added = add_version(opened, config, repository, version=version, force=force)
    if not quiet:
        click.echo(f"{'wrote' if added.config_written else 'kept'} {added.config}")
        click.echo(f"wrote {added.model}")
        click.echo(f"serve it: tritonserver --model-repository={repository.resolve()}")


def check_target(opened: OpenModel, path: Path, runtime: Runtime) -> TensorRTCheck:
    """What TensorRT is known to say of a model.

    Args:
        opened: the model.
        path: where it is, or is going to be.
        runtime: for the shapes.

    Raises:
        ModelError: the graph is not valid ONNX.
        CheckError: a shape does not fit.
    """
    return check_tensorrt(opened.model, path, runtime.shapes, has_sides=bool(opened.sides))


def fit(verdict: Verdict, check: TensorRTCheck | None) -> Verdict:
    """The verdict, unless all is well but the target would refuse the model."""
    good = verdict in (Verdict.FUSED, Verdict.NOTHING_TO_FOLD)
    return Verdict.UNFIT if good and check is not None and not check.passed else verdict
