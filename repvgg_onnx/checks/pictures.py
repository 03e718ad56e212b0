"""Pictures to feed: smooth, as photographs are, and as bright as the first layer's weights expect."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from repvgg_onnx.checks.precision import FLOAT_TYPES
from repvgg_onnx.checks.session import Array
from repvgg_onnx.graph.bodies import stored_tensors, uses_of

BYTE = 255.0
FAINT = 0.125
"""Below this gain a first layer is taken for one that sees 0 … 255. Networks keep activations of order one: measured on
published models, the sum of a filter's absolute weights is 1 to 8 where white is 1, and 255 times less where it is 255;
this is the geometric mean of 2 and 2/255."""
MEAN_OF_BYTES = 16.0
"""A larger constant subtracted from an input is the mean of pixels of 0 … 255."""

_LAYERS = frozenset(["BatchNormalization", "Conv"])
_PASSED = _LAYERS | {"Add", "Cast", "Div", "Identity", "Mul", "Pad", "Sub", "Transpose"}
_MOST_STEPS = 16

_Readers: TypeAlias = Callable[[str], Sequence[onnx.NodeProto]]


def smooth(shape: tuple[int, ...], axes: range, rng: np.random.Generator) -> Array:
    """Noise whose spectrum falls as 1/f, as photographs' does, from 0 to 1; detectors saturate on white noise.

    Args:
        shape: of the result.
        axes: the spatial ones.
        rng: source of the values.

    Source: Field 1987, Relations between the statistics of natural images and the response properties of cortical
        cells.
    """
    values = rng.standard_normal(shape)
    if axes and values.size:
        spectrum = np.fft.fftn(values, axes=tuple(axes))
        squares = np.zeros([shape[axis] if axis in axes else 1 for axis in range(len(shape))])
        for axis in axes:
            line = [-1 if axis == other else 1 for other in range(len(shape))]
            squares = squares + np.fft.fftfreq(shape[axis]).reshape(line) ** 2
        slowest = 1.0 / max(shape[axis] for axis in axes)
        values = np.fft.ifftn(spectrum / np.sqrt(np.maximum(squares, slowest**2)), axes=tuple(axes)).real
    low, high = float(values.min(initial=math.inf)), float(values.max(initial=-math.inf))
    return (values - low) / (high - low) if high > low else np.full(shape, 0.5)


def whites_of(model: onnx.ModelProto, folder: str = "") -> dict[str, float]:
    """For each floating-point input the value that stands for white in a picture: 255 where the weights say so, else 1.

    Args:
        model: what the pictures are for.
        folder: of its external data.
    """
    graph = model.graph
    stored = stored_tensors(graph)
    uses = uses_of(graph)
    weights = _Weights(stored, folder)

    def readers(name: str) -> list[onnx.NodeProto]:
        return [graph.node[index] for index in uses.all_readers(name)]

    inputs = [value.name for value in graph.input if value.type.tensor_type.elem_type in FLOAT_TYPES]
    return {name: _white(name, readers, weights) for name in inputs if name not in stored}


@dataclass(frozen=True)
class _Weights:
    """Stored tensors, read when they are asked for."""

    stored: Mapping[str, onnx.TensorProto]
    folder: str

    def read(self, node: onnx.NodeProto, index: int) -> Array | None:
        """A stored input of a node in float64; None where there is none."""
        tensor = self.stored.get(node.input[index]) if index < len(node.input) else None
        if tensor is None:
            return None
        try:
            return numpy_helper.to_array(tensor, self.folder).astype(np.float64)
        except (OSError, ValueError, TypeError, onnx.checker.ValidationError):
            return None


def _white(name: str, readers: _Readers, weights: _Weights) -> float:
    """White for one input: the gain from it to the first convolution's output decides, and means taken off it."""
    gain, convolved = 1.0, False
    for _ in range(_MOST_STEPS):
        node = _next(name, readers)
        if node is None or (node.op_type == "Conv" and convolved):
            break
        if node.op_type in ("Add", "Sub") and not convolved and _size(node, name, weights) > MEAN_OF_BYTES * gain:
            return BYTE
        factor = _gain(node, name, weights)
        if factor is None:
            break
        if not convolved or node.op_type == "BatchNormalization":
            gain *= factor
        if convolved and node.op_type == "BatchNormalization":
            break
        convolved |= node.op_type == "Conv"
        name = node.output[0]
    return BYTE if convolved and gain < FAINT else 1.0


def _next(name: str, readers: _Readers) -> onnx.NodeProto | None:
    """The node that reads a tensor, if it may stand between an input and the first layer; None where several differ."""
    following = readers(name)
    first = following[0] if following else None
    if first is None or first.op_type not in _PASSED or (len(following) > 1 and first.op_type not in _LAYERS):
        return None
    return first


def _gain(node: onnx.NodeProto, name: str, weights: _Weights) -> float | None:
    """What a node multiplies a tensor by, on the median of its channels; None where its weights cannot be read."""
    if node.op_type == "Conv":
        kernel = weights.read(node, 1)
        if kernel is None or kernel.ndim < 3:
            return None
        return float(np.median(np.abs(kernel).reshape(len(kernel), -1).sum(axis=1)))
    if node.op_type == "BatchNormalization":
        gamma, var = weights.read(node, 1), weights.read(node, 4)
        if gamma is None or var is None:
            return None
        return float(np.median(np.abs(gamma) / np.sqrt(np.maximum(var, 0) + 1e-5)))
    size = _size(node, name, weights) if node.op_type in ("Mul", "Div") else 0.0
    return 1.0 if size == 0 else size if node.op_type == "Mul" else 1.0 / size


def _size(node: onnx.NodeProto, name: str, weights: _Weights) -> float:
    """The median size of the constant that a node combines a tensor with; 0 where there is none."""
    constant = weights.read(node, 1 if node.input[0] == name else 0)
    return float(np.median(np.abs(constant))) if constant is not None and constant.size else 0.0
