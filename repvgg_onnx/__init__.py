"""A re-parameterization compiler for ONNX.

It finds every region of a network that is one affine convolution written as many nodes, writes it as one node, and
checks that nothing changed but the speed. Names are imported when they are first used, so that the command line answers
at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_NAMES = {
    "affine.conv": ("AffineConv",),
    "checks.latency": ("Latencies", "Latency", "benchmark", "benchmark_models"),
    "checks.parity": ("Parity", "verify"),
    "compiler.decisions": ("Decisions",),
    "compiler.fuse": ("Fusion", "fuse"),
    "compiler.results": ("Refusal", "Region"),
    "errors": ("CheckError", "ExtraMissingError", "GeometryError", "LiftError", "ModelError", "RepvggOnnxError"),
    "graph.load": ("load_model",),
    "graph.save": ("save_model",),
    "workflows.autotune": ("Tuning", "autotune"),
    "workflows.fleet": ("FusedFile", "fuse_many"),
    "workflows.prove": ("Proof", "prove"),
}
"""Every public name, by the module where it lives."""
_HOMES = {name: home for home, names in _NAMES.items() for name in names}
__all__ = sorted(_HOMES)

if TYPE_CHECKING:  # the same names for tools that do not run this; a test holds one to the other
    from repvgg_onnx.affine.conv import AffineConv as AffineConv
    from repvgg_onnx.checks.latency import Latencies as Latencies
    from repvgg_onnx.checks.latency import Latency as Latency
    from repvgg_onnx.checks.latency import benchmark as benchmark
    from repvgg_onnx.checks.latency import benchmark_models as benchmark_models
    from repvgg_onnx.checks.parity import Parity as Parity
    from repvgg_onnx.checks.parity import verify as verify
    from repvgg_onnx.compiler.decisions import Decisions as Decisions
    from repvgg_onnx.compiler.fuse import Fusion as Fusion
    from repvgg_onnx.compiler.fuse import fuse as fuse
    from repvgg_onnx.compiler.results import Refusal as Refusal
    from repvgg_onnx.compiler.results import Region as Region
    from repvgg_onnx.errors import CheckError as CheckError
    from repvgg_onnx.errors import ExtraMissingError as ExtraMissingError
    from repvgg_onnx.errors import GeometryError as GeometryError
    from repvgg_onnx.errors import LiftError as LiftError
    from repvgg_onnx.errors import ModelError as ModelError
    from repvgg_onnx.errors import RepvggOnnxError as RepvggOnnxError
    from repvgg_onnx.graph.load import load_model as load_model
    from repvgg_onnx.graph.save import save_model as save_model
    from repvgg_onnx.workflows.autotune import Tuning as Tuning
    from repvgg_onnx.workflows.autotune import autotune as autotune
    from repvgg_onnx.workflows.fleet import FusedFile as FusedFile
    from repvgg_onnx.workflows.fleet import fuse_many as fuse_many
    from repvgg_onnx.workflows.prove import Proof as Proof
    from repvgg_onnx.workflows.prove import prove as prove


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted((*__all__, "__version__"))
