"""A re-parameterization compiler for ONNX.

It finds every region of a network that is one affine convolution written as many nodes, writes it as one node, and
checks that nothing changed but the speed. Names are imported when they are first used, so that the command line answers
at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from repvgg_onnx.affine.conv import AffineConv
    from repvgg_onnx.checks.latency import Latencies, Latency, benchmark, benchmark_models
    from repvgg_onnx.checks.parity import Parity, verify
    from repvgg_onnx.compiler.decisions import Decisions
    from repvgg_onnx.compiler.fuse import Fusion, fuse
    from repvgg_onnx.compiler.results import Refusal, Region
    from repvgg_onnx.errors import (
        CheckError,
        ExtraMissingError,
        GeometryError,
        LiftError,
        ModelError,
        RepvggOnnxError,
    )
    from repvgg_onnx.graph.load import load_model
    from repvgg_onnx.graph.save import save_model
    from repvgg_onnx.workflows.autotune import Tuning, autotune
    from repvgg_onnx.workflows.fleet import FusedFile, fuse_many
    from repvgg_onnx.workflows.prove import Proof, prove

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
    "AffineConv": "affine.conv",
    "CheckError": "errors",
    "Decisions": "compiler.decisions",
    "ExtraMissingError": "errors",
    "FusedFile": "workflows.fleet",
    "Fusion": "compiler.fuse",
    "GeometryError": "errors",
    "Latencies": "checks.latency",
    "Latency": "checks.latency",
    "LiftError": "errors",
    "ModelError": "errors",
    "Parity": "checks.parity",
    "Proof": "workflows.prove",
    "Refusal": "compiler.results",
    "Region": "compiler.results",
    "RepvggOnnxError": "errors",
    "Tuning": "workflows.autotune",
    "autotune": "workflows.autotune",
    "benchmark": "checks.latency",
    "benchmark_models": "checks.latency",
    "fuse": "compiler.fuse",
    "fuse_many": "workflows.fleet",
    "load_model": "graph.load",
    "prove": "workflows.prove",
    "save_model": "graph.save",
    "verify": "checks.parity",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
