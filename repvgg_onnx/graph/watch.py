"""What whoever watches this process from outside is told: code that Python cannot interrupt, and what would be left.

onnx holds Python's lock while it infers shapes and checks graphs, so that neither a signal handler nor a thread of this
process could end it. Only another process can, and it has to know when.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

BEGUN, ENDED, MADE, REMOVED = "(", ")", "+", "-"

_tell: Callable[[str], None] | None = None


def tell_to(listener: Callable[[str], None] | None) -> None:
    """From now on the listener is told; nobody is if it is None.

    Args:
        listener: takes BEGUN and ENDED around code that cannot be interrupted, and MADE and REMOVED with the path of a
            private folder.
    """
    global _tell
    _tell = listener


@contextmanager
def uninterruptible() -> Iterator[None]:
    """The block is code that holds Python's lock, and should not take long."""
    if _tell is None:
        yield
        return
    _tell(BEGUN)
    try:
        yield
    finally:
        _tell(ENDED)


@contextmanager
def leaving(folder: Path) -> Iterator[None]:
    """The block would leave the folder behind if this process were killed."""
    if _tell is None:
        yield
        return
    _tell(f"{MADE}{folder}")
    try:
        yield
    finally:
        _tell(f"{REMOVED}{folder}")
