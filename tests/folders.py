"""What stands in a folder, and a disk that is full."""

from pathlib import Path
from typing import NoReturn


def names(folder: Path) -> list[str]:
    """What a folder holds, hidden files and folders too."""
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of everything in a folder, where no folder is expected."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def contents_of_files(folder: Path) -> dict[str, bytes]:
    """The same, where there may be folders, which do not count."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def full(*_: object) -> NoReturn:
    """In the place of a function that writes."""
    raise OSError(28, "No space left on device")
