"""Sizes of dynamic axes that one command runs models on and counts with, from its beginning to its end."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from repvgg_onnx.census.sizes import declared_axes
from repvgg_onnx.checks.sizes import is_open, runnable_shapes
from repvgg_onnx.cli.options import Assumptions, Runtime
from repvgg_onnx.compiler.fuse import prepare
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.errors import RepvggOnnxError
from repvgg_onnx.graph.load import OpenModel, open_model

Sizes = Mapping[str, tuple[int, ...]]


@timed("read")
def found_sizes(opened: OpenModel, assumptions: Assumptions, runtime: Runtime) -> Sizes | None:
    """The sizes to use; None where those that the user gave, or the usual ones, will do, or no others are found.

    A model that runs on none of them may have nothing that has to be run; if it has, that is where the error comes up.

    Args:
        opened: the model.
        assumptions: what is written into it first.
        runtime: how it is run.

    Raises:
        ModelError: its tensors cannot be read.
        CheckError: it has no such output.
    """
    if runtime.inputs or not is_open(declared_axes(opened.model.graph), runtime.shapes):
        return None
    model, _ = prepare(opened.model, files=opened.files, **asdict(assumptions))
    if model is not opened.model:  # onnxruntime cannot have it from the file, and so needs its tensors
        opened.files.load_all(model)
    arguments = {name: value for name, value in runtime.arguments(threads=0).items() if name != "inputs"}
    try:
        return runnable_shapes(opened.path if model is opened.model else model, **arguments)
    except RepvggOnnxError:
        return None


def common_sizes(paths: tuple[Path, ...], runtime: Runtime) -> Sizes | None:
    """The same for models that are run side by side; None if they declare different axes, of which one may decide."""
    models = [open_model(path) for path in paths]
    declared = [declared_axes(opened.model.graph) for opened in models]
    if any(axes != declared[0] for axes in declared):
        return None
    return found_sizes(models[0], Assumptions(), runtime)


def on_sizes(runtime: Runtime, sizes: Sizes | None) -> Runtime:
    """The same conditions on these sizes."""
    return runtime if sizes is None else replace(runtime, shapes=dict(sizes))
