"""Is a model faster than others, how sure is that, and what does it take to start?"""

from repvgg_onnx.checks.latency.measuring import LEVEL, Race, benchmark, benchmark_models, measure, require_batches
from repvgg_onnx.checks.latency.memory import Footprint
from repvgg_onnx.checks.latency.noise import obstacles
from repvgg_onnx.checks.latency.racing import race
from repvgg_onnx.checks.latency.results import Conditions, Latencies, Latency, ModelLatency

__all__ = [
    "LEVEL",
    "Conditions",
    "Footprint",
    "Latencies",
    "Latency",
    "ModelLatency",
    "Race",
    "benchmark",
    "benchmark_models",
    "measure",
    "obstacles",
    "race",
    "require_batches",
]
