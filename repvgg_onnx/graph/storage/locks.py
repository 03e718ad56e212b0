"""Locks on folders: they leave no file behind, and a process that dies lets go of its own."""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # a system without them
    fcntl = None  # type: ignore[assignment]

FORGOTTEN_S = 3600.0  # seconds after which a folder that cannot be locked counts as nobody's


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Whoever else locks the folder waits while the block runs; nobody does where folders cannot be locked.

    Raises:
        OSError: there is no such folder.
    """
    handle = None
    with suppress(PermissionError):  # a folder that may be written and not read
        handle = os.open(folder, os.O_RDONLY)
    try:
        if handle is not None:
            with suppress(OSError):
                _lock(handle, wait=True)
        yield
    finally:
        if handle is not None:
            os.close(handle)


def is_abandoned(folder: Path) -> bool:
    """Whether nobody holds the lock of a folder, or nobody has touched it for long where that cannot be told."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    try:
        _lock(handle, wait=False)
        return True
    except BlockingIOError:
        return False
    except OSError:
        return time.time() - os.fstat(handle).st_mtime > FORGOTTEN_S
    finally:
        os.close(handle)


def _lock(handle: int, *, wait: bool) -> None:
    """Locks an open folder until its descriptor is closed.

    Raises:
        BlockingIOError: somebody else holds it, and the caller does not wait.
        OSError: the system or the file system has no locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
