"""A report as JSON, for programs: versioned, keys in one order, units in the keys."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from repvgg_onnx.census import Profile
from repvgg_onnx.checks.agreement import Agreement
from repvgg_onnx.checks.bisection import Bisection, TensorParity
from repvgg_onnx.checks.inner import InnerParity
from repvgg_onnx.checks.latency import Latencies, Latency, ModelLatency
from repvgg_onnx.checks.parity import OutputParity, Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.checks.statistics import Timing
from repvgg_onnx.fusion.results import Region
from repvgg_onnx.report.document import document, paired_json
from repvgg_onnx.report.latency import BenchReport
from repvgg_onnx.report.model import FuseReport, ModelFile, Outcome, Verdict
from repvgg_onnx.report.remedy import command
from repvgg_onnx.report.target import target_json
from repvgg_onnx.report.tuning import tuning_json


def fuse_json(report: FuseReport) -> str:
    """The report of ``fuse`` or ``inspect``; numbers that are not finite are null."""
    return document(report.version, _fusion(report))


def many_json(version: str, outcomes: Sequence[Outcome]) -> str:
    """What became of several models, each with what ``fuse_json`` says of it."""
    models = [
        {
            "path": outcome.path,
            "exit_code": outcome.exit_code,
            "error": outcome.error,
            "report": outcome.report and _fusion(outcome.report),
        }
        for outcome in outcomes
    ]
    return document(version, {"models": models})


def parity_json(
    version: str,
    parity: Parity,
    bisection: Bisection | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
) -> str:
    """The comparison of two models, under the key that it has in the report of ``fuse``; and where they differ."""
    content = {"sizes": sizes, "parity": _parity(parity), "bisection": bisection and _bisection(bisection)}
    return document(version, content)


def bench_json(report: BenchReport) -> str:
    """The report of ``bench``; two models under one condition also have the key of ``fuse``, ``latency``."""
    pair = report.blocks[0].latency() if len(report.models) == 2 and len(report.blocks) == 1 else None
    return document(
        report.version,
        {
            "models": report.models,
            "environment": asdict(report.environment),
            "warnings": report.warnings,
            "benchmarks": [_benchmark(block) for block in report.blocks],
            "latency": pair and _latency(pair),
        },
    )


def codes_json(version: str, codes: dict[str, dict[str, str]]) -> str:
    """Refusal codes with their ``meaning`` and ``advice``."""
    return document(version, {"codes": codes})


def _fusion(report: FuseReport) -> dict[str, Any]:
    """What one run of ``fuse`` or ``inspect`` found and did."""
    return {
        "verdict": report.verdict.value,
        "min_speedup": report.min_speedup,
        "max_foldable": report.max_foldable,
        "overridable": report.overridable and asdict(report.overridable),
        "remedy": command(report) if report.verdict is Verdict.FOLDABLE else None,
        "notes": report.notes,
        "remarks": report.remarks,
        "baseline": "input with notes" if report.notes else "input",
        "sizes": report.sizes,
        "before": _model(report.before),
        "after": _model(report.after),
        "regions": [_region(region) for region in report.regions],
        "refusals": [asdict(refusal) for refusal in report.refusals],
        "advice": report.advice,
        "parity": report.parity and _parity(report.parity),
        "region_parities": [_region_parity(parity) for parity in report.region_parities],
        "rolled_back": [_region_parity(parity) for parity in report.rolled_back],
        "decisions": report.tuning and tuning_json(report.tuning),
        "latency": report.latency and _latency(report.latency),
        "warnings": report.warnings,
        "seconds": report.seconds,
        "target": report.target and target_json(report.target),
    }


def _model(model: ModelFile) -> dict[str, Any]:
    """A model file and its census."""
    return {
        "path": model.path,
        "size_bytes": model.size_bytes,
        "nodes": model.census.nodes,
        "nodes_by_op": model.census.nodes_by_op,
        "parameters": model.census.parameters,
        "tensor_bytes": model.census.tensor_bytes,
        "profile": model.profile and _profile(model.profile),
    }


def _profile(profile: Profile) -> dict[str, Any]:
    """What one run of a model takes, and each of its layers."""
    return {
        "inputs": profile.inputs,
        "assumed_inputs": profile.assumed,
        "macs": profile.macs,
        "winograd_multiplications": profile.winograd_multiplications,
        "activation_bytes_read": profile.activation_bytes_read,
        "activation_bytes_written": profile.activation_bytes_written,
        "weight_bytes_read": profile.weight_bytes,
        "peak_activation_bytes": profile.peak_activation_bytes,
        "macs_per_byte": profile.intensity,
        "subgraphs": profile.subgraphs,
        "unknown": profile.unknown,
        "layers": [asdict(layer) for layer in profile.layers],
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
        "noise": _finite(parity.noise),
        "tolerance_reason": parity.tolerance_reason,
        "feeds": parity.feeds,
        "levels": parity.levels,
        "outputs": [_output(output) for output in parity.outputs],
        "agreements": [_agreement(agreement) for agreement in parity.agreements],
        "inner": [_inner(tensor) for tensor in parity.inner],
        "remarks": parity.remarks,
    }


def _region_parity(parity: RegionParity) -> dict[str, Any]:
    """The comparison of one region; a bound of null is none."""
    content = asdict(parity) | {"passed": parity.passed}
    return content | {key: _finite(content[key]) for key in ("error", "bound", "used", "noise")}


def _output(output: OutputParity) -> dict[str, Any]:
    """The comparison of one output."""
    finite = {key: _finite(getattr(output, key)) for key in ("error", "noise")}
    return asdict(output) | finite | {"remark": output.remark}


def _inner(tensor: InnerParity) -> dict[str, Any]:
    """The comparison of one tensor inside, from the original's values before it."""
    finite = {key: _finite(getattr(tensor, key)) for key in ("error", "noise", "limit")}
    return asdict(tensor) | finite | {"passed": tensor.passed}


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
    return paired_json(latency) | {"before": _timing(latency.before), "after": _timing(latency.after)}


def _benchmark(block: Latencies) -> dict[str, Any]:
    """Every model under one condition; samples are nanoseconds, a list for each session."""
    ends = np.cumsum([len(leg) for leg in block.legs])[:-1]
    return {
        "batch": block.conditions.batch,
        "conditions": asdict(block.conditions),
        "rounds": block.rounds,
        "warnings": block.warnings,
        "models": [_model_latency(model, ends, baseline=index == 0) for index, model in enumerate(block.models)],
    }


def _model_latency(model: ModelLatency, ends: npt.NDArray[np.int_], *, baseline: bool) -> dict[str, Any]:
    """The figures of one model; of the one that ratios refer to, the ratio is null."""
    timing, ratio, footprint = model.timing, model.ratio, model.footprint
    return {
        "median_ns": timing.median_ns,
        "iqr_ns": timing.iqr_ns,
        "p95_ns": timing.p95_ns,
        "examples_per_second": model.throughput,
        "speedup": None if baseline else ratio.speedup,
        "speedup_low": None if baseline else ratio.low,
        "speedup_high": None if baseline else ratio.high,
        "verdict": None if baseline else ratio.verdict,
        "session_creation_median_ns": model.creation_median_ns,
        "session_creation_ns": model.creation_ns,
        "memory": footprint and asdict(footprint) | {"added_bytes": footprint.added_bytes},
        "samples_ns": [leg.tolist() for leg in np.split(np.array(timing.samples_ns), ends)],
    }


def _timing(timing: Timing) -> dict[str, Any]:
    """The times of one model."""
    return asdict(timing)


def _finite(number: float) -> float | None:
    """The number, or None where JSON has no word for it."""
    return number if math.isfinite(number) else None
