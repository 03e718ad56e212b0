"""The packages that only the zoo needs, imported when they are needed."""

from types import ModuleType

from repvgg_onnx import extras


def import_extra(name: str) -> ModuleType:
    """The package ``name`` of the extra ``export``, imported.

    Raises:
        ExtraMissingError: the package is not installed, or its installation is broken.
    """
    return extras.import_extra(name, extra="export")
