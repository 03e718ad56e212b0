"""Runs one node on constants."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from repvgg_onnx.graph.normalize import SMALL

AnyArray = NDArray[Any]

LARGEST_EXPRESSION = 512 * 2**20  # bytes of one evaluated constant
FATAL = 4  # onnxruntime's log level above which it is silent
OLDEST_WITH_ALL_TYPES = 10  # IR version of the models that evaluate one node; runtimes lag behind the newest


def run_node(
    node: onnx.NodeProto, inputs: Mapping[str, AnyArray], opset_imports: Sequence[onnx.OperatorSetIdProto]
) -> dict[str, AnyArray | None]:
    """Outputs of one node on constant inputs; empty where they are too large or cannot be computed.

    Args:
        node: of ONNX's own domain, without subgraphs.
        inputs: every input by name.
        opset_imports: opsets that give the operator its meaning.
    """
    graph = helper.make_graph(
        [node], "constant", [], [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    )
    for name, value in inputs.items():
        if value.size <= SMALL:
            graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        else:
            elem_type = helper.np_dtype_to_tensor_dtype(value.dtype)
            graph.input.append(helper.make_tensor_value_info(name, elem_type, value.shape))
    model = helper.make_model(graph, opset_imports=opset_imports, ir_version=OLDEST_WITH_ALL_TYPES)
    try:
        if _largest_output(model) > LARGEST_EXPRESSION:
            return {}
        feeds = {value.name: np.asarray(inputs[value.name], order="C") for value in graph.input}
        names = [name for name in node.output if name]
        return dict(zip(names, _run(model, names, feeds), strict=True))
    except Exception:  # whatever cannot be evaluated is not known before the model runs
        return {}


def _run(model: onnx.ModelProto, names: Sequence[str], feeds: Mapping[str, AnyArray]) -> Sequence[AnyArray]:
    """Outputs as onnxruntime computes them, or as onnx itself does where the runtime lacks the operator or the type."""
    try:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = FATAL
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        outputs: list[AnyArray] = session.run(list(names), dict(feeds))
    except Exception:  # the runtime raises a type of its own for each of its reasons
        outputs = [np.asarray(each) for each in ReferenceEvaluator(model).run(list(names), dict(feeds))]
    return outputs


def _largest_output(model: onnx.ModelProto) -> float:
    """Bytes of the largest output; infinite where its shape is not known beforehand."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    sizes = [0.0]
    for value in inferred.graph.output:
        tensor = value.type.tensor_type
        if not tensor.HasField("shape") or any(not dim.HasField("dim_value") for dim in tensor.shape.dim):
            return float("inf")
        sizes.append(8.0 * float(np.prod([dim.dim_value for dim in tensor.shape.dim], dtype=np.float64)))
    return max(sizes)


def dense(sparse: onnx.SparseTensorProto) -> AnyArray:
    """The sparse tensor with its zeros."""
    values = numpy_helper.to_array(sparse.values)
    indices = numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
    if indices.ndim == 1:
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense
