"""State dicts from files that nobody needs to trust."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repvgg_onnx.errors import ModelError
from repvgg_onnx.extras import import_extra
from repvgg_onnx.graph.pointers import POINTER, is_pointer_file
from repvgg_onnx.zoo.quiet import quiet

if TYPE_CHECKING:
    import torch


def load_checkpoint(module: torch.nn.Module, path: str | os.PathLike[str]) -> None:
    """``module`` has the weights of the state dict at ``path``.

    The state dict may be the value of a ``state_dict`` key, and its names may start with ``module.`` (data-parallel
    training). Only tensors are read from the file, never code.

    Raises:
        ModelError: the file cannot be read, holds no state dict, or its names or shapes are not those of ``module``.
    """
    state = _state_dict(read_plain(path), path)
    wanted = {name: tensor.shape for name, tensor in module.state_dict().items() if not _is_counter(name)}
    found = {name: tensor.shape for name, tensor in state.items() if not _is_counter(name)}
    complaints = _complaints(wanted, found)
    if complaints:
        raise ModelError(f"{path} does not fit the network: {'; '.join(complaints)}")
    module.load_state_dict(state)


def read_plain(path: str | os.PathLike[str]) -> object:
    """What ``torch.save`` wrote to ``path``: tensors, numbers, texts and containers of them, on the CPU.

    Raises:
        ExtraMissingError: torch is not installed.
        ModelError: the file cannot be read, is damaged, or holds anything else.
    """
    torch = import_extra("torch", extra="export")
    try:
        with quiet():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle can raise anything
        if isinstance(error, OSError) and error.filename is not None:  # it could not be opened
            raise ModelError(f"{path}: {error.strerror}") from error
        if is_pointer_file(Path(path)):
            raise ModelError(f"{path} {POINTER}") from error
        raise ModelError(f"{path} is not a torch checkpoint of plain tensors") from error


def _state_dict(content: object, path: str | os.PathLike[str]) -> dict[str, Any]:
    torch = import_extra("torch", extra="export")
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(torch.is_tensor(value) for value in content.values()):
        raise ModelError(f"{path} holds no state dict")
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _is_counter(name: str) -> bool:
    """Whether torch may leave the entry out: old state dicts do not count batches."""
    return name.endswith("num_batches_tracked")


def _complaints(wanted: Mapping[str, object], found: Mapping[str, object]) -> list[str]:
    missing = [name for name in wanted if name not in found]
    unexpected = [name for name in found if name not in wanted]
    reshaped = [name for name in wanted if name in found and wanted[name] != found[name]]
    kinds = {"missing": missing, "not part of it": unexpected, "of another shape": reshaped}
    rest = {kind: f" and {len(names) - 3} more" if len(names) > 3 else "" for kind, names in kinds.items()}
    return [f"{kind} {', '.join(names[:3])}{rest[kind]}" for kind, names in kinds.items() if names]
