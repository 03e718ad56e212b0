"""What the zoo holds, readable without torch."""

from __future__ import annotations

import difflib

from repvgg_onnx.errors import CheckError
from repvgg_onnx.zoo.architecture import Architecture
from repvgg_onnx.zoo.catalog import BASELINES, BLOCKS, NETWORKS

_ARCHITECTURES = {entry.name: entry for entry in (*NETWORKS, *BASELINES, *BLOCKS)}


def names() -> tuple[str, ...]:
    """The names of all architectures, in the order in which they are listed to a user."""
    return tuple(_ARCHITECTURES)


def architecture(name: str) -> Architecture:
    """The entry called ``name``.

    Raises:
        CheckError: no architecture has this name.
    """
    if name in _ARCHITECTURES:
        return _ARCHITECTURES[name]
    close = difflib.get_close_matches(name.lower(), _ARCHITECTURES, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise CheckError(f"unknown architecture {name!r}{hint}")


def describe(name: str) -> str:
    """One line about the architecture called ``name``.

    Raises:
        CheckError: no architecture has this name.

    Example:
        >>> describe("repvgg-b1g4")
        'RepVGG-B1g4: 28 blocks, width multipliers 2 and 4, 4 groups in every other block'
    """
    return architecture(name).summary
