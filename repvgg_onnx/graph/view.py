"""A typed, read-only view of a graph, keyed by tensor name.

Attributes are read from the protobuf nodes as they are: an unknown attribute must be seen to be refused.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.bodies import Uses, attributes_of, inner_graphs, label_of, operator_of, uses_of
from repvgg_onnx.graph.constants import Constants
from repvgg_onnx.graph.evaluate import AnyArray
from repvgg_onnx.graph.normalize import Shape, TensorType
from repvgg_onnx.graph.quantization import QUANTIZING
from repvgg_onnx.graph.schema import have_conflicting_types

FLOATS = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
    }
)


@dataclass(frozen=True)
class ConvGeometry:
    """Attributes of a convolution or pooling node, one form for all.

    Attributes:
        strides: one per spatial axis.
        pads: ONNX order; what auto_pad stands for where it was given.
        dilations: one per spatial axis.
        group: number of groups.
        auto_pad: the rule that the pads follow where they depend on a size that is not known, and are given as zeros.
    """

    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    auto_pad: str = ""


@dataclass(frozen=True, eq=False)
class NodeView:
    """One node and what it can see.

    Attributes:
        index: position in the graph.
        proto: the protobuf node; not to be changed.
        graph: the view that it belongs to.
    """

    index: int
    proto: onnx.NodeProto
    graph: "GraphView"

    @cached_property
    def facts(self) -> dict[Callable[..., Any], Any]:
        """What the node's own constants and attributes say, by who read them: kept, since they may be asked often."""
        return {}

    @cached_property
    def name(self) -> str:
        """The node's name, or its first output where it has none."""
        return label_of(self.proto)

    @cached_property
    def op_type(self) -> str:
        """The operator, with its domain unless that is ONNX's own."""
        return operator_of(self.proto)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Tensor names, empty for an optional input that was left out."""
        return tuple(self.proto.input)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Tensor names, without the optional ones that were left out."""
        return tuple(name for name in self.proto.output if name)

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Attribute values by name."""
        return attributes_of(self.proto)

    @cached_property
    def has_conflicting_types(self) -> bool:
        """Whether inputs are of different types that have to be of one, so that no runtime takes the node."""
        known = [self.graph.elem_type(name) if name else 0 for name in self.inputs]
        return have_conflicting_types(self.op_type, self.graph.opset, known)

    @cached_property
    def dynamic_inputs(self) -> tuple[int, ...]:
        """Indices of the inputs that are not known before the model runs."""
        constant = self.constant_inputs
        return tuple(index for index, name in enumerate(self.inputs) if name and index not in constant)

    @cached_property
    def reads_computed(self) -> bool:
        """Whether an input is a constant that other nodes compute, anew at every run."""
        return any(self.graph.constants.is_computed(self.inputs[index]) for index in self.constant_inputs)

    def has_input(self, index: int) -> bool:
        """Whether the optional input is there."""
        return index < len(self.inputs) and bool(self.inputs[index])

    @cached_property
    def constant_inputs(self) -> frozenset[int]:
        """Indices of the inputs that are there and known before the model runs."""
        constants = self.graph.constants
        return frozenset(index for index, name in enumerate(self.inputs) if name and name in constants)

    def is_constant(self, index: int) -> bool:
        """Whether the input is there and known before the model runs."""
        return index in self.constant_inputs

    def constant(self, index: int) -> NDArray[np.float64]:
        """A constant input in float64.

        Raises:
            LiftError: the input is not known before the model runs.
        """
        value = self.raw_constant(index)
        return value.astype(np.float64)

    def constant_rows(self, index: int, rows: slice) -> NDArray[np.float64]:
        """A range of a constant input's first axis in float64; the rest of it is not converted.

        Raises:
            LiftError: the input is not known before the model runs.
        """
        return self.raw_constant(index)[rows].astype(np.float64)

    def raw_constant(self, index: int) -> AnyArray:
        """A constant input in its own type.

        Raises:
            LiftError: the input is not known before the model runs.
        """
        value = self.graph.constants.value(self.inputs[index]) if self.is_constant(index) else None
        if value is None:
            raise self.not_constant(index)
        return value

    def integers(self, index: int) -> list[int]:
        """A constant input that is a list of whole numbers, such as pads, axes or sizes.

        Raises:
            LiftError: the input is not known before the model runs, or is no such list.
        """
        value = self.raw_constant(index)
        if value.ndim != 1 or value.dtype.kind not in "iu":
            raise LiftError("bad-attribute", f"{self.op_type} reads {self.inputs[index]!r}, no list of whole numbers")
        return [int(number) for number in value]

    def constant_shape(self, index: int) -> tuple[int, ...]:
        """Shape of a constant input, without reading its data.

        Raises:
            LiftError: the input is not known before the model runs.
        """
        shape = self.shape_if_constant(index)
        if shape is None:
            raise self.not_constant(index)
        return shape

    def shape_if_constant(self, index: int) -> tuple[int, ...] | None:
        """Shape of an input, without reading its data; None where it is not known before the model runs."""
        return self.graph.constants.shape(self.inputs[index]) if self.is_constant(index) else None

    @property
    def kernel_size(self) -> int:
        """Elements of the constant second input, 0 where there is none."""
        shape = self.shape_if_constant(1)
        return 0 if shape is None else math.prod(shape)

    def conv_geometry(self, kernel_shape: Sequence[int], *, unknown_pads: bool = False) -> ConvGeometry:
        """Strides, pads, dilations and group with ONNX's defaults filled in.

        Args:
            kernel_shape: what the attributes have to fit.
            unknown_pads: whether the pads may depend on a size that is not known.

        Raises:
            LiftError: auto_pad depends on a size that is not known, or an attribute does not fit the kernel.
        """
        rank = len(kernel_shape)
        strides = tuple(self.attributes.get("strides", (1,) * rank))
        dilations = tuple(self.attributes.get("dilations", (1,) * rank))
        declared = tuple(self.attributes.get("kernel_shape", kernel_shape))
        if len(strides) != rank or len(dilations) != rank or declared != tuple(kernel_shape):
            raise LiftError(
                "bad-attribute", f"{self.op_type} has attributes that do not fit its {list(kernel_shape)} kernel"
            )
        group = int(self.attributes.get("group", 1))
        try:
            return ConvGeometry(strides, self._pads(kernel_shape, strides, dilations), dilations, group)
        except LiftError as error:
            if error.code != "auto-pad-dynamic" or not unknown_pads:
                raise
            return ConvGeometry(strides, (0,) * (2 * rank), dilations, group, self.attributes["auto_pad"].decode())

    def _pads(self, kernel_shape: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
        mode = self.attributes.get("auto_pad", b"NOTSET").decode(errors="replace")
        if mode == "NOTSET":
            return tuple(self.attributes.get("pads", (0,) * (2 * len(kernel_shape))))
        if mode == "VALID":
            return (0,) * (2 * len(kernel_shape))
        if mode not in ("SAME_UPPER", "SAME_LOWER"):
            raise LiftError("bad-attribute", f"{self.op_type} has the unknown auto_pad {mode!r}")
        shape = self.graph.shape(self.inputs[0])
        sizes = shape[2:] if shape else (None,) * len(kernel_shape)
        if len(sizes) != len(kernel_shape):
            raise LiftError("bad-attribute", f"{self.op_type} has a kernel of other axes than its input")
        spans = [dilation * (count - 1) for dilation, count in zip(dilations, kernel_shape, strict=True)]
        totals = [_same_total(*axis) for axis in zip(sizes, strides, spans, strict=True)]
        less = [total // 2 for total in totals]
        more = [total - half for total, half in zip(totals, less, strict=True)]
        return (*less, *more) if mode == "SAME_UPPER" else (*more, *less)

    def not_constant(self, index: int) -> LiftError:
        """Why the input is not known before the model runs."""
        name = self.inputs[index] if index < len(self.inputs) else ""
        if self.graph.constants.is_overridable(name):
            return LiftError(
                "overridable", f"{self.op_type} reads {name!r}, an initializer that is a graph input as well"
            )
        maker = self.graph.makers.get(name)
        if name in self.graph.constants:
            what = "which is computed from constants" if maker is None else f"which {maker.op_type} makes of constants"
            return LiftError("not-evaluated", f"{self.op_type} reads {name!r}, {what}, and that was not evaluated")
        if maker is not None and maker.op_type in QUANTIZING:
            return LiftError("quantized", f"{self.op_type} reads {name!r}, weights that integer arithmetic is made of")
        return LiftError("not-constant", f"{self.op_type} reads {name!r}, which is not known before the model runs")


@dataclass(frozen=True, eq=False)
class GraphView:
    """One graph of a model.

    Attributes:
        proto: not to be changed while the view is in use.
        constants: what is known before the model runs.
        types: inferred types by tensor.
        sizes: shapes to count costs with, every axis known.
        opset: version of ONNX's own operators.
        outer: the graph around a subgraph.
        subgraphs: bodies of If, Loop and Scan nodes.
    """

    proto: onnx.GraphProto
    constants: Constants
    types: Mapping[str, TensorType]
    sizes: Mapping[str, TensorType]
    opset: int
    outer: "GraphView | None" = None
    subgraphs: tuple["GraphView", ...] = ()

    @cached_property
    def nodes(self) -> tuple[NodeView, ...]:
        """Nodes in graph order."""
        return tuple(NodeView(index, proto, self) for index, proto in enumerate(self.proto.node))

    @cached_property
    def outputs(self) -> frozenset[str]:
        """Names of the graph's outputs."""
        return frozenset(value.name for value in self.proto.output)

    @cached_property
    def readers(self) -> Mapping[str, tuple[int, ...]]:
        """For each tensor the indices of the nodes that read it, -1 for one inside a subgraph."""
        found = {name: tuple(indices) for name, indices in self._uses.readers.items()}
        return found | {name: (-1, *found.get(name, ())) for name in self._uses.captors}

    @cached_property
    def makers(self) -> Mapping[str, NodeView]:
        """For each tensor that a node of this graph makes, the node."""
        return {name: self.nodes[index] for name, index in self._uses.makers.items()}

    @cached_property
    def _uses(self) -> Uses:
        return uses_of(self.proto)

    def rebased(self, proto: onnx.GraphProto, outer: "GraphView | None" = None) -> "GraphView":
        """The same view, subgraphs included, of a graph that is equal node by node, such as a copy that may be changed.

        Args:
            proto: the equal graph.
            outer: the rebased view of the graph around.
        """
        whole = replace(self, proto=proto, outer=outer, subgraphs=())
        pairs = zip(self.subgraphs, inner_graphs(proto), strict=True)
        return replace(whole, subgraphs=tuple(inner.rebased(body, whole) for inner, body in pairs))

    def is_output(self, tensor: str) -> bool:
        """Whether the tensor is an output of the graph."""
        return tensor in self.outputs

    def is_captured(self, tensor: str) -> bool:
        """Whether a subgraph reads the tensor."""
        return -1 in self.readers.get(tensor, ())

    def shape(self, tensor: str) -> Shape | None:
        """Shape as far as it holds for every run of the model; None where even the rank is unknown."""
        known = self.types.get(tensor)
        return known.shape if known else self.constants.shape(tensor)

    def annotated(self, tensor: str) -> Shape | None:
        """Shape by inference or else by the model's own annotations, which may be out of date."""
        known = self.shape(tensor)
        if known is None and tensor in self.sizes:
            return self.sizes[tensor].shape
        return known

    def elem_type(self, tensor: str) -> int:
        """ONNX data type, 0 where unknown."""
        known = self.types.get(tensor) or self.sizes.get(tensor)
        return known.elem_type if known else 0

    def size(self, tensor: str) -> tuple[int, ...] | None:
        """Shape to count costs with; None where even the rank is unknown."""
        known = self.sizes.get(tensor) or self.types.get(tensor)
        if known is None or known.shape is None:
            return self.constants.shape(tensor)
        return tuple(1 if size is None else size for size in known.shape)


def _same_total(size: int | None, stride: int, span: int) -> int:
    """Pads of both ends that make the output ``ceil(size / stride)`` long. Source: ONNX specification, Conv."""
    if stride == 1 or span == 0:
        return span
    if size is None:
        raise LiftError(
            "auto-pad-dynamic", "auto_pad depends on an input size that is dynamic; export with fixed sizes"
        )
    return max((-(-size // stride) - 1) * stride + span + 1 - size, 0)
