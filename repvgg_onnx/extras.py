"""Packages that only a part of the project needs, imported when they are needed."""

import importlib
from types import ModuleType

from repvgg_onnx.errors import ExtraMissingError


def import_extra(name: str, *, extra: str) -> ModuleType:
    """The package ``name``, imported.

    Args:
        name: what to import.
        extra: the extra of this distribution that installs it.

    Raises:
        ExtraMissingError: the package is not installed, or its installation is broken.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExtraMissingError(
            f"{name} is needed and cannot be imported ({error}): pip install 'repvgg-onnx[{extra}]'"
        ) from error
