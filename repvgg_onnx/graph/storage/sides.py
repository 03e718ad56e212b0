"""External data files: what they are called, and when one is of no more use.

The name says what the file holds, so that a model that is replaced never finds other data under the name it knows.
"""

import mmap
import os
import re
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

DIGITS = 16  # of the SHA-256 of the content, in hexadecimal


def side_name(target: Path, digest: str) -> str:
    """Name of the external data file of a model.

    Args:
        target: the model's file.
        digest: SHA-256 of what the external data file holds, in hexadecimal.

    Example:
        >>> side_name(Path("net.onnx"), "0123456789abcdef0123")
        'net.onnx.0123456789abcdef.data'
    """
    return f"{target.name}.{digest[:DIGITS]}.data"


def remove_unused_sides(target: Path) -> None:
    """Deletes the external data files that this package gave a model of that name and no model in the folder names now.

    Whatever has ``.onnx`` in its name counts as a model there, so that backups keep their external data files.

    A file that cannot be read or deleted stays.
    """
    with suppress(OSError, ValueError):  # a file may shrink to nothing before it is mapped
        sides = list(_sides(target))
        used = _named(_models_beside(target, sides), sides) if sides else set()
        for side in sides:
            if side not in used:
                os.unlink(target.with_name(side))


def _sides(target: Path) -> Iterator[str]:
    ours = re.compile(rf"{re.escape(target.name)}\.[0-9a-f]{{{DIGITS}}}\.data")
    with os.scandir(target.parent) as entries:
        for entry in entries:
            if ours.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                yield entry.name


def _models_beside(target: Path, sides: Container[str]) -> Iterator[Path]:
    """The model, and every other file in its folder that may be one; external data files are none."""
    for path in target.parent.iterdir():
        if path == target or (".onnx" in path.name.lower() and path.name not in sides):
            yield path


def _named(models: Iterable[Path], sides: Iterable[str]) -> set[str]:
    """The external data files whose names occur in one of the models.

    Raises:
        OSError: a model cannot be read, so that nobody knows.
    """
    found: set[str] = set()
    for model in models:
        if model.is_file() and model.stat().st_size:
            with model.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
                found |= {side for side in sides if content.find(os.fsencode(side)) >= 0}
    return found
