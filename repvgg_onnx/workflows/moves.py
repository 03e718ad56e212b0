"""Maps that stand elsewhere as parts of models: what the original computes there, and a bound on the difference."""

import math
from collections.abc import Collection, Mapping
from functools import partial

import numpy as np
import onnx
from onnx import helper, numpy_helper

from repvgg_onnx.affine.roundings import BESIDE
from repvgg_onnx.checks.regions import Piece
from repvgg_onnx.compiler.results import Region
from repvgg_onnx.graph.bodies import STANDARD_DOMAINS, subgraphs
from repvgg_onnx.graph.cut import Cutter
from repvgg_onnx.graph.normalize import TensorType

FLOATS = frozenset({onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16})
_FEW = 4  # roundings of an element-wise operator, or of a value between two others
_RESIZED = 16  # of a value between 4 x 4 others, and of their weights
_SAME = frozenset(
    {
        *("Add", "AveragePool", "BatchNormalization", "Cast", "Concat", "Constant", "Conv", "ConvTranspose", "Div"),
        *("Dropout", "Expand"),
        *("Flatten", "Gather", "Gemm", "GlobalAveragePool", "Identity", "MatMul", "Mean", "Mul", "ReduceMean"),
        *("Reshape", "Resize", "Shape", "Slice", "Split", "Squeeze", "Sum", "Transpose", "Unsqueeze", "Upsample"),
    }
)
"""What computes sizes from sizes, as long as nothing but its weights may be negative."""
_REPLACED = {"Neg": "Identity", "Sub": "Add"}


def piece_of(
    original: Cutter, fused: Cutter, own: Collection[str], region: Region, types: Mapping[str, TensorType]
) -> Piece | None:
    """A map that stands elsewhere, from the nearest tensors that the original has too; None where there are none.

    Args:
        original: cuts the original.
        fused: cuts what was made of it.
        own: names of tensors that the original has, each of which means the same in both.
        region: what was moved.
        types: of the original's tensors.
    """
    if not original.makes(region.sink) or not fused.makes(region.sink) or region.sink not in types:
        return None
    stop = {name for name in own if name in types and types[name].elem_type in FLOATS} - {region.sink}
    _, ends = fused.back_from([region.sink], stop)
    roots = tuple(sorted(ends & stop))
    if not roots:
        return None
    inputs = [helper.make_tensor_value_info(name, types[name].elem_type, None) for name in roots]
    sink = [helper.make_tensor_value_info(region.sink, types[region.sink].elem_type, None)]
    part = original.cut(inputs, sink)
    model = fused.cut(inputs, sink)
    counted = [_roundings(each, types) for each in (part, model)]
    majorant = _sizes_of(part, types) if None not in counted else None
    roundings = sum(count or 0 for count in counted)
    before = partial(original.cut, inputs, sink)
    return Piece(region.name, roots, region.sink, model, majorant, roundings, before)


def _roundings(part: onnx.ModelProto, types: Mapping[str, TensorType]) -> int | None:
    """Roundings of all nodes, each of them once; None where the length of a sum is not known."""
    dims = {name: known.static_shape for name, known in types.items() if known.static_shape}
    dims |= {tensor.name: tuple(tensor.dims) for tensor in part.graph.initializer}
    total = 0
    for node in part.graph.node:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            weights = dims.get(node.input[1])
            if weights is None or len(weights) < 2:
                return None
            total += math.prod(weights) // max(min(weights[:2]), 1) + BESIDE
        elif node.op_type in ("GlobalAveragePool", "ReduceMean"):
            known = types.get(node.input[0])
            sizes = None if known is None else known.static_shape
            if sizes is None:
                return None
            total += math.prod(sizes[1:]) + BESIDE
        elif node.op_type == "AveragePool":
            window = next(tuple(each.ints) for each in node.attribute if each.name == "kernel_shape")
            total += math.prod(window) + BESIDE
        else:
            total += _RESIZED if node.op_type in ("Resize", "Upsample") else _FEW
    return total


def _sizes_of(part: onnx.ModelProto, types: Mapping[str, TensorType]) -> onnx.ModelProto | None:
    """The part with every weight's absolute value, in float32; None where an operator is not known to go along.

    Applied to absolute values it bounds every intermediate result in any order of evaluation. Cubic weights are
    negative in places, and no operator has their absolute values.
    """
    model = onnx.ModelProto()
    model.CopyFrom(part)
    graph = model.graph
    if graph.sparse_initializer or any(_is_unknown(node) for node in graph.node):
        return None
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in _REPLACED:
            known = types.get(node.output[0])
            if known is None or known.elem_type not in FLOATS:  # shapes are differences as they are
                return None
            node.op_type = _REPLACED[node.op_type]
        if node.op_type == "BatchNormalization":  # the mean is subtracted
            mean = stored.get(node.input[3])
            if mean is None:
                return None
            node.input[3] = f"{node.output[0]}.mean"
            lower = -np.abs(numpy_helper.to_array(mean).astype(np.float32))
            graph.initializer.append(numpy_helper.from_array(lower, node.input[3]))
        for attribute in node.attribute:
            if attribute.name in ("alpha", "beta"):
                attribute.f = abs(attribute.f)
            elif attribute.type == onnx.AttributeProto.TENSOR:
                _take_sizes(attribute.t)
    for tensor in stored.values():
        _take_sizes(tensor)
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type in FLOATS:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return model


def _is_unknown(node: onnx.NodeProto) -> bool:
    if node.domain not in STANDARD_DOMAINS or (node.op_type not in _SAME and node.op_type not in _REPLACED):
        return True
    cubic = any(each.name == "mode" and each.s == b"cubic" for each in node.attribute)
    listed = any(each.name.startswith(("value_float", "sparse")) for each in node.attribute)
    return cubic or listed or bool(subgraphs(node))


def _take_sizes(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in FLOATS:
        sizes = np.abs(numpy_helper.to_array(tensor).astype(np.float32))
        tensor.CopyFrom(numpy_helper.from_array(sizes, tensor.name))
