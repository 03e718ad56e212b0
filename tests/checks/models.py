"""Small models as ONNX parser text; tensors that the text leaves open are filled from a seed."""

import ml_dtypes
import numpy as np
import onnx

from tests.models import unchecked

HEADER = '<ir_version: 10, opset_import: ["" : 21, "ai.onnx.ml" : 3]>'

RELU_BLOCK = """block (float[N,4,5,7] x) => (float[N,6,5,7] y) {
    s = Conv<pads = [1,1,1,1]>(x, kernel, bias)
    y = Relu(s)
}"""
RELU_WEIGHTS = {"kernel": (6, 4, 3, 3), "bias": (6,)}


def model(text: str, weights: dict[str, tuple[int, ...] | np.ndarray] | None = None, dtype=np.float32):
    """Model of a graph in parser text, with initializers: arrays, or shapes to fill with seeded signed values."""
    return unchecked(HEADER + text, dtype=dtype, seed=7, **(weights or {}))


def relu_block() -> onnx.ModelProto:
    return model(RELU_BLOCK, RELU_WEIGHTS)


def without(original: onnx.ModelProto, op_type: str) -> onnx.ModelProto:
    """The model with every node of one operator replaced by Identity."""
    changed = onnx.ModelProto()
    changed.CopyFrom(original)
    for node in changed.graph.node:
        if node.op_type == op_type:
            node.op_type = "Identity"
            del node.attribute[:]
    return changed


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
