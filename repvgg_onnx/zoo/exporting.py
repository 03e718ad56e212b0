"""torch modules to ONNX, by either of torch's exporters and without their chatter."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

from repvgg_onnx.errors import CheckError
from repvgg_onnx.extras import import_extra
from repvgg_onnx.zoo.quiet import quiet

if TYPE_CHECKING:
    import onnx
    import torch

OPSET = 18
"""The newest opset that both exporters write natively."""

INPUT, OUTPUT = "image", "logits"
"""Names of the exported model's input and output."""


def export(
    module: torch.nn.Module,
    *,
    shape: tuple[int, ...],
    exporter: Literal["torchscript", "dynamo"] = "torchscript",
    fold: bool = True,
    dynamic_batch: bool = False,
) -> onnx.ModelProto:
    """The ONNX model of a ``module`` in eval mode with one input ``image`` and one output ``logits``.

    Args:
        module: a float module; it is not changed.
        shape: n  c  *size of the input.
        exporter: ``torchscript`` traces (``dynamo=False``), ``dynamo`` captures by ``torch.export`` (``dynamo=True``).
        fold: let the exporter fold constants, which also folds each batch normalization that follows a convolution
            into it; otherwise every normalization stays a node.
        dynamic_batch: the first axis of the input is the symbol ``batch``.

    Raises:
        CheckError: the module is in training mode, or does not run on an input of this shape.
        ExtraMissingError: torch (or, for ``dynamo``, onnxscript) is not installed.
    """
    torch = import_extra("torch", extra="export")
    if module.training:
        raise CheckError("only a module in eval mode can be exported; call module.eval() first")
    sample = torch.zeros(shape, dtype=next(module.parameters()).dtype)
    _dry_run(module, sample)
    run = _with_dynamo if exporter == "dynamo" else _with_torchscript
    with quiet(), torch.no_grad():
        return run(module, sample, fold, dynamic_batch)


def _dry_run(module: torch.nn.Module, sample: torch.Tensor) -> None:
    torch = import_extra("torch", extra="export")
    try:
        with torch.no_grad():
            module(sample)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckError(f"the network does not take an input of shape {tuple(sample.shape)}: {reason}") from error


def _with_torchscript(
    module: torch.nn.Module, sample: torch.Tensor, fold: bool, dynamic_batch: bool
) -> onnx.ModelProto:
    import onnx

    torch = import_extra("torch", extra="export")
    training = torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE
    stream = io.BytesIO()
    torch.onnx.export(
        module,
        (sample,),
        stream,
        dynamo=False,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}} if dynamic_batch else None,
        do_constant_folding=fold,
        training=training,
    )
    model: onnx.ModelProto = onnx.ModelProto.FromString(stream.getbuffer())
    return model


def _with_dynamo(module: torch.nn.Module, sample: torch.Tensor, fold: bool, dynamic_batch: bool) -> onnx.ModelProto:
    torch = import_extra("torch", extra="export")
    import_extra("onnxscript", extra="export")
    if dynamic_batch and sample.shape[0] < 2:  # torch.export takes an axis of length 1 for a constant
        sample = sample.expand(2, *sample.shape[1:])
    program = torch.onnx.export(
        module,
        (sample,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("batch")},) if dynamic_batch else None,
        external_data=False,
        optimize=fold,
        verbose=False,
    )
    model: onnx.ModelProto = program.model_proto
    return model
