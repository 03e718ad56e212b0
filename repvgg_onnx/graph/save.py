"""ModelProto to file: whole or not at all, and the same bytes for the same model."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import EncodeError
from onnx.external_data_helper import set_external_data

from repvgg_onnx.errors import ModelError

# Source: protobuf refuses messages of 2 GiB and more; the rest of the file needs some room beside the tensors.
LARGEST_FILE = 2**31 - 2**20


def save_model(model: onnx.ModelProto, path: str | os.PathLike[str], *, external_data: bool = False) -> None:
    """The model stands at ``path``; a failure leaves what was there before.

    Args:
        model: what to write; it is not changed.
        path: target; a symbolic link is followed.
        external_data: writes the tensors to ``<name>.data`` beside the file; models over 2 GB always do.

    Raises:
        ModelError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    if not external_data:
        data = serialize(model)
        if data is not None:
            write_bytes(data, target)
            return
    _save_with_side_file(model, target)


def serialize(model: onnx.ModelProto) -> bytes | None:
    """The bytes of the model, the same for the same model; None where one protobuf message cannot hold it."""
    try:
        if model.ByteSize() > LARGEST_FILE:
            return None
        data: bytes = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError):
        return None
    return data


def write_bytes(data: bytes, path: str | os.PathLike[str]) -> None:
    """The file holds exactly ``data``; a failure leaves what was there before.

    Raises:
        ModelError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    with _replacing(target) as temporary:
        _write(temporary, data)


def _save_with_side_file(model: onnx.ModelProto, target: Path) -> None:
    side = target.with_name(target.name + ".data")
    with _replacing(side) as temporary_side, _replacing(target) as temporary:
        slim = onnx.ModelProto()
        slim.CopyFrom(model)
        with temporary_side.open("wb") as stream:
            for tensor in slim.graph.initializer:
                _move_out(tensor, stream, side.name)
            _sync(stream)
        _write(temporary, slim.SerializeToString(deterministic=True))


def _move_out(tensor: onnx.TensorProto, stream: BinaryIO, location: str) -> None:
    if not tensor.HasField("raw_data") or len(tensor.raw_data) < 1024:
        return
    data = tensor.raw_data
    stream.write(b"\0" * (-stream.tell() % 4096))  # page-aligned, so that readers can map it
    offset = stream.tell()
    stream.write(data)
    set_external_data(tensor, location, offset=offset, length=len(data))
    tensor.ClearField("raw_data")


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A temporary name beside the target that takes its place when the block succeeds and vanishes when it fails."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _copy_mode(target, temporary)
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data)
        _sync(stream)


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    with suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _copy_mode(target: Path, temporary: Path) -> None:
    """Gives the new file the old one's mode, or what the process would give a new file."""
    if target.exists():
        mode = target.stat().st_mode & 0o7777
    else:
        mask = os.umask(0)
        os.umask(mask)
        mode = 0o666 & ~mask
    temporary.chmod(mode)
