"""What every JSON report has in common; apart from the reports, so that it needs none of what they are about."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repvgg_onnx.checks.latency import Latency

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


def paired_json(latency: "Latency") -> dict[str, Any]:
    """How two models compare, without their samples."""
    return {
        "verdict": latency.verdict,
        "speedup": latency.speedup,
        "speedup_low": latency.low,
        "speedup_high": latency.high,
        "pairs": latency.pairs,
        "conditions": asdict(latency.conditions),
    }
