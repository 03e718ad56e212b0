"""Triton's own protobuf messages, and their text."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf import text_format

from repvgg_onnx.errors import ExtraMissingError, ModelError
from repvgg_onnx.extras import import_extra

_MODULE = "repvgg_onnx.serving.model_config_pb2"


def model_config_messages() -> ModuleType:
    """The module of ``model_config.proto`` that tritonclient carries.

    The file is loaded alone: the package around it imports grpc, which a configuration does not need.

    Raises:
        ExtraMissingError: tritonclient is not installed, or does not fit the installed protobuf.
    """
    if _MODULE in sys.modules:
        return sys.modules[_MODULE]
    package = import_extra("tritonclient", extra="triton")
    path = Path(package.__path__[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location(_MODULE, path)
    assert spec is not None  # a path that ends in .py has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # protobuf raises its own VersionError for messages newer than itself
        raise ExtraMissingError(
            f"tritonclient cannot be used ({error}): pip install --upgrade 'repvgg-onnx[triton]'"
        ) from error
    sys.modules[_MODULE] = module
    return module


def config_text(config: Any) -> str:
    """A ``ModelConfig`` as ``config.pbtxt`` has it."""
    return str(text_format.MessageToString(config))


def parse_config(text: str) -> Any:
    """The ``ModelConfig`` that a text stands for.

    Raises:
        ModelError: it is none.
        ExtraMissingError: tritonclient is not installed, or cannot be used.
    """
    try:
        return text_format.Parse(text, model_config_messages().ModelConfig())
    except text_format.ParseError as error:
        raise ModelError(f"is not a Triton model configuration: {error}") from error
