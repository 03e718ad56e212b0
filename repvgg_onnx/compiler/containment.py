"""Whatever goes wrong about one region stays with that region: it becomes a refusal with a code and a sentence."""

import logging
from types import TracebackType

from repvgg_onnx.errors import CheckError, GeometryError, LiftError, ModelError

LOG = logging.getLogger("repvgg_onnx")
"""Gets the traceback of every fault of our own at level DEBUG; ``--debug`` shows it."""


class contained:  # noqa: N801  # a context manager, read as a word; a class, since it is entered for every node
    """The block raises nothing about a region but LiftError.

    Values are read late, so that a fault of a lifter may show in the walk, when a region is planned, when it is folded
    or when it is proven: each of these has its block. What is about the whole model, or about memory, passes through.

    Args:
        work: what the block does, for the sentence about a fault of our own.

    Raises:
        LiftError: there is no exact map; or, with the code ``internal``, something failed that should not have.
    """

    def __init__(self, work: str) -> None:
        self._work = work

    def __enter__(self) -> None:
        """Nothing happens."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Turns whatever is about the region into LiftError."""
        if not isinstance(error, Exception) or isinstance(error, LiftError | ModelError | CheckError | MemoryError):
            return
        if isinstance(error, GeometryError):
            raise LiftError(error.code, str(error)) from error
        LOG.debug("%s failed", self._work, exc_info=error)
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        sentence = f"{self._work} failed with {cause}; please report this, --debug shows where"
        raise LiftError("internal", sentence) from error
