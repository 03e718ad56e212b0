"""Model files: what they hold, and how large they are."""

import glob
import os
from pathlib import Path

from repvgg_onnx.census import census
from repvgg_onnx.cli.boundary import BadInputError, about
from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.load import OpenModel, open_model
from repvgg_onnx.report.model import ModelFile


def require_files(*paths: Path) -> None:
    """Every path is a readable file.

    Raises:
        BadInputError: the first one that is not.
    """
    for path in paths:
        if path.is_dir():
            raise BadInputError(f"{path}: is a folder, not an ONNX file; give the models in it, such as {path}/*.onnx")
        if not path.exists():
            pattern = glob.has_magic(str(path))
            raise BadInputError(f"{path}: no file matches this pattern" if pattern else f"{path}: no such file")
        if not os.access(path, os.R_OK):
            raise BadInputError(f"{path}: cannot be read")


def opened_models(*paths: Path) -> tuple[OpenModel, ...]:
    """The models in files, which are safe to hand on: they are what they say, and external data lies beside them.

    Whoever reads external data files on its own, as onnxruntime does, is not to be sent outside of the model's folder.

    Raises:
        BadInputError: the first one that is not.
    """
    require_files(*paths)
    opened = []
    for path in paths:
        with about(path):
            opened.append(open_model(path))
    return tuple(opened)


def sides_of(path: Path) -> frozenset[Path]:
    """The external data files of a model; none of what is not a model, which is found out when it is used."""
    try:
        return open_model(path).sides
    except ModelError:
        return frozenset()


def describe(path: Path, opened: OpenModel | None = None) -> ModelFile:
    """A file, its size with its external data files, and what it stores.

    Args:
        path: the file.
        opened: the same, if it is open already.

    Raises:
        ModelError: it is not an ONNX model.
    """
    opened = open_model(path) if opened is None else opened
    size_bytes = sum(file.stat().st_size for file in (path, *opened.sides))
    return ModelFile(str(path), size_bytes, census(opened.model))
