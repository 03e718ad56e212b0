"""ModelProto to file: whole or not at all, and the same bytes for the same model."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import EncodeError
from onnx.external_data_helper import set_external_data

from repvgg_onnx.errors import ModelError

# Source: protobuf refuses messages of 2 GiB and more; the rest of the file needs some room beside the tensors.
LARGEST_FILE = 2**31 - 2**20
SMALLEST_OUTSIDE = 1024  # bytes; smaller tensors stay in the model file
PAGE = 4096  # tensors outside begin at multiples of it, so that readers can map them


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
        data: bytes = model.SerializeToString(deterministic=True)
    except (EncodeError, ValueError):
        return None
    return data if len(data) <= LARGEST_FILE else None


def write_bytes(data: bytes, path: str | os.PathLike[str]) -> None:
    """The file holds exactly ``data``; a failure leaves what was there before.

    Raises:
        ModelError: the file cannot be written.
    """
    target = Path(os.path.realpath(path))
    with _replacing(target) as (temporary,):
        _write(temporary, data)


def _save_with_side_file(model: onnx.ModelProto, target: Path) -> None:
    side = target.with_name(target.name + ".data")
    slim = onnx.ModelProto()
    slim.CopyFrom(model)
    with _replacing(side, target) as (temporary_side, temporary):
        with temporary_side.open("wb") as stream:
            for tensor in slim.graph.initializer:
                _move_out(tensor, stream, side.name)
            _sync(stream)
        rest = serialize(slim)
        if rest is None:
            raise ModelError("cannot be written: more than 2 GB of it are no initializers")
        _write(temporary, rest)


def _move_out(tensor: onnx.TensorProto, stream: BinaryIO, location: str) -> None:
    if not tensor.HasField("raw_data") or len(tensor.raw_data) < SMALLEST_OUTSIDE:
        return
    data = tensor.raw_data
    stream.write(b"\0" * (-stream.tell() % PAGE))
    offset = stream.tell()
    stream.write(data)
    set_external_data(tensor, location, offset=offset, length=len(data))
    tensor.ClearField("raw_data")


@contextmanager
def _replacing(*targets: Path) -> Iterator[list[Path]]:
    """Temporary files beside the targets: all take the targets' places when the block succeeds, or none does."""
    temporaries: list[Path] = []
    try:
        for target in targets:
            temporaries.append(_temporary(target))
        yield temporaries
        _replace_all(list(zip(temporaries, targets, strict=True)))
        _sync_folder(targets[0].parent)
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror or error}") from error
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def _replace_all(pairs: Sequence[tuple[Path, Path]]) -> None:
    """Renames each file to its target; where one fails, those before get their old content back."""
    old: list[tuple[Path, Path | None]] = []
    try:
        for temporary, target in pairs:
            _copy_mode(target, temporary)
            old.append((target, _second_name(target) if len(pairs) > 1 else None))
            os.replace(temporary, target)
    except OSError:
        if len(pairs) > 1:
            for target, second in old:
                _restore(target, second)
        raise
    finally:
        for _, second in old:
            if second is not None:
                second.unlink(missing_ok=True)


def _second_name(target: Path) -> Path | None:
    """Another name beside the file for what it holds now; None where there is no file."""
    if not target.exists():
        return None
    second = _temporary(target)
    try:
        second.unlink()
        os.link(target, second)
    except OSError:  # a file system without hard links
        shutil.copy2(target, second)
    return second


def _restore(target: Path, second: Path | None) -> None:
    if second is None:
        target.unlink(missing_ok=True)
    else:
        os.replace(second, target)


def _temporary(target: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    os.close(handle)
    return Path(name)


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
