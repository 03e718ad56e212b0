"""Whatever goes wrong about one region stays with that region: it becomes a refusal with a code and a sentence."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from repvgg_onnx.errors import CheckError, GeometryError, LiftError, ModelError

LOG = logging.getLogger("repvgg_onnx")
"""Gets the traceback of every fault of our own at level DEBUG; ``--debug`` shows it."""


@contextmanager
def contained(work: str) -> Iterator[None]:
    """The block raises nothing about a region but LiftError.

    Values are read late, so that a fault of a lifter may show in the walk, when a region is planned, when it is folded
    or when it is proven: each of these has its block. What is about the whole model, or about memory, passes through.

    Args:
        work: what the block does, for the sentence about a fault of our own.

    Raises:
        LiftError: there is no exact map; or, with the code ``internal``, something failed that should not have.
    """
    try:
        yield
    except (LiftError, ModelError, CheckError, MemoryError):
        raise
    except GeometryError as error:
        raise LiftError(error.code, str(error)) from error
    except Exception as error:
        LOG.debug("%s failed", work, exc_info=error)
        cause = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise LiftError("internal", f"{work} failed with {cause}; please report this, --debug shows where") from error
