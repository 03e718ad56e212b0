"""Whether a node keeps what TensorRT asks of its operator, as far as the graph tells.

Each function gives True for a node that does, False for one that does not, and None where the graph does not tell.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from repvgg_onnx.graph.normalize import TensorType
from repvgg_onnx.graph.storage.tensors import is_external

_RESIZE = {
    "mode": ("nearest", "linear"),
    "coordinate_transformation_mode": (
        "half_pixel",
        "pytorch_half_pixel",
        "tf_half_pixel_for_nn",
        "asymmetric",
        "align_corners",
    ),
    "nearest_mode": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
    "keep_aspect_ratio_policy": ("stretch",),
}


@dataclass(frozen=True)
class Seen:
    """A node, and what is known around it.

    Attributes:
        node: the node.
        types: of the tensors of its graph.
        constants: initializers and the values of Constant nodes, by name.
    """

    node: onnx.NodeProto
    types: Mapping[str, TensorType]
    constants: Mapping[str, onnx.TensorProto]

    def attribute(self, name: str, default: Any) -> Any:
        """Value of an attribute, text as text."""
        for attribute in self.node.attribute:
            if attribute.name == name:
                value = helper.get_attribute_value(attribute)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def has_input(self, index: int) -> bool:
        """Whether the optional input is given."""
        return len(self.node.input) > index and bool(self.node.input[index])

    def is_constant(self, index: int) -> bool:
        """Whether the input is left out or a constant."""
        return not self.has_input(index) or self.node.input[index] in self.constants

    def values(self, index: int) -> Any:
        """Elements of a constant input; None where it is none or lies in an external data file."""
        tensor = self.constants.get(self.node.input[index])
        return None if tensor is None or is_external(tensor) else numpy_helper.to_array(tensor)


def keeps(seen: Seen) -> bool | None:
    """Whether a node keeps the restriction of its operator."""
    if seen.node.op_type.startswith("Reduce"):
        return _constant_axes(seen)
    check = _CHECKS.get(seen.node.op_type)
    return None if check is None else check(seen)


def _pool(seen: Seen) -> bool | None:
    """Two or three spatial axes, without dilations and without indices."""
    dilations = seen.attribute("dilations", [])
    if any(dilation != 1 for dilation in dilations) or len([name for name in seen.node.output if name]) > 1:
        return False
    return len(seen.attribute("kernel_shape", [])) in (2, 3)


def _constant_axes(seen: Seen) -> bool | None:
    """The second input is a constant; one that is computed may turn out to be one."""
    return seen.is_constant(1) or None


def _no_third_input(seen: Seen) -> bool | None:
    """The third input, a zero point or a Dropout's training mode, is left out or all zeros."""
    if not seen.has_input(2):
        return True
    values = seen.values(2)
    return None if values is None else not np.any(values)


def _four_axes(seen: Seen) -> bool | None:
    known = seen.types.get(seen.node.input[0])
    return None if known is None or known.shape is None else len(known.shape) == 4


def _resize(seen: Seen) -> bool | None:
    """Modes that are known, no antialiasing."""
    known = all(seen.attribute(name, allowed[0]) in allowed for name, allowed in _RESIZE.items())
    return known and not seen.attribute("antialias", 0)


def _sorted_few(seen: Seen) -> bool | None:
    """Sorted, with a constant number below 3840."""
    if not seen.attribute("sorted", 1):
        return False
    count = seen.values(1)
    return None if count is None else bool(count.item() < 3840)


_CHECKS: dict[str, Callable[[Seen], bool | None]] = {
    "AveragePool": _pool,
    "CumSum": _constant_axes,
    "DequantizeLinear": _no_third_input,
    "Dropout": _no_third_input,
    "GridSample": _four_axes,
    "LayerNormalization": lambda seen: sum(map(bool, seen.node.output)) == 1,
    "LpPool": lambda seen: all(dilation == 1 for dilation in seen.attribute("dilations", [])),
    "MaxPool": _pool,
    "OneHot": _constant_axes,
    "QuantizeLinear": _no_third_input,
    "Resize": _resize,
    "ScatterND": lambda seen: bool(seen.attribute("reduction", "none") == "none"),
    "Squeeze": _constant_axes,
    "TopK": _sorted_few,
    "Unsqueeze": _constant_axes,
}
