"""profile(): what one run of a model takes, without running it and without reading its weights."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import onnx

from repvgg_onnx.census.results import Layer, Profile
from repvgg_onnx.census.sizes import bytes_of, size_graph
from repvgg_onnx.census.stored import census
from repvgg_onnx.census.weights import Weight, computed_weights, is_computed_before, stored_weights
from repvgg_onnx.graph.bodies import (
    all_bodies,
    attributes_of,
    captured_names,
    label_of,
    operator_of,
    read_names,
    subgraphs,
)
from repvgg_onnx.graph.load import open_model
from repvgg_onnx.graph.macs import PRODUCTS, multiply_adds, winograd_multiplications
from repvgg_onnx.graph.normalize import TensorType, tensor_types


@dataclass(frozen=True)
class Step:
    """One step of a run.

    Attributes:
        reads: tensors that have to exist when it begins.
        writes: tensors that it makes.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]


def live_bytes(
    steps: Sequence[Step], *, inputs: Iterable[str], outputs: Iterable[str], bytes_of: Mapping[str, int]
) -> tuple[int, ...]:
    """Bytes of the tensors that exist at the start, and then during each step.

    A tensor exists from the step that writes it, an input from the start, to the last step that reads it; an output
    to the end. Tensors that are neither inputs nor written by a step are left out.

    Args:
        steps: in the order in which they run.
        inputs: tensors that exist at the start.
        outputs: tensors that exist at the end.
        bytes_of: sizes; tensors that are not there count as nothing.

    Example:
        >>> chain = [Step(("x",), ("a",)), Step(("a",), ("y",))]
        >>> live_bytes(chain, inputs=["x"], outputs=["y"], bytes_of={"x": 100, "a": 10, "y": 1})
        (100, 110, 11)
    """
    born = dict.fromkeys(inputs, 0)
    last = dict(born)
    for index, step in enumerate(steps, 1):
        born.update((name, index) for name in step.writes)
        last.update((name, index) for name in (*step.reads, *step.writes))
    last.update((name, len(steps)) for name in outputs)
    change: defaultdict[int, int] = defaultdict(int)
    for name, index in born.items():
        change[index] += bytes_of.get(name, 0)
        change[last[name] + 1] -= bytes_of.get(name, 0)
    return tuple(accumulate(change[index] for index in range(len(steps) + 1)))


_VIEWS = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators whose output is their input, read in another way."""


def profile(
    model: onnx.ModelProto | str | os.PathLike[str], *, shapes: Mapping[str, Sequence[int]] | None = None
) -> Profile:
    """Count what one run of ``model`` takes, node by node.

    Views (Reshape, Flatten, Squeeze, Unsqueeze, Identity, and Dropout in inference) copy nothing: they move no bytes,
    and their output lives in the memory of their input. The model's own functions are counted at every call. A graph
    inside a node (both branches of an If, the body of a Loop or Scan) is counted once, however often it runs; while
    it does, its tensors live beside those of the graph around it, and the node itself moves nothing.

    Args:
        model: a file, whose large weights are not read, or a model, which is not changed and may lack them.
        shapes: input name to shape; dynamic axes of the other inputs take the sizes of ``shapes.bind_shapes``.

    Raises:
        ModelError: the model cannot be read, or its graph is not valid ONNX.
        CheckError: ``shapes`` does not fit the model's inputs.

    Example:
        >>> text = '<ir_version: 8, opset_import: ["" : 17]> g (float[2, 3] x) => (float[2, 1] y)'
        >>> found = profile(onnx.parser.parse_model(text + " <float[3, 1] w = {1, 2, 3}> { y = MatMul (x, w) }"))
        >>> found.parameters, found.macs, found.activation_bytes_read, found.peak_activation_bytes
        (3, 6, 24, 32)
    """
    opened = model if isinstance(model, onnx.ModelProto) else open_model(model).model
    sized = size_graph(opened, shapes or {})
    layers, peak = _count(sized.graph, _scope(sized.graph, opened.graph), 0)
    return Profile(
        parameters=census(opened).parameters,
        peak_activation_bytes=peak,
        layers=tuple(layers),
        inputs=sized.inputs,
        assumed=sized.assumed,
        subgraphs=sum(1 for _ in all_bodies(sized.graph)) - 1,
    )


@dataclass(frozen=True)
class _Scope:
    """What the nodes of a graph can see.

    Attributes:
        types: of all tensors.
        bytes: sizes of the tensors of which they are known.
        weights: the tensors that no run changes.
        read: the tensors that something reads, or that are outputs.
        claimed: stored tensors whose parameters a layer has; shared by all graphs.
    """

    types: Mapping[str, TensorType]
    bytes: Mapping[str, int]
    weights: dict[str, Weight]
    read: frozenset[str]
    claimed: set[str]


def _scope(graph: onnx.GraphProto, stored: onnx.GraphProto, outer: _Scope | None = None) -> _Scope:
    """What the nodes of ``graph`` see, whose initializers are those of ``stored``."""
    own = tensor_types(graph)
    types = {**outer.types, **own} if outer else own
    sizes = {name: size for name, known in own.items() if (size := bytes_of(known)) is not None}
    weights = (outer.weights if outer else {}) | dict(stored_weights(stored))
    for node in graph.node:
        if is_computed_before(node, weights):
            weights.update(computed_weights(node, weights, types))
    if outer:
        return _Scope(types, {**outer.bytes, **sizes}, weights, outer.read, outer.claimed)
    return _Scope(types, sizes, weights, frozenset(read_names(graph)), set())


def _count(graph: onnx.GraphProto, scope: _Scope, around: int) -> tuple[list[Layer], int]:
    """The layers of a graph and of the graphs in it, and the peak of live bytes.

    Args:
        graph: with types.
        scope: what its nodes see.
        around: bytes that live outside of it meanwhile.
    """
    nodes = [node for node in graph.node if not is_computed_before(node, scope.weights)]
    storage = _storage(nodes, scope)
    live = live_bytes(
        [_step(node, storage, scope) for node in nodes],
        inputs=[value.name for value in graph.input if value.name not in scope.weights],
        outputs=[storage.get(value.name, value.name) for value in graph.output],
        bytes_of=scope.bytes,
    )
    layers: list[Layer] = []
    peak = around + live[0]
    for node, now in zip(nodes, live[1:], strict=True):
        layers.append(_layer(node, scope, around + now))
        peak = max(peak, around + now)
        for body in subgraphs(node):
            inner, inner_peak = _count(body, _scope(body, body, scope), around + now)
            layers += inner
            peak = max(peak, inner_peak)
    return layers, peak


def _storage(nodes: Sequence[onnx.NodeProto], scope: _Scope) -> dict[str, str]:
    """For each output of a view the tensor whose memory it lives in."""
    storage: dict[str, str] = {}
    for node in nodes:
        if _is_view(node, scope):
            storage[node.output[0]] = storage.get(node.input[0], node.input[0])
    return storage


def _is_view(node: onnx.NodeProto, scope: _Scope) -> bool:
    """Whether the only output is the first input as it is; a Dropout that may be told to train is none."""
    if node.op_type not in _VIEWS or node.domain or len(_outputs(node, scope)) != 1:
        return False
    return not (node.op_type == "Dropout" and node.input[2:])


def _outputs(node: onnx.NodeProto, scope: _Scope) -> tuple[str, ...]:
    """The tensors that a node makes: the first output, and the optional ones of which there is a reader."""
    return tuple(name for name in node.output if name and (name == node.output[0] or name in scope.read))


def _step(node: onnx.NodeProto, storage: Mapping[str, str], scope: _Scope) -> Step:
    """The tensors whose memory a node and the graphs in it read, and the ones that it makes."""
    reads = {storage.get(name, name) for name in (*node.input, *captured_names(node)) if name not in scope.weights}
    return Step(tuple(reads), () if _is_view(node, scope) else _outputs(node, scope))


def _layer(node: onnx.NodeProto, scope: _Scope, live: int) -> Layer:
    """One node; what it takes is 0 where that is not known."""
    inputs, outputs = tuple(dict.fromkeys(filter(None, node.input))), _outputs(node, scope)
    macs, winograd = _products(node, scope)
    known = macs is not None and all(name in scope.bytes for name in (*inputs, *outputs))
    moves = known and not _is_view(node, scope) and not subgraphs(node)
    weights = [scope.weights[name] for name in inputs if name in scope.weights]
    return Layer(
        name=label_of(node),
        op_type=operator_of(node),
        output_shape=_shape(outputs[0], scope) if outputs else None,
        parameters=_claim(weights, scope.claimed),
        macs=macs or 0 if known else 0,
        winograd_multiplications=winograd if known else 0,
        activation_bytes_read=sum(scope.bytes[name] for name in inputs if name not in scope.weights) if moves else 0,
        activation_bytes_written=sum(scope.bytes[name] for name in outputs) if moves else 0,
        weight_bytes=sum(weight.bytes for weight in weights),
        live_bytes=live,
        known=known,
    )


def _products(node: onnx.NodeProto, scope: _Scope) -> tuple[int | None, int]:
    """Multiply-adds and Winograd multiplications of a node; None where ONNX does not say what it does."""
    shapes = [_shape(name, scope) or () for name in node.input]
    output = next((_shape(name, scope) for name in node.output if name), None)
    op_type = operator_of(node)
    if output is None or not (op_type in PRODUCTS or onnx.defs.has(node.op_type, node.domain)):
        return None, 0
    try:
        attributes = attributes_of(node)
        macs = multiply_adds(op_type, attributes, shapes, output)
        return macs, winograd_multiplications(op_type, attributes, shapes, macs)
    except (IndexError, ValueError):  # the model declares shapes that the operator does not take
        return None, 0


def _shape(tensor: str, scope: _Scope) -> tuple[int, ...] | None:
    known = scope.types.get(tensor)
    return known.static_shape if known else None


def _claim(weights: Sequence[Weight], claimed: set[str]) -> int:
    """Parameters that no layer had before."""
    found = {name: count for weight in weights for name, count in weight.parameters.items() if name not in claimed}
    claimed.update(found)
    return sum(found.values())
