"""What every JSON report has in common; apart from the reports, so that it needs none of what they are about."""

import json
from typing import Any

SCHEMA_VERSION = 1
"""Version of the format: raised when a key changes its meaning or goes, not when one is added."""


def document(version: str, content: dict[str, Any]) -> str:
    """The text of a document of the current format.

    Args:
        version: version of this package.
        content: what the report has besides.
    """
    return (
        json.dumps({"schema_version": SCHEMA_VERSION, "tool_version": version, **content}, indent=2, allow_nan=False)
        + "\n"
    )
