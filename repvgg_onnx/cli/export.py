"""What ``export`` does: the RepVGG family listed, or one of it written as ONNX."""

from pathlib import Path
from typing import Literal

import click

from repvgg_onnx.census import census
from repvgg_onnx.cli.boundary import about
from repvgg_onnx.cli.output import stage
from repvgg_onnx.cli.places import require_clean_stdout, require_folder
from repvgg_onnx.graph.save import save_model
from repvgg_onnx.report.units import count, size
from repvgg_onnx.zoo import architecture, build, describe, export, names


def list_networks() -> None:
    """Print one line for each network of the family."""
    width = max(map(len, names()))
    for name in names():
        click.echo(f"{name:<{width}}  {describe(name)}")


def run_export(
    name: str,
    target: Path,
    *,
    deployed: bool,
    checkpoint: Path | None,
    exporter: Literal["torchscript", "dynamo"],
    fold: bool,
    quiet: bool,
) -> None:
    """Build the network called ``name``, export it and write it to ``target``.

    Raises:
        RepvggOnnxError: there is no such network, torch is missing or the checkpoint does not fit.
        BadInputError: the file cannot be written.
        UsageError: the folder of ``target`` does not exist, or something else goes there too.
    """
    require_folder(target)
    require_clean_stdout(target, quiet=quiet)
    shape = architecture(name).input_shape
    with stage(f"Exporting {name}", quiet=quiet):
        module = build(name, deployed=deployed, checkpoint=checkpoint)
        model = export(module, shape=shape, exporter=exporter, fold=fold)
    with about(target):
        save_model(model, target)
    if not quiet:
        click.echo(f"wrote {target}: {count(census(model).parameters)} parameters, {size(target.stat().st_size)}")
