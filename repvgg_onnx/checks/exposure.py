"""Models whose inner tensors are outputs, so many at a time that their values fit into memory."""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from repvgg_onnx.checks.inputs import Feed
from repvgg_onnx.checks.session import Loadable, ModelLike
from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.normalize import tensor_types
from repvgg_onnx.graph.skeleton import infer_skeleton

BYTES_AT_ONCE = 2**28
"""Size of the exposed values of one model, as float64, in which they are compared."""

_UNKNOWN = 2**20  # elements of a tensor whose size cannot be inferred


def private_copy(model: ModelLike) -> onnx.ModelProto:
    """The model with its external data in memory, free to be changed.

    Raises:
        ModelError: it cannot be read.
    """
    copy = onnx.ModelProto()
    if isinstance(model, onnx.ModelProto):
        copy.CopyFrom(model)
        return copy
    try:
        if isinstance(model, bytes):
            copy.ParseFromString(model)
            return copy
        return onnx.load(os.fspath(model))
    except (DecodeError, OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"cannot be read: {' '.join(str(error).split())}") from error


def complete(model: ModelLike) -> onnx.ModelProto:
    """The model with its external data in memory; not to be changed.

    Raises:
        ModelError: it cannot be read.
    """
    return model if isinstance(model, onnx.ModelProto) else private_copy(model)


def parsed(model: ModelLike) -> onnx.ModelProto:
    """The model, its external data left where it is; not to be changed.

    Raises:
        ModelError: it cannot be read.
    """
    if isinstance(model, onnx.ModelProto):
        return model
    try:
        proto = onnx.ModelProto()
        proto.ParseFromString(model if isinstance(model, bytes) else Path(model).read_bytes())
        return proto
    except (DecodeError, OSError) as error:
        raise ModelError(f"cannot be read: {' '.join(str(error).split())}") from error


def with_outputs(source: Loadable, names: Sequence[str]) -> Loadable:
    """The model in which these tensors are outputs too, after its own.

    Two messages one after the other are one in protobuf, repeated fields joined; so that no weight is copied twice.

    Args:
        source: what ``loadable`` makes of a ModelProto: bytes, or a file in a temporary folder, beside which another
            one is written.
        names: tensors that its graph computes and that are not outputs yet.

    Source: Protocol Buffers documentation, Encoding, Last One Wins.
    """
    added = onnx.GraphProto(output=[onnx.ValueInfoProto(name=name) for name in names])
    suffix: bytes = onnx.ModelProto(graph=added).SerializeToString()
    if isinstance(source, bytes):
        return source + suffix
    exposed = Path(source).with_name("exposed.onnx")
    exposed.write_bytes(Path(source).read_bytes() + suffix)
    return str(exposed)


def expose(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """The named tensors, and no others, are the outputs of the model."""
    declared = {value.name: value for value in model.graph.output}
    outputs = [declared.get(name, onnx.ValueInfoProto(name=name)) for name in names]
    kept = [onnx.ValueInfoProto.FromString(output.SerializeToString()) for output in outputs]
    del model.graph.output[:]
    model.graph.output.extend(kept)


def in_batches(model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feed]) -> Iterator[list[str]]:
    """The names, as many at a time as BYTES_AT_ONCE allows on the largest feed, and at least one.

    Args:
        model: the model that computes them.
        names: tensor names.
        feeds: what the model is to be fed.
    """
    sizes = _largest(model, feeds)
    batch: list[str] = []
    held = 0
    for name in names:
        size = 8 * sizes.get(name, _UNKNOWN)
        if batch and held + size > BYTES_AT_ONCE:
            yield batch
            batch, held = [], 0
        batch.append(name)
        held += size
    if batch:
        yield batch


def _largest(model: onnx.ModelProto, feeds: Sequence[Feed]) -> dict[str, int]:
    """Elements of every tensor whose shape can be inferred, on the feed with the most."""
    largest: dict[str, int] = {}
    for shapes in {tuple((name, value.shape) for name, value in feed.values.items()) for feed in feeds}:
        for name, elements in _elements(model, dict(shapes)).items():
            largest[name] = max(elements, largest.get(name, 0))
    return largest


def _elements(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Elements of the tensors, as far as the shapes of the inputs tell."""
    try:
        types = tensor_types(infer_skeleton(model, shapes).graph)
    except ModelError:  # onnxruntime takes models that onnx's checker does not
        return {}
    known = {name: type_.static_shape for name, type_ in types.items()}
    return {name: math.prod(shape) for name, shape in known.items() if shape is not None}
