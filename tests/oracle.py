"""onnxruntime as the judge: runs small models, and single convolutions, with its own optimizations off or on."""

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from repvgg_onnx.affine.conv import AffineConv

LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def run(model: onnx.ModelProto, feeds: dict[str, np.ndarray], level: str = "disabled") -> list[np.ndarray]:
    """Outputs of a model under onnxruntime."""
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def error(expected: np.ndarray, actual: np.ndarray) -> float:
    """Normalized error max|a−b| / max|a|."""
    assert expected.shape == actual.shape, (expected.shape, actual.shape)
    if expected.size == 0:
        return 0.0
    a, b = expected.astype(np.float64), actual.astype(np.float64)
    return float(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), 1e-30))


def apply(conv: AffineConv, x: np.ndarray) -> np.ndarray:
    """The map run by onnxruntime as a float32 Conv (or Gemm, without spatial axes)."""
    geometry = conv.geometry
    if geometry.rank == 0:
        node = helper.make_node("Gemm", ["x", "k", "b"], ["y"], transB=1)
        kernel = AffineConv.regroup(conv, 1).kernel
    else:
        kernel = conv.kernel
        node = helper.make_node(
            "Conv",
            ["x", "k", "b"],
            ["y"],
            strides=geometry.strides,
            pads=geometry.pads,
            dilations=geometry.dilations,
            group=geometry.group,
        )
    constants = {"k": kernel.astype(np.float32), "b": conv.bias.astype(np.float32)}
    graph = helper.make_graph(
        [node],
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    return run(model, {"x": x})[0]
