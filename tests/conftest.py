"""Shared test settings: reproducible property tests, and the seed first."""

import os

import pytest
from hypothesis import HealthCheck, settings

# Before torch and onnxruntime are loaded; workers of a parallel run inherit it. One thread per worker, and large
# buffers are kept: a third of the time of the largest networks would go into page faults.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", "4294967296")
os.environ.setdefault("MALLOC_TRIM_THRESHOLD_", "34359738368")
os.environ.setdefault("MALLOC_TOP_PAD_", "67108864")

settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    max_examples=int(os.environ.get("REPVGG_ONNX_EXAMPLES", "60")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
settings.load_profile("default")


@pytest.fixture
def registry():
    """Operators that a test adds are taken away again."""
    from repvgg_onnx.compiler.lifters import LIFTERS
    from repvgg_onnx.graph.macs import PRODUCTS

    tables = (LIFTERS, PRODUCTS)
    before = [dict(table) for table in tables]
    yield
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)
