"""Path, bytes or ModelProto to a ModelProto that can be trusted to be one."""

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import load_external_data_for_model, uses_external_data

from repvgg_onnx.errors import ModelError

ModelLike = str | os.PathLike[str] | bytes | onnx.ModelProto


def load_model(source: ModelLike) -> onnx.ModelProto:
    """The model, with every external tensor loaded.

    Args:
        source: a file, the bytes of one, or a model, which is returned as it is.

    Raises:
        ModelError: the source is missing, is no ONNX model, is newer than the installed onnx, or lacks a side file.
    """
    if isinstance(source, onnx.ModelProto | bytes):
        model = source if isinstance(source, onnx.ModelProto) else _parse(source)
        _check_versions(model)
        if has_external_data(model):
            raise ModelError("keeps tensors in side files, which only the path of the model leads to")
        return model
    return _load_file(Path(source))


def has_external_data(source: ModelLike) -> bool:
    """Whether some tensor of the model lives in a side file."""
    if isinstance(source, onnx.ModelProto):
        return any(map(uses_external_data, _tensors(source.graph)))
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    return has_external_data(_parse(data))


def _load_file(path: Path) -> onnx.ModelProto:
    model = _parse(_read(path))
    _check_versions(model)
    try:
        load_external_data_for_model(model, str(path.parent or Path()))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"external data cannot be read: {_one_line(error)}") from error
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Initializers and attribute tensors, of subgraphs too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError("no such file") from error
    except IsADirectoryError as error:
        raise ModelError("is a directory, not an ONNX file") from error
    except OSError as error:
        raise ModelError(f"cannot be read: {error.strerror or error}") from error


def _parse(data: bytes) -> onnx.ModelProto:
    if not data:
        raise ModelError("is empty")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError("is not an ONNX model, or is truncated") from error
    if not model.HasField("graph") or not model.ir_version:
        raise ModelError("is not an ONNX model: it has no graph")
    return model


def _check_versions(model: onnx.ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version > newest:
            raise ModelError(
                f"uses opset {entry.version}, and the installed onnx {onnx.__version__} knows up to {newest}"
            )
    if model.ir_version > onnx.IR_VERSION:
        known = f"the installed onnx {onnx.__version__} knows up to {onnx.IR_VERSION}"
        raise ModelError(f"has IR version {model.ir_version}, and {known}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
