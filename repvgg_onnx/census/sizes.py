"""The size of every tensor of a model, for one shape of its inputs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.bodies import all_bodies, fed_inputs
from repvgg_onnx.graph.normalize import TensorType, axes_of, inline_functions
from repvgg_onnx.graph.shapes import Axis, bind_shapes, name_of_axis
from repvgg_onnx.graph.skeleton import infer_skeleton
from repvgg_onnx.graph.storage.tensors import needed_bytes


@dataclass(frozen=True)
class Sized:
    """A graph with types on its tensors.

    Attributes:
        graph: a copy without the data of large initializers, with the model's own functions inlined.
        inputs: shape of each input that a caller feeds.
        assumed: those among them that have a dynamic axis of which nobody gave the size.
    """

    graph: onnx.GraphProto
    inputs: dict[str, tuple[int, ...]]
    assumed: tuple[str, ...]


def size_graph(model: onnx.ModelProto, given: Mapping[str, Sequence[int]]) -> Sized:
    """The graph of a model with the sizes of its tensors, as far as they follow from those of its inputs.

    Args:
        model: not changed; large weights are neither read nor copied.
        given: shapes of inputs; dynamic axes of the others take the sizes of ``bind_shapes``.

    Raises:
        ModelError: the graph is not valid ONNX.
        CheckError: a shape does not fit.
    """
    fed = list(_fed(model.graph))
    declared = {value.name: _axes(value) for value in fed}
    open_ranks = {value.name for value in fed if not value.type.tensor_type.HasField("shape")}
    bound = bind_shapes(declared, given)
    inputs = {name: shape for name, shape in bound.items() if name in given or name not in open_ranks}
    graph = _inferred(model, inputs)
    told = {value.name: value for value in model.graph.output}
    for value in graph.output:  # what the model says of its outputs, where nothing else is known
        if value.name in told and not value.type.tensor_type.HasField("shape"):
            value.CopyFrom(told[value.name])
    _bind_names(graph, declared, inputs)
    decided = {axis for other in given for axis in declared[other] if isinstance(axis, str)}
    assumed = {
        name for name, axes in declared.items() if any(not isinstance(a, int) and a not in decided for a in axes)
    }
    return Sized(graph, inputs, tuple(name for name in inputs if name in assumed and name not in given))


def bytes_of(known: TensorType) -> int | None:
    """Bytes of a tensor, several elements to a byte where the type is narrow; None where the size is not known."""
    shape = known.static_shape
    if shape is None:
        return None
    try:
        return needed_bytes(onnx.TensorProto(data_type=known.elem_type, dims=shape))
    except (ModelError, ValueError):  # no type with elements of a fixed width, or a size that does not fit 63 bits
        return None


def _inferred(model: onnx.ModelProto, inputs: Mapping[str, Sequence[int]]) -> onnx.GraphProto:
    """The graph with types; calls of functions that cannot be inlined stay nodes."""
    skeleton = infer_skeleton(model, inputs)
    if model.functions:
        called = frozenset(node.op_type for function in model.functions for node in function.node)
        try:
            return infer_skeleton(inline_functions(skeleton, called), inputs).graph
        except ModelError:
            return skeleton.graph
    return skeleton.graph


def _fed(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    """Inputs that are tensors and have no default."""
    return (value for value in fed_inputs(graph) if value.type.HasField("tensor_type"))


def declared_axes(graph: onnx.GraphProto) -> dict[str, tuple[Axis, ...]]:
    """The axes of each input that has to be fed and is a tensor."""
    return {value.name: _axes(value) for value in _fed(graph)}


def _axes(value: onnx.ValueInfoProto) -> tuple[Axis, ...]:
    """Axes as a model declares them; none where it leaves the rank open, and no name that only says so of an axis."""
    return tuple(name_of_axis(axis) if isinstance(axis, str) else axis for axis in axes_of(value) or ())


def _bind_names(
    graph: onnx.GraphProto, declared: Mapping[str, Sequence[Axis]], inputs: Mapping[str, Sequence[int]]
) -> None:
    """Gives the axes of all tensors the sizes that axes of the same name have in the inputs."""
    pairs = (pair for name, shape in inputs.items() for pair in zip(declared[name], shape, strict=False))
    named = {axis: size for axis, size in pairs if isinstance(axis, str)}
    for value in (value for body in all_bodies(graph) for value in (*body.value_info, *body.output)):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in named:
                dim.dim_value = named[dim.dim_param]
