"""Models of some size to write."""

import numpy as np

from tests.models import unchecked

TEXT = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 48, 5, 7] x) => (float[1, 48, 5, 7] y) {
    a = Conv <pads = [1, 1, 1, 1]> (x, kernel3)
    b = Conv (x, kernel1)
    y = Add (a, b)
}"""
LITTLE = 10_000  # bytes; the fused model is larger, so that it gets a side file where this stands for 2 GB


def training_model(seed=0):
    """Two branches to fold, 93 kB."""
    rng = np.random.default_rng(seed)
    kernels = {f"kernel{size}": rng.standard_normal((48, 48, size, size), np.float32) for size in (3, 1)}
    return unchecked(TEXT, **kernels)
