"""A report as JSON, for programs: versioned, keys in one order, units in the keys."""

import json
import math
from dataclasses import asdict
from typing import Any

from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import OutputParity, Parity
from repvgg_onnx.checks.statistics import Timing
from repvgg_onnx.fusion.results import Region
from repvgg_onnx.report.model import FuseReport, ModelFile

SCHEMA_VERSION = 1
"""Version of the format: raised when a key changes its meaning or goes, not when one is added."""


def fuse_json(report: FuseReport) -> str:
    """The report of ``fuse`` or ``inspect``; numbers that are not finite are null."""
    return _document(
        report.version,
        {
            "verdict": report.verdict.value,
            "min_speedup": report.min_speedup,
            "notes": report.notes,
            "baseline": "input with notes" if report.notes else "input",
            "before": _model(report.before),
            "after": _model(report.after),
            "regions": [_region(region) for region in report.regions],
            "refusals": [asdict(refusal) for refusal in report.refusals],
            "advice": report.advice,
            "parity": report.parity and _parity(report.parity),
            "latency": report.latency and _latency(report.latency),
        },
    )


def parity_json(version: str, parity: Parity) -> str:
    """The comparison of two models, under the key that it has in the report of ``fuse``."""
    return _document(version, {"parity": _parity(parity)})


def latency_json(version: str, latency: Latency) -> str:
    """The times of two models, under the key that they have in the report of ``fuse``."""
    return _document(version, {"latency": _latency(latency)})


def codes_json(version: str, codes: dict[str, dict[str, str]]) -> str:
    """Refusal codes with their ``meaning`` and ``advice``."""
    return _document(version, {"codes": codes})


def _document(version: str, content: dict[str, Any]) -> str:
    """The text of a document of the current format."""
    document = {"schema_version": SCHEMA_VERSION, "tool_version": version, **content}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _model(model: ModelFile) -> dict[str, Any]:
    """A model file and its census."""
    return {
        "path": model.path,
        "size_bytes": model.size_bytes,
        "nodes": model.census.nodes,
        "nodes_by_op": model.census.nodes_by_op,
        "parameters": model.census.parameters,
        "tensor_bytes": model.census.tensor_bytes,
    }


def _region(region: Region) -> dict[str, Any]:
    """A region with its members, geometry and costs."""
    content = asdict(region)
    for when in ("before", "after"):
        cost = content.pop(f"cost_{when}")
        content[f"macs_{when}"] = cost["macs"]
        content[f"moved_bytes_{when}"] = cost["bytes"]
    content["saving"] = region.cost_before.total - region.cost_after.total
    return content


def _parity(parity: Parity) -> dict[str, Any]:
    """The comparison of all outputs."""
    return {
        "passed": parity.passed,
        "error": _finite(parity.error),
        "tolerance_reason": parity.tolerance_reason,
        "feeds": parity.feeds,
        "levels": parity.levels,
        "outputs": [_output(output) for output in parity.outputs],
    }


def _output(output: OutputParity) -> dict[str, Any]:
    """The comparison of one output."""
    return asdict(output) | {"error": _finite(output.error)}


def _latency(latency: Latency) -> dict[str, Any]:
    """The paired measurement, with every sample."""
    return {
        "verdict": latency.verdict,
        "speedup": latency.speedup,
        "speedup_low": latency.low,
        "speedup_high": latency.high,
        "pairs": latency.pairs,
        "conditions": asdict(latency.conditions),
        "before": _timing(latency.before),
        "after": _timing(latency.after),
    }


def _timing(timing: Timing) -> dict[str, Any]:
    """The times of one model."""
    return asdict(timing)


def _finite(number: float) -> float | None:
    """The number, or None where JSON has no word for it."""
    return number if math.isfinite(number) else None
