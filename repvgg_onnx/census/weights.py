"""What is known of a graph before it runs: its weights, and what follows from them."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx

from repvgg_onnx.census.sizes import bytes_of
from repvgg_onnx.census.stored import FLOATING
from repvgg_onnx.graph.bodies import STANDARD_DOMAINS, subgraphs
from repvgg_onnx.graph.constants import RANDOM
from repvgg_onnx.graph.normalize import TensorType


@dataclass(frozen=True)
class Weight:
    """A tensor that no run changes.

    Attributes:
        bytes: its size.
        parameters: number of elements of each floating-point tensor of the model that it is made of, by name.
    """

    bytes: int
    parameters: Mapping[str, int]


def stored_weights(graph: onnx.GraphProto) -> Iterator[tuple[str, Weight]]:
    """Initializers of a graph by name; of sparse ones the stored values."""
    for tensor in graph.initializer:
        yield tensor.name, _stored(tensor.name, TensorType(tensor.data_type, tuple(tensor.dims)))
    for sparse in graph.sparse_initializer:
        values, indices = sparse.values, sparse.indices
        kept = _stored(values.name, TensorType(values.data_type, tuple(values.dims)))
        extra = bytes_of(TensorType(indices.data_type, tuple(indices.dims))) or 0
        yield values.name, Weight(kept.bytes + extra, kept.parameters)


def is_computed_before(node: onnx.NodeProto, weights: Mapping[str, Weight]) -> bool:
    """Whether a node depends on weights only, so that runtimes run it once, before everything else."""
    if node.domain not in STANDARD_DOMAINS or node.op_type in RANDOM or subgraphs(node):
        return False
    read = [name for name in node.input if name]
    return node.op_type == "Constant" or (bool(read) and all(name in weights for name in read))


def computed_weights(
    node: onnx.NodeProto, weights: Mapping[str, Weight], types: Mapping[str, TensorType]
) -> Iterator[tuple[str, Weight]]:
    """What such a node makes; a dequantized weight has the size of the quantized one, which is what a run reads."""
    sources = [weights[name] for name in node.input if name]
    parameters = {name: count for source in sources for name, count in source.parameters.items()}
    for name in filter(None, node.output):
        own = _stored(name, types[name]) if name in types else Weight(0, {})
        if node.op_type == "Constant":
            yield name, own
        else:
            size = sources[0].bytes if node.op_type == "DequantizeLinear" else own.bytes
            yield name, Weight(size, parameters)


def _stored(name: str, known: TensorType) -> Weight:
    shape = known.static_shape
    counts = shape is not None and known.elem_type in FLOATING
    return Weight(bytes_of(known) or 0, {name: math.prod(shape or ())} if counts else {})
