"""Triton's model repository on disk: a version is there whole or not at all.

Source: https://github.com/triton-inference-server/server/blob/main/docs/user_guide/model_repository.md
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repvgg_onnx.errors import CheckError, ModelError
from repvgg_onnx.graph.load import OpenModel
from repvgg_onnx.graph.save import stage_model, write_bytes
from repvgg_onnx.graph.storage.staging import explained, private_folder, staging
from repvgg_onnx.serving.messages import config_text, parse_config

CONFIG = "config.pbtxt"
MODEL = "model.onnx"
"""Name that Triton looks for: of the file, or of the folder with a file of that name and its external data files."""

_NAME = re.compile(r"[\w][\w.-]*", re.ASCII)


@dataclass(frozen=True)
class Added:
    """A version that was added to a repository.

    Attributes:
        config: the configuration of the model.
        model: the version's model file.
        config_written: whether the configuration was written; one that says the same stays as it is.
    """

    config: Path
    model: Path
    config_written: bool


def require_name(name: str) -> None:
    """A model may be called so, and so may its folder.

    Raises:
        CheckError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise CheckError(f"{name!r} is not a valid model name: letters, digits, '_', '-' and '.', not '-' or '.' first")


def add_version(opened: OpenModel, config: Any, repository: Path, *, version: int, force: bool = False) -> Added:
    """The repository serves the model as this version.

    The configuration is put in place before the version, each of them whole or not at all; Triton takes no notice of
    what is prepared, in a folder whose name is not a number. After a crash between the two the same call completes
    them.

    Args:
        opened: the model; a single file is copied byte for byte.
        config: its ``ModelConfig``, which names it.
        repository: made if it is not there, in a folder that is.
        version: 1 or more.
        force: replaces a version that is there, and a configuration that says something else.

    Raises:
        CheckError: the version is there, or another configuration, and ``force`` is not given.
        ModelError: nothing can be written there; what was there before still is.
    """
    require_name(config.name)
    folder = repository / config.name
    final = folder / str(version)
    with explained(), _made(repository), _made(folder):
        changed = _differs(config, folder / CONFIG, force=force)
        if final.exists() and not force:
            raise CheckError(f"version {version} is there already; --force replaces it")
        with private_folder(folder, final.name) as scratch:
            fresh = scratch / final.name
            fresh.mkdir()
            file = _fill(fresh, opened)
            if changed:
                write_bytes(config_text(config).encode(), folder / CONFIG)
            _put(fresh, final, scratch / "replaced")
    return Added(folder / CONFIG, final / file.relative_to(fresh), changed)


def _differs(config: Any, path: Path, *, force: bool) -> bool:
    """Whether the configuration has to be written.

    Raises:
        CheckError: it would replace another one, and may not.
    """
    if not path.exists():
        return True
    try:
        there = parse_config(path.read_text(encoding="utf-8"))
    except (ModelError, UnicodeDecodeError) as error:
        there, how = None, str(error)
    else:
        how = f"says something else of {', '.join(_differing(there, config))}"
    if there == config:
        return False
    if not force:
        raise CheckError(f"{CONFIG} {how}; --force replaces it")
    return True


def _differing(one: Any, other: Any) -> list[str]:
    """The fields in which two messages of one type differ."""
    set_in = [{field.name: value for field, value in message.ListFields()} for message in (one, other)]
    return [name for name in sorted({*set_in[0], *set_in[1]}) if set_in[0].get(name) != set_in[1].get(name)]


def _fill(folder: Path, opened: OpenModel) -> Path:
    """Writes the model into the folder of a version; its file, beside its external data if it has any."""
    target = folder / MODEL
    if opened.sides:
        target.mkdir()
        target /= MODEL
    with staging(target) as place:
        if opened.sides:
            stage_model(opened.model, place, opened.files, external_data=True)
        else:
            with opened.path.open("rb") as content, place.create(place.file.name) as stream:
                shutil.copyfileobj(content, stream)
        place.commit()
    return target


def _put(fresh: Path, final: Path, aside: Path) -> None:
    """Gives the folder its final name; one that is there steps aside, and comes back if that fails."""
    if final.exists():
        os.rename(final, aside)
    try:
        os.rename(fresh, final)
    except OSError:
        if aside.exists():
            os.rename(aside, final)
        raise


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder is there; if the block fails, one that was made for it and is empty is gone again."""
    try:
        folder.mkdir()
    except FileExistsError:
        yield
        return
    try:
        yield
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise
