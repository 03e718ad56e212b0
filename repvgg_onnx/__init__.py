"""A re-parameterization compiler for ONNX.

It finds every region of a network that is one affine convolution written as many nodes, writes it as one node, and
checks that nothing changed but the speed. Names are imported when they are first used, so that the command line answers
at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from repvgg_onnx.algebra import AffineConv
    from repvgg_onnx.checks.latency import Latencies, Latency, benchmark, benchmark_models
    from repvgg_onnx.checks.parity import Parity, verify
    from repvgg_onnx.errors import (
        CheckError,
        ExtraMissingError,
        GeometryError,
        LiftError,
        ModelError,
        RepvggOnnxError,
    )
    from repvgg_onnx.fleet import FusedFile, fuse_many
    from repvgg_onnx.fusion.decisions import Decisions
    from repvgg_onnx.fusion.results import Refusal, Region
    from repvgg_onnx.graph.load import load_model
    from repvgg_onnx.graph.save import save_model
    from repvgg_onnx.pipeline import Fusion, fuse
    from repvgg_onnx.proof import Proof, prove
    from repvgg_onnx.tuning import Tuning, autotune

__all__ = [
    "AffineConv",
    "CheckError",
    "Decisions",
    "ExtraMissingError",
    "FusedFile",
    "Fusion",
    "GeometryError",
    "Latencies",
    "Latency",
    "LiftError",
    "ModelError",
    "Parity",
    "Proof",
    "Refusal",
    "Region",
    "RepvggOnnxError",
    "Tuning",
    "autotune",
    "benchmark",
    "benchmark_models",
    "fuse",
    "fuse_many",
    "load_model",
    "prove",
    "save_model",
    "verify",
]

_HOMES = {
    "AffineConv": "algebra",
    "CheckError": "errors",
    "Decisions": "fusion.decisions",
    "ExtraMissingError": "errors",
    "FusedFile": "fleet",
    "Fusion": "pipeline",
    "GeometryError": "errors",
    "Latencies": "checks.latency",
    "Latency": "checks.latency",
    "LiftError": "errors",
    "ModelError": "errors",
    "Parity": "checks.parity",
    "Proof": "proof",
    "Refusal": "fusion.results",
    "Region": "fusion.results",
    "RepvggOnnxError": "errors",
    "Tuning": "tuning",
    "autotune": "tuning",
    "benchmark": "checks.latency",
    "benchmark_models": "checks.latency",
    "fuse": "pipeline",
    "fuse_many": "fleet",
    "load_model": "graph.load",
    "prove": "proof",
    "save_model": "graph.save",
    "verify": "checks.parity",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
