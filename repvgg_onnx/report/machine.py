"""A report as JSON, for programs: versioned, keys in one order, units in the keys."""

import json
import math
from dataclasses import asdict
from typing import Any

from repvgg_onnx.checks.agreement import Agreement
from repvgg_onnx.checks.bisection import Bisection, TensorParity
from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.checks.parity import OutputParity, Parity
from repvgg_onnx.checks.regions import RegionParity
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
            "region_parities": [_region_parity(parity) for parity in report.region_parities],
            "rolled_back": [_region_parity(parity) for parity in report.rolled_back],
            "latency": report.latency and _latency(report.latency),
        },
    )


def parity_json(version: str, parity: Parity, bisection: Bisection | None = None) -> str:
    """The comparison of two models, under the key that it has in the report of ``fuse``; and where they differ."""
    return _document(version, {"parity": _parity(parity), "bisection": bisection and _bisection(bisection)})


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
        "agreements": [_agreement(agreement) for agreement in parity.agreements],
    }


def _region_parity(parity: RegionParity) -> dict[str, Any]:
    """The comparison of one region; a bound of null is none."""
    content = asdict(parity) | {"passed": parity.passed}
    return content | {key: _finite(content[key]) for key in ("error", "bound", "used")}


def _output(output: OutputParity) -> dict[str, Any]:
    """The comparison of one output."""
    return asdict(output) | {"error": _finite(output.error)}


def _agreement(agreement: Agreement) -> dict[str, Any]:
    """The classes that two models choose; the accuracies are null where no labels are known."""
    content = asdict(agreement)
    for side in ("before", "after"):
        content[side] = content[side] if content[side]["rows"] else None
    return content


def _bisection(bisection: Bisection) -> dict[str, Any]:
    """Where two models begin to differ, and every tensor that was compared."""
    return {
        "obstacle": bisection.obstacle,
        "tolerance": bisection.tolerance,
        "tolerance_reason": bisection.tolerance_reason,
        "feeds": bisection.feeds,
        "level": bisection.level,
        "origins": [tensor.name for tensor in bisection.origins],
        "tensors": [_tensor(tensor) for tensor in bisection.tensors],
    }


def _tensor(tensor: TensorParity) -> dict[str, Any]:
    """The comparison of one inner tensor."""
    return asdict(tensor) | {"error": _finite(tensor.error), "error_of_inputs": _finite(tensor.error_of_inputs)}


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
