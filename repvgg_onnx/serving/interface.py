"""What a model takes and gives, as its graph declares it."""

from collections.abc import Iterable
from dataclasses import dataclass

import onnx

from repvgg_onnx.graph.bodies import fed_inputs
from repvgg_onnx.graph.normalize import axes_of
from repvgg_onnx.graph.shapes import Axis

NO_TENSOR = 0
"""Element type of what is a sequence, a map, an optional or a sparse tensor, or has no type at all."""


@dataclass(frozen=True)
class Port:
    """An input or an output.

    Attributes:
        name: tensor name.
        elem_type: ONNX data type, such as ``TensorProto.FLOAT``, or NO_TENSOR.
        shape: sizes, axis names and None; None where the rank is open.
    """

    name: str
    elem_type: int
    shape: tuple[Axis, ...] | None

    @property
    def is_dynamic(self) -> bool:
        """Whether some axis has no fixed size."""
        return self.shape is None or any(not isinstance(axis, int) for axis in self.shape)


def inputs_of(model: onnx.ModelProto) -> tuple[Port, ...]:
    """What a caller has to feed, in graph order; inputs with a default value are left out."""
    return _ports(fed_inputs(model.graph))


def outputs_of(model: onnx.ModelProto) -> tuple[Port, ...]:
    """What a caller gets, in graph order."""
    return _ports(model.graph.output)


def type_name(elem_type: int) -> str:
    """ONNX's word for a data type.

    Example:
        >>> type_name(1), type_name(1000)
        ('FLOAT', 'type 1000')
    """
    known = elem_type in onnx.TensorProto.DataType.values()
    return onnx.TensorProto.DataType.Name(elem_type) if known else f"type {elem_type}"


def _ports(values: Iterable[onnx.ValueInfoProto]) -> tuple[Port, ...]:
    return tuple(Port(value.name, value.type.tensor_type.elem_type, axes_of(value)) for value in values)
