"""Model files: what they hold, and how large they are."""

import os
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from repvgg_onnx.census import census
from repvgg_onnx.cli.boundary import BadInputError
from repvgg_onnx.errors import ModelError
from repvgg_onnx.report.model import ModelFile


def require_files(*paths: Path) -> None:
    """Every path is a readable file.

    Raises:
        BadInputError: the first one that is not.
    """
    for path in paths:
        if path.is_dir():
            raise BadInputError(f"{path}: is a directory, not an ONNX file")
        if not path.exists():
            raise BadInputError(f"{path}: no such file")
        if not os.access(path, os.R_OK):
            raise BadInputError(f"{path}: cannot be read")


def describe(path: Path) -> ModelFile:
    """A file, its size with its side files, and what it stores.

    Side files are not read, and the model is in memory only as long as it is counted.

    Raises:
        BadInputError: there is no file to read.
        ModelError: it is no ONNX model.
    """
    require_files(path)
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError as error:
        raise ModelError("is not an ONNX model, or is truncated") from error
    return ModelFile(str(path), path.stat().st_size + _side_bytes(model, path.parent), census(model))


def _side_bytes(model: onnx.ModelProto, folder: Path) -> int:
    """Size of the files that hold external data, as far as they are there."""
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    sides = {folder / entry.value for entry in entries if entry.key == "location"}
    return sum(side.stat().st_size for side in sides if side.is_file())
