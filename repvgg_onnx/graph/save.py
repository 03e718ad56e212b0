"""ModelProto to file: whole or not at all, the same bytes for the same model, and no second copy in memory."""

import hashlib
import os
import shutil
from typing import BinaryIO

import onnx
from onnx.external_data_helper import uses_external_data

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.load import OpenModel
from repvgg_onnx.graph.storage.files import TensorFiles
from repvgg_onnx.graph.storage.sides import side_name
from repvgg_onnx.graph.storage.staging import Staging, staging
from repvgg_onnx.graph.storage.stream import REFERENCE, Piece, content_of, refer, without

# Source: protobuf refuses messages of 2 GiB and more.
LARGEST_FILE = 2**31 - 1
SMALLEST_OUTSIDE = 1024  # bytes; smaller tensors stay in the model file
PAGE = 4096  # tensors outside begin at multiples of it, so that readers can map them


def save_model(model: onnx.ModelProto, path: str | os.PathLike[str], *, external_data: bool = False) -> None:
    """The model stands at ``path``; a failure, or a kill at any instant, leaves what was there before.

    Args:
        model: what to write; it is not changed.
        path: target; a symbolic link is followed.
        external_data: writes the tensors to an external data file, ``<name>.<hash of the tensors>.data``, beside the
            file; models over 2 GB always do. The external data file of a model that is replaced is deleted unless
            another model names it.

    Raises:
        ModelError: the file cannot be written.
    """
    with staging(path) as place:
        stage_model(model, place, external_data=external_data)
        place.commit()


def write_bytes(data: bytes, path: str | os.PathLike[str]) -> None:
    """The file holds exactly ``data``; a failure leaves what was there before.

    Raises:
        ModelError: the file cannot be written.
    """
    with staging(path) as place:
        with place.create(place.file.name) as stream:
            stream.write(data)
        place.commit()


def stage_model(
    model: onnx.ModelProto, place: Staging, files: TensorFiles | None = None, *, external_data: bool = False
) -> None:
    """The model and its external data, if it has any, are in the private folder, ready to be read and to be committed.

    Args:
        model: what to write; it is not changed.
        place: where.
        files: what the model's references to other files are read from; None leaves them as they are.
        external_data: whether the initializers go to an external data file even where one file could hold them.

    Raises:
        ModelError: it cannot be written, or a file that it refers to cannot be read.
    """
    content = content_of(model, [_inside(tensor, files) for tensor in model.graph.initializer])
    if external_data or content.size > LARGEST_FILE:
        content = content_of(model, _move_out(model, place, files))
    if content.size > LARGEST_FILE:
        raise ModelError("cannot be written: more than 2 GB of it are not initializers")
    with place.create(place.file.name) as stream:
        content.write(stream)


def stage_copy(opened: OpenModel, place: Staging) -> bool:
    """The model as it is, ready to be read and to be committed.

    Returns:
        Whether it is a copy byte for byte, beside whose place the external data files already are. It is written anew
        where they would be out of reach.

    Raises:
        ModelError: it cannot be written.
    """
    if opened.sides and not place.target.parent.samefile(opened.files.folder):
        stage_model(opened.model, place, opened.files, external_data=not place.alone)
        return False
    with opened.path.open("rb") as content, place.create(place.file.name) as stream:
        shutil.copyfileobj(content, stream)
    return True


def _inside(tensor: onnx.TensorProto, files: TensorFiles | None) -> Piece:
    """The initializer with its data."""
    if files is None or not uses_external_data(tensor):
        return Piece(tensor)
    return Piece(without(tensor, *REFERENCE), files.data(tensor))


def _move_out(model: onnx.ModelProto, place: Staging, files: TensorFiles | None) -> list[Piece]:
    """Writes the external data file; the initializers, those that are large as references to it."""
    if place.alone:
        where = "a device, a pipe or a link into another folder"
        raise ModelError(
            f"cannot be written: its tensors need an external data file, which would not be found beside {where}"
        )
    name = f"{place.target.name}.data"
    with place.create(name) as stream:
        side = _SideFile(stream)
        ranges = [side.take(_raw_data(tensor, files)) for tensor in model.graph.initializer]
    final = side_name(place.target, side.digest)
    place.rename(name, final)
    return [
        _inside(tensor, files) if taken is None else Piece(_reference(tensor, final, *taken))
        for tensor, taken in zip(model.graph.initializer, ranges, strict=True)
    ]


class _SideFile:
    """An external data file as it grows."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._length = 0

    @property
    def digest(self) -> str:
        """SHA-256 of what has been written, in hexadecimal."""
        return self._hash.hexdigest()

    def take(self, data: memoryview | None) -> tuple[int, int] | None:
        """Writes what is worth it; its offset and length in bytes."""
        if data is None or len(data) < SMALLEST_OUTSIDE:
            return None
        self._write(bytes(-self._length % PAGE))
        offset = self._length
        self._write(data)
        return offset, len(data)

    def _write(self, data: bytes | memoryview) -> None:
        self._stream.write(data)
        self._hash.update(data)
        self._length += len(data)


def _raw_data(tensor: onnx.TensorProto, files: TensorFiles | None) -> memoryview | None:
    """The data as it is in a file; None where it is somewhere unknown or in the fields of its type."""
    if uses_external_data(tensor):
        return None if files is None else files.data(tensor)
    return memoryview(tensor.raw_data) if tensor.HasField("raw_data") else None


def _reference(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> onnx.TensorProto:
    """The tensor with a place in an external data file instead of its data."""
    made = without(tensor, "raw_data", *REFERENCE)
    refer(made, location, offset, length)
    return made
