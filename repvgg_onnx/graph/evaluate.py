"""Runs one node on constants."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from repvgg_onnx.graph.bodies import attributes_of, copy_of, number_of
from repvgg_onnx.graph.budget import Budget
from repvgg_onnx.graph.macs import multiply_adds
from repvgg_onnx.graph.normalize import SMALL
from repvgg_onnx.graph.watch import uninterruptible

AnyArray = NDArray[Any]

# Deterministic operators whose time and memory follow from the sizes of what they read and make. What is left out runs
# subgraphs, works on strings or sequences, or searches.
_MATHS = (
    "Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Celu Clip Cos Cosh CumProd CumSum Elu Erf Exp Floor Gelu "
    "HardSigmoid HardSwish Hardmax IsInf IsNaN LeakyRelu Log LogSoftmax Mish Neg Reciprocal Relu Round Selu Shrink "
    "Sigmoid Sign Sin Sinh Softmax Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu"
)
_PAIRS = (
    "Add And BitShift BitwiseAnd BitwiseOr BitwiseXor Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min "
    "Mod Mul Not Or PRelu Pow Sub Sum Where Xor"
)
_PRODUCTS = "Einsum Gemm MatMul"
_REDUCING = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare"
_NORMALIZING = "Batch Group Instance Layer Lp MeanVariance RMS"
_MAKING = "ArgMax ArgMin Cast ConstantOfShape DequantizeLinear EyeLike OneHot QuantizeLinear Range Shape Size"
_MOVING = (
    "CenterCropPad Concat DepthToSpace Expand Flatten Gather GatherElements GatherND GlobalAveragePool GlobalMaxPool "
    "Identity Pad Reshape Resize ReverseSequence Scatter ScatterElements ScatterND Slice SpaceToDepth Split Squeeze "
    "Tile TopK Transpose Trilu Unsqueeze Upsample"
)
POOLING = frozenset({"AveragePool", "MaxPool"})
WINDOWED = POOLING | {"Conv", "ConvTranspose"}
EVALUATED = WINDOWED | frozenset(
    f"{_MATHS} {_PAIRS} {_PRODUCTS} {_MAKING} {_MOVING}".split()
    + [f"Reduce{kind}" for kind in _REDUCING.split()]
    + [f"{kind}Normalization" for kind in _NORMALIZING.split()]
)
UNKNOWN = 2**63
LEAST = 2**14  # bytes that each evaluation is counted as, so that not only memory is limited but time as well
MACS_A_BYTE = 64  # multiply-adds that take as much of the budget as a byte does
FATAL = 4  # onnxruntime's log level above which it is silent
OLDEST_WITH_ALL_TYPES = 10  # IR version of the models that evaluate one node; runtimes lag behind the newest


def run_node(
    node: onnx.NodeProto,
    inputs: Mapping[str, AnyArray],
    opset_imports: Sequence[onnx.OperatorSetIdProto],
    budget: Budget,
) -> dict[str, AnyArray | None]:
    """Outputs of one node on constant inputs; empty where they are too large or cannot be computed.

    Args:
        node: of ONNX's own domain, without subgraphs.
        inputs: every input by name.
        opset_imports: opsets that give the operator its meaning.
        budget: what the outputs are taken from.
    """
    if node.op_type not in EVALUATED or _traps(node, inputs):
        return {}
    node, names = _complete(node), [name for name in node.output if name]
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
        keeps_shape = node.op_type in ("GroupNormalization", "RMSNormalization")  # unknown to some versions' inference
        shapes = [inputs[node.input[0]].shape] if keeps_shape else _output_shapes(model)
        size = 8 * sum(map(math.prod, shapes)) if shapes else UNKNOWN
        if not budget.spend(max(size, LEAST, _work(node, inputs, shapes) // MACS_A_BYTE)):
            return {}
        feeds = {value.name: np.asarray(inputs[value.name], order="C") for value in graph.input}
        return dict(zip(names, _run(model, names, feeds, fall_back=node.op_type not in WINDOWED), strict=True))
    except Exception:  # whatever cannot be evaluated is not known before the model runs
        return {}


def _complete(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node with the outputs that onnx asks of a BatchNormalization in training mode and that exporters leave out.

    In front of a kernel it standardizes the weights with their own statistics, which is as constant as they are.
    """
    missing = 3 - len(node.output)
    if node.op_type != "BatchNormalization" or not number_of(node, "training_mode") or missing < 1:
        return node
    completed = copy_of(node)
    completed.output.extend(f"{node.output[0]}.statistics.{number}" for number in range(missing))
    return completed


def _run(
    model: onnx.ModelProto, names: Sequence[str], feeds: Mapping[str, AnyArray], *, fall_back: bool
) -> Sequence[AnyArray]:
    """Outputs as onnxruntime computes them, or as onnx itself does where the runtime lacks the operator or the type.

    Args:
        model: a graph of one node.
        names: of its outputs.
        feeds: its inputs.
        fall_back: whether onnx may compute them; its loops over windows are slow.
    """
    try:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = FATAL
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
        outputs: list[AnyArray] = session.run(list(names), dict(feeds))
    except Exception:  # the runtime raises a type of its own for each of its reasons
        if not fall_back:
            raise
        outputs = [np.asarray(each) for each in ReferenceEvaluator(model).run(list(names), dict(feeds))]
    return outputs


def _traps(node: onnx.NodeProto, inputs: Mapping[str, AnyArray]) -> bool:
    """Whether the node divides integers by 0, or the smallest by −1, at which processors stop the process."""
    if node.op_type in WINDOWED:
        return any(min([item.i, *item.ints][item.type != item.INT :], default=1) < 1 for item in _places(node))
    if node.op_type not in ("Div", "Mod") or len(node.input) != 2:
        return False
    divided, divisor = (inputs[name] for name in node.input)
    if divisor.dtype.kind not in "iu":
        return False
    smallest = np.iinfo(divisor.dtype).min
    return bool(np.any(divisor == 0) or (smallest < 0 and np.any(divisor == -1) and np.any(divided == smallest)))


def _places(node: onnx.NodeProto) -> list[onnx.AttributeProto]:
    """Attributes of a windowed operator that it divides by."""
    return [item for item in node.attribute if item.name in ("dilations", "group", "kernel_shape", "strides")]


def _work(node: onnx.NodeProto, inputs: Mapping[str, AnyArray], outputs: Sequence[tuple[int, ...]]) -> int:
    """Multiply-adds of one node, and what pooling adds up or compares.

    Raises:
        IndexError, ValueError: the shapes do not fit the operator.
    """
    if not outputs:
        return 0
    if node.op_type in POOLING:
        window = next((item.ints for item in _places(node) if item.name == "kernel_shape"), ())
        return math.prod(outputs[0]) * math.prod(window)
    shapes = [inputs[name].shape if name else () for name in node.input]
    return multiply_adds(node.op_type, attributes_of(node), shapes, outputs[0])


def _output_shapes(model: onnx.ModelProto) -> list[tuple[int, ...]]:
    """Shapes of all outputs; none where one is not known beforehand.

    Raises:
        InferenceError: the inputs have types that the operator does not take.
    """
    with uninterruptible():
        inferred = onnx.shape_inference.infer_shapes(model, check_type=True, data_prop=True)
    shapes = []
    for value in inferred.graph.output:
        tensor = value.type.tensor_type
        if not tensor.HasField("shape") or any(not dim.HasField("dim_value") for dim in tensor.shape.dim):
            return []
        shapes.append(tuple(dim.dim_value for dim in tensor.shape.dim))
    return shapes


def dense(sparse: onnx.SparseTensorProto, budget: Budget) -> AnyArray | None:
    """The sparse tensor with its zeros; None where those would be too many.

    Args:
        sparse: with indices inside its shape.
        budget: what the zeros are taken from.
    """
    values = numpy_helper.to_array(sparse.values)
    if not budget.spend(math.prod(sparse.dims) * values.dtype.itemsize):
        return None
    indices = numpy_helper.to_array(sparse.indices)
    dense = np.zeros(tuple(sparse.dims), dtype=values.dtype)
    if indices.ndim == 1:
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense
