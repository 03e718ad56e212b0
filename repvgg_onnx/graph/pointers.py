"""Git LFS pointers: what a repository holds of a large file that nobody has fetched."""

from pathlib import Path

_START = b"version https://git-lfs.github.com/spec/"

POINTER = "is a Git LFS pointer, not the file itself: run 'git lfs pull' to fetch it"
"""What is wrong with such a file, and what to do."""


def is_pointer(data: bytes) -> bool:
    """Whether a file that begins so is a pointer.

    Source: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md, The Pointer.
    """
    return bytes(data[: len(_START)]) == _START


def is_pointer_file(path: Path) -> bool:
    """Whether the file is a pointer; one that cannot be read is none."""
    try:
        with path.open("rb") as stream:
            return is_pointer(stream.read(len(_START)))
    except OSError:
        return False
