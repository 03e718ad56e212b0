"""Triton's configuration of a model.

Source: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_configuration.md; README and
``src/onnxruntime.cc`` of https://github.com/triton-inference-server/onnxruntime_backend.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import onnx

from repvgg_onnx.errors import CheckError, ModelError
from repvgg_onnx.graph.shapes import bind_shapes
from repvgg_onnx.serving.interface import NO_TENSOR, Port, inputs_of, outputs_of, type_name
from repvgg_onnx.serving.messages import model_config_messages

Precision = Literal["fp16", "fp32"]

BACKEND = "onnxruntime"
_TYPES = {
    "BOOL": "TYPE_BOOL",
    "UINT8": "TYPE_UINT8",
    "UINT16": "TYPE_UINT16",
    "UINT32": "TYPE_UINT32",
    "UINT64": "TYPE_UINT64",
    "INT8": "TYPE_INT8",
    "INT16": "TYPE_INT16",
    "INT32": "TYPE_INT32",
    "INT64": "TYPE_INT64",
    "FLOAT16": "TYPE_FP16",
    "FLOAT": "TYPE_FP32",
    "DOUBLE": "TYPE_FP64",
    "STRING": "TYPE_STRING",
    "BFLOAT16": "TYPE_BF16",
}
_FLOATING = ("TYPE_FP16", "TYPE_FP32", "TYPE_FP64", "TYPE_BF16")


@dataclass(frozen=True)
class TritonOptions:
    """How Triton is to serve a model.

    Attributes:
        name: the model's name, which is also that of its folder.
        max_batch_size: most examples that Triton may put into one run; 0 leaves axis 0 to the caller.
        tensorrt: precision that onnxruntime's TensorRT provider runs in; None runs without it.
        instances: how many copies run at once, on each GPU or on the CPU; None is Triton's default.
        dynamic_batching: join requests that arrive at about the same time.
        warmup: run the model before it is announced as ready.
        shapes: input name to shape, axis 0 included, for the dynamic axes of a warmup.
    """

    name: str
    max_batch_size: int = 0
    tensorrt: Precision | None = None
    instances: int | None = None
    dynamic_batching: bool = False
    warmup: bool = False
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)


def build_config(model: onnx.ModelProto, options: TritonOptions) -> Any:
    """The ``ModelConfig`` of a model, complete, so that Triton has nothing to guess.

    Args:
        model: only its inputs and outputs are looked at.
        options: how to serve it.

    Raises:
        ModelError: Triton cannot serve an input or an output of this type, or its rank is open.
        CheckError: the model cannot be run in batches, or the options contradict it or each other.
        ExtraMissingError: tritonclient is not installed.
    """
    messages = model_config_messages()
    if options.dynamic_batching and not options.max_batch_size:
        raise CheckError("dynamic batching needs a --max-batch-size of 1 or more")
    config = messages.ModelConfig(name=options.name, backend=BACKEND, max_batch_size=options.max_batch_size)
    batched = options.max_batch_size > 0
    for word, ports, tensors in (
        ("input", inputs_of(model), config.input),
        ("output", outputs_of(model), config.output),
    ):
        for port in ports:
            _describe(tensors.add(), port, f"{word} {port.name!r}", messages, batched=batched)
    _set_execution(config, options, messages)
    if options.warmup:
        config.model_warmup.extend(_warmups(config, inputs_of(model), options, messages))
    return config


def _describe(tensor: Any, port: Port, told: str, messages: Any, *, batched: bool) -> None:
    """Fills the message of an input or output."""
    if port.elem_type == NO_TENSOR:
        raise ModelError(f"{told} is not a tensor, and Triton's onnxruntime backend serves nothing else")
    if port.shape is None:
        raise ModelError(f"{told} has no shape, which Triton asks for: run onnx.shape_inference on the model first")
    kind = _TYPES.get(type_name(port.elem_type))
    if kind is None:
        raise ModelError(f"{told} is of type {type_name(port.elem_type)}, which Triton does not know")
    if batched:
        _require_batch_axis(port.shape, told)
    axes = port.shape[1:] if batched else port.shape
    tensor.name, tensor.data_type = port.name, messages.DataType.Value(kind)
    tensor.dims.extend([axis if isinstance(axis, int) else -1 for axis in axes] or [1])  # Triton has no empty dims
    if batched and not axes:
        tensor.reshape.SetInParent()


def _require_batch_axis(shape: Sequence[object], told: str) -> None:
    """Axis 0 is dynamic.

    Raises:
        CheckError: it has a fixed size, or there is none.
    """
    if not shape:
        raise CheckError(f"{told} is a scalar, so that Triton cannot batch the model; leave --max-batch-size at 0")
    if isinstance(shape[0], int):
        raise CheckError(
            f"{told} fixes axis 0 at {shape[0]}, so that Triton cannot batch the model; export it again with a dynamic "
            "axis 0 (dynamic_axes or dynamic_shapes of torch.onnx.export), or leave --max-batch-size at 0"
        )


def _set_execution(config: Any, options: TritonOptions, messages: Any) -> None:
    """Sets where and in how many copies the model runs, and who makes its batches."""
    group = messages.ModelInstanceGroup
    if options.instances is not None:
        kind = group.KIND_GPU if options.tensorrt else group.KIND_AUTO
        config.instance_group.add(count=options.instances, kind=kind)
    if options.dynamic_batching:
        config.dynamic_batching.SetInParent()
    if options.tensorrt is not None:
        accelerators = config.optimization.execution_accelerators.gpu_execution_accelerator
        accelerators.add(name="tensorrt", parameters={"precision_mode": options.tensorrt.upper()})


def _warmups(config: Any, ports: Sequence[Port], options: TritonOptions, messages: Any) -> Iterator[Any]:
    """One request of the smallest batch, and one of the largest."""
    inputs = _warmup_inputs(config, _warmup_dims(ports, options), messages)
    for batch in sorted({1, max(1, options.max_batch_size)}):
        yield messages.ModelWarmup(name=f"batch of {batch}", batch_size=batch, inputs=inputs)


def _warmup_dims(ports: Sequence[Port], options: TritonOptions) -> dict[str, tuple[int, ...]]:
    """Sizes of every input, without the batch if Triton makes it.

    Raises:
        CheckError: a dynamic axis has no size, or a shape does not fit.
    """
    first = 1 if options.max_batch_size else 0
    declared = {port.name: port.shape or () for port in ports}
    bound = bind_shapes(declared, options.shapes)
    for name, shape in declared.items():
        if name not in options.shapes and not all(isinstance(axis, int) for axis in shape[first:]):
            told = f"input {name!r} has dynamic axes, whose sizes a warmup needs"
            raise CheckError(f"{told}: give --shape {name}={','.join(map(str, bound[name]))} or the like")
    return {name: shape[first:] or (1,) for name, shape in bound.items()}


def _warmup_inputs(config: Any, dims: Mapping[str, Sequence[int]], messages: Any) -> dict[str, Any]:
    """Random numbers for floating-point inputs and zeros for others, which may be indices."""
    floating = {messages.DataType.Value(name) for name in _FLOATING}
    return {
        tensor.name: messages.ModelWarmup.Input(
            data_type=tensor.data_type,
            dims=dims[tensor.name],
            **{"random_data" if tensor.data_type in floating else "zero_data": True},
        )
        for tensor in config.input
    }
