"""Path, bytes or ModelProto to a ModelProto that can be trusted to be one."""

import os
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
    if isinstance(source, onnx.ModelProto):
        model = source
    elif isinstance(source, bytes):
        model = _parse(source)
    else:
        model = _load_file(Path(source))
    _check_versions(model)
    return model


def has_external_data(source: ModelLike) -> bool:
    """Whether some initializer of the file lives in a side file."""
    if isinstance(source, onnx.ModelProto):
        return any(uses_external_data(tensor) for tensor in source.graph.initializer)
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


def _read(path: Path) -> bytes:
    if path.is_dir():
        raise ModelError("is a directory, not an ONNX file")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError("no such file") from error
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
