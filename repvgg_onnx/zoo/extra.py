"""The packages that only the zoo needs, imported when they are needed."""

import importlib
from types import ModuleType

from repvgg_onnx.errors import ExtraMissingError


def import_extra(name: str) -> ModuleType:
    """The package ``name`` of the extra ``export``, imported.

    Raises:
        ExtraMissingError: the package is not installed, or its installation is broken.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExtraMissingError(
            f"{name} is needed and cannot be imported ({error}): pip install 'repvgg-onnx[export]'"
        ) from error
