"""Sizes of dynamic axes that one command runs models on and counts with, from its beginning to its end."""

from collections.abc import Sequence
from dataclasses import replace

from repvgg_onnx.census.sizes import declared_axes
from repvgg_onnx.checks.sizes import is_open, runnable_shapes
from repvgg_onnx.cli.options import Runtime
from repvgg_onnx.cli.tasks import Sizes
from repvgg_onnx.compiler.fuse import prepare
from repvgg_onnx.compiler.options import CompileOptions
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.errors import RepvggOnnxError
from repvgg_onnx.graph.load import ModelLike, OpenModel


@timed("read")
def found_sizes(opened: OpenModel, compiling: CompileOptions, runtime: Runtime) -> Sizes | None:
    """The sizes to use; None where those that the user gave, or the usual ones, will do, or no others are found.

    A model that runs on none of them may have nothing that has to be run; if it has, that is where the error comes up.

    Args:
        opened: the model.
        compiling: what is written into it first.
        runtime: how it is run.

    Raises:
        ModelError: its tensors cannot be read.
        CheckError: it has no such output.
    """
    if runtime.inputs or not is_open(declared_axes(opened.model.graph), runtime.shapes):
        return None
    model: ModelLike = opened.path
    if prepare(opened, compiling).model is not opened.model:  # onnxruntime cannot have it from the file
        model = prepare(opened.whole, compiling).model
    try:
        return runnable_shapes(model, runtime.options(threads=0))
    except RepvggOnnxError:
        return None


def common_sizes(models: Sequence[OpenModel], runtime: Runtime) -> Sizes | None:
    """The same for models that are run side by side; None if they declare different axes, of which one may decide."""
    declared = [declared_axes(opened.model.graph) for opened in models]
    if any(axes != declared[0] for axes in declared):
        return None
    return found_sizes(models[0], CompileOptions(), runtime)


def on_sizes(runtime: Runtime, sizes: Sizes | None) -> Runtime:
    """The same conditions on these sizes."""
    return runtime if sizes is None else replace(runtime, shapes=dict(sizes))
