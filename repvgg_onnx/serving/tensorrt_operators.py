"""What TensorRT's ONNX parser says it accepts, as data.

Source: ``docs/operators.md`` of https://github.com/onnx/onnx-tensorrt for TensorRT 10.15. TensorRT itself is not asked.
"""

RELEASE = "TensorRT 10.15"
FIRST_OPSET, LAST_OPSET = 9, 24

_FLOATS = "FLOAT FLOAT16 BFLOAT16"
_NUMBERS = f"{_FLOATS} INT32 INT64"
_ANY = f"{_NUMBERS} BOOL"
_CONSTANTS = f"{_ANY} FLOAT8E4M3FN FLOAT4E2M1 INT4"

_BY_TYPES = {
    _FLOATS: """
        Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv ConvTranspose Cos Cosh
        CumSum Dropout Einsum Elu Erf Exp Floor GRU Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool GroupNormalization
        HardSigmoid HardSwish Hardmax ImageScaler InstanceNormalization IsInf LRN LSTM LayerNormalization LeakyRelu
        Log LogSoftmax LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization PRelu ParametricSoftplus
        QuantizeLinear RMSNormalization RNN RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal
        Resize RotaryEmbedding Round ScaledTanh Scan Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh
        ThresholdedRelu Upsample
    """,
    _NUMBERS: """
        Abs Add ArgMax ArgMin DepthToSpace Div Equal Greater GreaterOrEqual IsNaN Less LessOrEqual Max Min Mod Mul Neg
        Pad Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare Relu Scatter ScatterElements ScatterND Shrink Sign SpaceToDepth Sub Sum TopK
    """,
    _ANY: """
        Concat Expand EyeLike Flatten Gather GatherElements GatherND Identity If Loop OneHot Reshape ReverseSequence
        Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze Where
    """,
    f"{_ANY} UINT8": "Cast CastLike",
    _CONSTANTS: "Constant ConstantOfShape",
    "BOOL": "And Not Or Xor",
    "FLOAT": "STFT",
    "FLOAT FLOAT16": """
        BlackmanWindow DeformConv GridSample HammingWindow HannWindow Mish NonMaxSuppression NonZero RoiAlign
    """,
    f"{_FLOATS} INT32": "TensorScatter",
    f"{_FLOATS} INT8 FLOAT8E4M3FN": "Attention",
    f"{_NUMBERS} INT8": "Gelu",
    f"{_NUMBERS} FLOAT8E4M3FN": "Mean",
    "INT8 FLOAT8E4M3FN FLOAT4E2M1 INT4": "DequantizeLinear",
}
TYPES = {op_type: frozenset(types.split()) for types, op_types in _BY_TYPES.items() for op_type in op_types.split()}
"""Operators that are accepted, and the types of their data."""

PORT_TYPES = frozenset(_CONSTANTS.split()) | {"INT8", "UINT8", "DOUBLE"}
"""Types of inputs and outputs of the network; DOUBLE is computed as FLOAT."""

RESTRICTIONS = {
    "Attention": "queries, keys, values and mask have four axes; no cache, no soft cap",
    "AveragePool": "two or three spatial axes, no dilations",
    "CumSum": "the axis is a constant",
    "DeformConv": "one or two spatial axes, the same pads at both ends",
    "DequantizeLinear": "the zero point is 0",
    "Dropout": "in inference mode",
    "EyeLike": "the input has fixed sizes",
    "GRU": "the same activations in both directions",
    "GridSample": "the input has four axes",
    "Hardmax": "the size of the axis is a constant",
    "If": "outputs of both branches have the same rank and other names",
    "LSTM": "the same activations in both directions; input_forget and layout are 0",
    "LayerNormalization": "only the first output is used",
    "Loop": "scan outputs have a fixed length, and carried values keep their shape",
    "LpPool": "no dilations",
    "MaxPool": "two or three spatial axes, no indices, no dilations",
    "OneHot": "the depth is a constant",
    "QuantizeLinear": "the zero point is 0",
    "RNN": "the same activations in both directions",
    "RandomNormal": "the seed is ignored",
    "RandomNormalLike": "the seed is ignored",
    "RandomUniform": "the seed is ignored",
    "RandomUniformLike": "the seed is ignored",
    "Resize": "nearest or linear, without antialiasing, stretching to the size",
    "RotaryEmbedding": "position_ids are INT64",
    "STFT": "the signal is real, frame_step and window are constants",
    "ScatterND": "no reduction",
    "Squeeze": "the axes are constants",
    "TensorScatter": "four axes, along axis -2",
    "TopK": "sorted, fewer than 3840",
    "Unsqueeze": "the axes are constants",
} | {op_type: "the axes are constants" for op_type in TYPES if op_type.startswith("Reduce")}
"""What is asked beyond that."""
