"""Tensors in external data files: where they may lie, and how they are read.

A model says by name where its external data files are, so the names are the model author's and not the user's.
Everything about them is checked before a file is opened: external data is a regular file in the model's folder or
below it, and the range inside is just as long as the tensor.
"""

import mmap
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.pointers import POINTER, is_pointer_file
from repvgg_onnx.graph.storage.tensors import is_external, needed_bytes, stored_fields

REPEATS = 4  # how often the same bytes may be named on average, so that a small file cannot stand for a huge model
_NUMBER = re.compile(r"[0-9]{1,18}")
IN_MEMORY = "*"
"""What locations begin with that are in the memory of a program, which no file may name; onnxruntime's do so too."""


@dataclass(frozen=True, order=True)
class ExternalRange:
    """The bytes of one tensor in an external data file.

    Attributes:
        path: the file, symbolic links resolved.
        offset: first byte.
        length: number of bytes.
    """

    path: Path
    offset: int
    length: int


def resolve(tensor: onnx.TensorProto, folder: Path, known: dict[str, tuple[Path, int]] | None = None) -> ExternalRange:
    """Where an external tensor lies; only the file's status is looked at, nothing is read.

    Args:
        tensor: of a model in that folder.
        folder: the model's folder, which no external data file may lie outside of.
        known: file and size by location, so that each is looked up once; more are added.

    Raises:
        ModelError: the location leads out of the folder or to no regular file, or the range does not fit the file or
            the tensor's shape and type.
    """
    entries = _entries(tensor)
    location = entries.get("location", "")
    files = {} if known is None else known
    if location not in files:
        path = _file_of(tensor, location, folder)
        files[location] = path, _status(tensor, path).st_size
    path, size = files[location]
    offset, needed = _number(tensor, entries.get("offset", "0")), needed_bytes(tensor)
    length = _number(tensor, entries["length"]) if "length" in entries else needed
    if length != needed:
        raise _problem(tensor, f"is {length} bytes long there, and its shape and type ask for {needed}")
    if any(length for _, length in stored_fields(tensor)):
        raise _problem(tensor, "is stored in the model as well")
    if offset + length > size:
        raise _problem(tensor, "extends past the end of the external data file")
    return ExternalRange(path, offset, length)


def resolve_all(tensors: Iterable[onnx.TensorProto], folder: Path) -> list[tuple[onnx.TensorProto, ExternalRange]]:
    """The external ones of these tensors and where they lie. Tensors may share a range, but not overlap otherwise.

    Raises:
        ModelError: a place is missing, unsafe or too small, two ranges overlap in part, or the same ranges are named
            too often.
    """
    known: dict[str, tuple[Path, int]] = {}
    found = [(tensor, resolve(tensor, folder, known)) for tensor in tensors if is_external(tensor)]
    same = _one_name_each(place.path for _, place in found)
    distinct = sorted({replace(place, path=same[place.path]) for _, place in found if place.length})
    for one, other in pairwise(distinct):
        if one.path == other.path and one.offset + one.length > other.offset:
            raise ModelError(f"external data cannot be read: tensors overlap in {one.path.name!r}")
    if sum(place.length for _, place in found) > REPEATS * sum(place.length for place in distinct):
        raise ModelError("external data cannot be read: too many tensors name the same bytes")
    return found


def read(place: ExternalRange) -> memoryview:
    """The bytes, mapped and not loaded, read-only.

    Raises:
        ModelError: the file has changed since its range was resolved, or cannot be opened.
    """
    if not place.length:
        return memoryview(b"")
    start = place.offset - place.offset % mmap.ALLOCATIONGRANULARITY
    try:
        handle = os.open(place.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ModelError(f"external data cannot be read: {place.path.name!r} is not a regular file any more")
            mapped = mmap.mmap(handle, place.offset + place.length - start, access=mmap.ACCESS_READ, offset=start)
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise ModelError(f"external data cannot be read: {place.path.name!r}: {error}") from error
    return memoryview(mapped)[place.offset - start :]


def _one_name_each(paths: Iterable[Path]) -> dict[Path, Path]:
    """For each path one that stands for all names of its file: a file has several by hard links or letter case."""
    names: dict[tuple[int, int], Path] = {}
    same = {}
    for path in dict.fromkeys(paths):
        status = path.stat()
        same[path] = names.setdefault((status.st_dev, status.st_ino), path)
    return same


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    """What the model says of the place, each thing once."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) < len(tensor.external_data) or not all(isinstance(value, str) for value in entries.values()):
        raise _problem(tensor, "says twice, or in no text, where it lies")
    return entries


def _number(tensor: onnx.TensorProto, text: str) -> int:
    if not _NUMBER.fullmatch(text):
        raise _problem(tensor, "has an offset or a length that is not a non-negative integer")
    return int(text)


def _file_of(tensor: onnx.TensorProto, location: str, folder: Path) -> Path:
    """The file that a location leads to, links resolved.

    Raises:
        ModelError: the location is not a relative path without ``..``, or a link in it leads out of the folder.
    """
    flavours = (PurePosixPath(location), PureWindowsPath(location))
    inside = not any(path.is_absolute() or path.drive or path.root or ".." in path.parts for path in flavours)
    if not inside or not location or "\0" in location or location.startswith(IN_MEMORY):
        raise _problem(tensor, f"has the location {location!r}, which does not lie below the model's folder")
    try:
        path = Path(os.path.realpath(folder / location))
        base = Path(os.path.realpath(folder))
    except (OSError, ValueError) as error:
        raise _problem(tensor, f"has a location that cannot be followed: {error}") from error
    if base not in path.parents:
        raise _problem(tensor, f"has the location {location!r}, a link out of the model's folder")
    return path


def _status(tensor: onnx.TensorProto, path: Path) -> os.stat_result:
    """Status of a regular file."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise _problem(
            tensor, f"needs the external data file {path.name!r}: {getattr(error, 'strerror', error)}"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise _problem(tensor, f"needs the external data file {path.name!r}, which is not a regular file")
    if is_pointer_file(path):
        raise _problem(tensor, f"needs the file {path.name!r}, which {POINTER}")
    return status


def _problem(tensor: onnx.TensorProto, sentence: str) -> ModelError:
    return ModelError(f"external data cannot be read: tensor {tensor.name!r} {sentence}")
