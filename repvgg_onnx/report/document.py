"""What every JSON report has in common; apart from the reports, so that it needs none of what they are about.

A report for programs is a frozen Struct whose fields are its keys, in their order; ``schema`` makes the published
schema of them. Most are attributes of a result by the same name: ``of`` takes those, and is given the others.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import msgspec

if TYPE_CHECKING:
    from typing_extensions import Self

SCHEMA_VERSION: Literal[1] = 1
"""Version of the format: raised when a key changes its meaning or goes, not when one is added."""


class Header(msgspec.Struct, frozen=True):
    """What every document begins with.

    Attributes:
        schema_version: version of this format.
        tool_version: version of repvgg-onnx.
    """

    schema_version: Literal[1]
    tool_version: str


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What a document says of a result."""

    shows: ClassVar[type | None] = None
    """The type of the result; its docstring describes the keys that are not described here."""

    @classmethod
    def of(cls, result: Any, **given: Any) -> "Self":
        """The keys as they are given, and the others as attributes of the result."""
        keys = msgspec.structs.fields(cls)
        taken = {key.name: _taken(key.type, getattr(result, key.name)) for key in keys if key.name not in given}
        return cls(**taken, **given)


def document(version: str, entry: Entry) -> str:
    """The text of a document of the current format; numbers that are not finite are null.

    Args:
        version: version of this package.
        entry: what the report has besides.
    """
    content = msgspec.to_builtins(Header(SCHEMA_VERSION, version)) | msgspec.to_builtins(entry, enc_hook=_plain)
    # By way of Python's own encoder: names that are not valid Unicode, such as those of some files, can be written so.
    finite = json.loads(json.dumps(content), parse_constant=lambda _: None)
    return json.dumps(finite, indent=2, allow_nan=False) + "\n"


def _taken(kind: Any, value: Any) -> Any:
    """An attribute as a field of a type takes it: what is an entry there is made one."""
    entries = [each for each in (kind, *get_args(kind)) if isinstance(each, type) and issubclass(each, Entry)]
    if not entries or value is None:
        return value
    return tuple(map(entries[0].of, value)) if isinstance(value, tuple) else entries[0].of(value)


def _plain(value: Any) -> Any:
    """What msgspec does not know: other mappings, and numbers and arrays of numpy."""
    return dict(value) if isinstance(value, Mapping) else value.tolist()
