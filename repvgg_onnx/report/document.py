"""What every JSON report has in common; apart from the reports, so that it needs none of what they are about.

A report for programs is a frozen Struct whose fields are its keys, in their order; ``schema`` makes the published
schema of them. Most are attributes of a result: ``entry`` derives the Struct from the result's type, which says what
they are and what they mean, and a ``Key`` says so of the others.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Union, cast, get_args, get_origin, get_type_hints

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
    made: ClassVar[Mapping[str, "Key"]] = {}
    """The keys that are no attributes of the result."""

    @classmethod
    def of(cls, result: Any, **given: Any) -> "Self":
        """The keys as they are given, made of the result, or its attributes."""
        taken: dict[str, Any] = {}
        for key in msgspec.structs.fields(cls):
            if key.name not in given:
                made = cls.made.get(key.name)
                taken[key.name] = made.value(result) if made else _taken(key.type, getattr(result, key.name))
        return cls(**taken, **given)


@dataclass(frozen=True)
class Key:
    """A key that the result does not have as an attribute.

    Attributes:
        kind: the type of its value.
        meaning: what it says, in the words of a docstring.
        value: makes it of the result; a key without is given to ``Entry.of``.
    """

    kind: Any
    meaning: str
    value: Callable[[Any], Any] = lambda _: None


def entry(name: str, shows: type | None, about: str, keys: str, /, *parts: type[Entry], **made: Key) -> type[Entry]:
    """The Struct of what a document says of a result.

    Args:
        name: of the Struct, as the schema has it.
        shows: type of the result.
        about: what the Struct is, in a sentence.
        keys: the keys in their order, with spaces between them: attributes of the result, ``key=attribute`` where they
            have another name, and those of ``made``.
        parts: what the results are shown as that the result is made of.
        made: the other keys.
    """
    kinds = (get_type_hints(shows) if shows else {}) | {key: each.kind for key, each in made.items()}
    fields: list[tuple[str, Any, Any]] = []
    for key in keys.split():
        shown, _, attribute = key.rpartition("=")
        if attribute not in kinds:  # a property
            kinds[attribute] = get_type_hints(getattr(shows, attribute).fget)["return"]
        fields.append((attribute, _shown_as(kinds[attribute], parts), msgspec.field(name=shown or attribute)))
    described = "".join(f"\n    {key}: {each.meaning}" for key, each in made.items())
    documented = {"__doc__": f"{about}\n\nAttributes:{described}", "shows": shows, "made": made}
    derived: Any = msgspec.defstruct(name, fields, bases=(Entry,), namespace=documented, frozen=True, kw_only=True)
    return cast("type[Entry]", derived)


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


def _shown_as(kind: Any, parts: tuple[type[Entry], ...]) -> Any:
    """A type in which what one of the entries shows is that entry."""
    for part in parts:
        if kind is part.shows:
            return part
    inner = get_args(kind)
    shown = tuple(_shown_as(each, parts) for each in inner)
    if shown == inner:
        return kind
    origin: Any = get_origin(kind)
    return Union[shown] if type(None) in shown else origin[shown]  # noqa: UP007


def _plain(value: Any) -> Any:
    """What msgspec does not know: other mappings, and numbers and arrays of numpy."""
    return dict(value) if isinstance(value, Mapping) else value.tolist()
