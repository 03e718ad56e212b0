"""Settings in a file: found upward from a folder as linters do, with sections for models by glob."""

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from repvgg_onnx.errors import CheckError

FILE_NAMES = ("repvgg-onnx.toml", "pyproject.toml")
"""What is looked for in each folder, the first one first."""
TABLE = ("tool", "repvgg-onnx")
"""Where the settings are in ``pyproject.toml``; in any other file they are the whole of it."""
MODELS = "models"
"""Key of the table of sections, whose keys are globs."""


@dataclass(frozen=True)
class Configuration:
    """What a file of settings says; nothing about the values has been checked.

    Attributes:
        path: the file.
        values: settings of every model, by key.
        models: settings of the models that a glob matches, by glob, in the file's order.
    """

    path: Path
    values: Mapping[str, Any]
    models: Mapping[str, Mapping[str, Any]]

    @property
    def folder(self) -> Path:
        """What paths and globs in the file are relative to."""
        return self.path.parent

    def sections(self, model: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The globs that match a model, each with its settings, in the file's order: a later one wins.

        A glob with a slash is about the path from the file's folder, or about the whole path if it begins with one, and
        ``*`` stands for slashes too; one without is about the name of the model alone.
        """
        for glob, values in self.models.items():
            subject = model.name
            if "/" in glob:
                absolute = Path(glob).is_absolute()
                subject = Path(os.path.abspath(model) if absolute else os.path.relpath(model, self.folder)).as_posix()
            if fnmatchcase(subject, glob.removeprefix("./")):
                yield glob, values

    def name(self, *keys: str) -> str:
        """A key in full, behind the name of the file, as messages have it."""
        table = TABLE if self.path.name == FILE_NAMES[1] else ()
        return f"{self.path}: {'.'.join(_quoted(key) for key in (*table, *keys))}"


def find_configuration(start: Path) -> Configuration | None:
    """The settings of the nearest folder that has some, from ``start`` upward; None where there are none.

    Raises:
        CheckError: a file that may hold them cannot be read or is not TOML.
    """
    for folder in (start, *start.parents):
        for path in (folder / name for name in FILE_NAMES):
            if os.path.isfile(path) and (table := _table(path)) is not None:  # not in folders that one may not enter
                return _configuration(path, table)
    return None


def read_configuration(path: Path) -> Configuration:
    """The settings of a file.

    Raises:
        CheckError: it cannot be read, is not TOML, or is a ``pyproject.toml`` without settings.
    """
    path = path.absolute()
    table = _table(path)
    if table is None:
        raise CheckError(f"{path}: has no table [{'.'.join(TABLE)}]")
    return _configuration(path, table)


def require_known(configuration: Configuration, known: Collection[str], once: Collection[str]) -> None:
    """Every key is one of those that are known.

    Args:
        configuration: what to look through.
        known: keys that there are.
        once: those among them that are about a whole run, and so not for some models.

    Raises:
        CheckError: the first key that is not, and which one is probably meant.
    """
    for key in configuration.values:
        _require(key, {*known, MODELS}, configuration.name(key))
    for glob, values in configuration.models.items():
        for key in values:
            _require(key, known, name := configuration.name(MODELS, glob, key))
            if key in once:
                raise CheckError(f"{name}: is about a whole run and cannot be set for some models")


def _require(key: str, known: Collection[str], name: str) -> None:
    if key not in known:
        from difflib import get_close_matches  # late, since hardly any start needs it

        near = get_close_matches(key.lower().replace("_", "-"), sorted(known), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "keys are the long names of options"
        raise CheckError(f"{name}: unknown key; {hint}")


def _table(path: Path) -> Any:
    """The table of settings in a file; None where a ``pyproject.toml`` has none."""
    document: Any = _parsed(path)
    if path.name == FILE_NAMES[1]:
        for key in TABLE:
            document = document.get(key) if isinstance(document, dict) else None
    return document


def _parsed(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        document: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise CheckError(f"{path}: is not TOML: {error}") from error
    return document


def _configuration(path: Path, table: Any) -> Configuration:
    bare = Configuration(path, {}, {})
    if not isinstance(table, dict):
        raise CheckError(f"{bare.name()}: must be a table")
    models = table.get(MODELS, {})
    if not isinstance(models, dict) or not all(isinstance(values, dict) for values in models.values()):
        raise CheckError(f"{bare.name(MODELS)}: must be a table of sections, one for each glob of models")
    return Configuration(path, {key: value for key, value in table.items() if key != MODELS}, models)


def _quoted(key: str) -> str:
    """A key as TOML has it: in quotes where it needs them."""
    return key if key.replace("-", "").replace("_", "").isalnum() else f'"{key}"'
