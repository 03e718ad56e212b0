"""The schema of the JSON reports, made of their types; ``python -m repvgg_onnx.report.schema`` prints it.

What a key means stands where its value is born: in the docstring of the result's type, or of the document's.
"""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, get_args, get_type_hints

import msgspec

from repvgg_onnx.report.checked import BenchEntry, VerifyEntry
from repvgg_onnx.report.diagnosis import DiagnosisEntry
from repvgg_onnx.report.document import SCHEMA_VERSION, Entry, Header
from repvgg_onnx.report.machine import CodesEntry, FuseEntry, ManyEntry

DOCUMENTS: tuple[type[Entry], ...] = (FuseEntry, ManyEntry, VerifyEntry, BenchEntry, CodesEntry, DiagnosisEntry)
"""What can stand in a document behind its header."""

_ATTRIBUTE = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def schema() -> dict[str, Any]:
    """The JSON Schema of every report."""
    kinds = {kind.__name__: kind for document in (Header, *DOCUMENTS) for kind in _kinds(document)}
    _, found = msgspec.json.schema_components((Header, *DOCUMENTS), ref_template="#/$defs/{name}")
    parts = {name: _closed(_nullable(part), kinds.get(name)) for name, part in found.items()}
    header = parts.pop(Header.__name__)
    bodies = [parts[kind.__name__] if kind is FuseEntry else parts.pop(kind.__name__) for kind in DOCUMENTS]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:repvgg-onnx:report:{SCHEMA_VERSION}",
        "title": "Report of repvgg-onnx",
        "description": f"What --json and --report json: write, format {SCHEMA_VERSION}. Errors are normalized, "
        "max|a-b| / max|a|; numbers that are not finite are null.",
        "oneOf": [
            {
                **body,
                "properties": header["properties"] | body["properties"],
                "required": header["required"] + body["required"],
            }
            for body in bodies
        ],
        "$defs": parts,
    }


def _kinds(kind: Any) -> Iterator[type]:
    """The types with keys of which a type is made, itself among them."""
    for part in get_args(kind):
        yield from _kinds(part)
    if isinstance(kind, type) and (is_dataclass(kind) or issubclass(kind, msgspec.Struct)):
        yield kind
        for part in get_type_hints(kind).values():
            yield from _kinds(part)


def _nullable(part: Any) -> Any:
    """A schema in which every number may be null, as those are that are not finite."""
    if isinstance(part, dict):
        return {key: ["number", "null"] if value == "number" else _nullable(value) for key, value in part.items()}
    return [_nullable(item) for item in part] if isinstance(part, list) else part


def _closed(part: dict[str, Any], kind: type | None) -> dict[str, Any]:
    """The schema of a type: it has all of its keys, each described, and no other."""
    if kind is None:
        return part
    is_entry = issubclass(kind, msgspec.Struct)
    names = {key.encode_name: key.name for key in msgspec.structs.fields(kind)} if is_entry else {}
    words = _words(kind)
    keys = {key: value | {"description": words[names.get(key, key)]} for key, value in part["properties"].items()}
    for value in keys.values():
        value.pop("default", None)  # of the type; a document has every key
    return {
        "type": "object",
        "description": _joined((inspect.getdoc(kind) or "").partition("\n\n")[0]),
        "properties": keys,
        "required": list(keys),
        "additionalProperties": False,
    }


def _words(kind: type) -> dict[str, str]:
    """What the attributes and properties of a type mean; of an entry, those of what it shows too."""
    shown = getattr(kind, "shows", None)
    words = {} if shown is None else _words(shown)
    for name, value in vars(kind).items():
        if isinstance(value, property):
            words[name] = _joined((inspect.getdoc(value) or "").partition("\n")[0])
    return words | {name: _joined(text) for name, text in _ATTRIBUTE.findall(inspect.getdoc(kind) or "")}


def _joined(text: str) -> str:
    """A sentence on one line, in the words of JSON."""
    line = " ".join(text.split()).replace("None", "null").replace("``", "'")
    return line[:1].upper() + line[1:]


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
