"""What a file that this tool writes is known by: how its name ends, and what stands in it.

Nothing but the standard library is imported, since names are checked before any work.
"""

import json
import re
from pathlib import Path

DECISIONS = "repvgg-onnx decisions"
"""What a file of decisions has under its key ``format``."""

ENDINGS = {
    "json": (".json",),
    "junit": (".xml",),
    "md": (".md", ".markdown"),
    "html": (".html", ".htm"),
    "sarif": (".sarif", ".json"),
    "plot": (".svg", ".png", ".pdf"),
    "decisions": (".json",),
}
"""Ends of the names of files, in lower case, for each kind of file."""

PICTURE = "repvgg-onnx"
"""The title in the metadata of a picture."""

_HTML = b" repvgg-onnx</title>"
_JUNIT = re.compile(rb'<testsuites\b[^>]*\bname="repvgg-onnx"')
_MARKDOWN = re.compile(rb"<summary>Reproduce</summary>.*\nrepvgg-onnx \S+\s*\Z", re.DOTALL)
_PICTURES = {
    b"\x89PNG": f"tEXtTitle\0{PICTURE}".encode(),
    b"%PDF": f"/Title ({PICTURE})".encode(),
    b"<?xml": f"<title>{PICTURE}</title>".encode(),
}


def ends_as(kind: str, path: Path) -> bool:
    """Whether a name ends as files of a kind do; case does not matter.

    Example:
        >>> ends_as("sarif", Path("checks.sarif.json")), ends_as("json", Path("model.onnx"))
        (True, False)
    """
    return path.suffix.lower() in ENDINGS[kind]


def is_own(kind: str, data: bytes) -> bool:
    """Whether a file holds what this tool wrote: a report of any format, or decisions where it is about these.

    Args:
        kind: a key of ENDINGS.
        data: what the file holds.
    """
    document = _object(data)
    if kind == "decisions":
        return document.get("format") == DECISIONS
    if document:
        return {"schema_version", "tool_version"} <= document.keys() or _is_sarif(document)
    if any(data.startswith(start) and mark in data for start, mark in _PICTURES.items()):
        return True
    return _HTML in data or bool(_JUNIT.search(data) or _MARKDOWN.search(data))


def _object(data: bytes) -> dict[str, object]:
    """The JSON object in a file; an empty one where there is none."""
    if not data.lstrip().startswith(b"{"):
        return {}
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_sarif(document: dict[str, object]) -> bool:
    try:
        return bool(document["runs"][0]["tool"]["driver"]["name"] == "repvgg-onnx")  # type: ignore[index]
    except (KeyError, IndexError, TypeError):
        return False
