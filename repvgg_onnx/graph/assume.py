"""What a user may ask to take for granted before anything is searched; each rewrite says what it did."""

from collections.abc import Callable, Collection, Iterator, MutableSequence, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import onnx

from repvgg_onnx.errors import CheckError, ModelError
from repvgg_onnx.graph.bodies import (
    STANDARD_DOMAINS,
    all_nodes,
    copy_of,
    label_of,
    number_of,
    read_names,
    reads_of,
    stored_names,
    subgraphs,
)
from repvgg_onnx.graph.constants import Constants
from repvgg_onnx.graph.cut import Cutter
from repvgg_onnx.graph.normalize import FIRST_OVERRIDABLE, standard_opset

_CONVOLUTIONS = ("Conv", "ConvTranspose")


def assume_inference(model: onnx.ModelProto, *, placeholders: bool) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with every BatchNormalization and Dropout in inference mode, and what was rewritten and what not.

    A node whose further outputs (running statistics, a mask) are read stays as it is. So does a BatchNormalization with
    mean 0 and variance 1 in every channel, unless ``placeholders`` says otherwise: nobody has trained these, and what
    computes with the statistics of its input, such as an InstanceNorm that was exported so, means to.

    Args:
        model: not changed; returned as it is where nothing is rewritten.
        placeholders: whether statistics that were never trained are meant as well.
    """
    copied = copy_of(model)
    fixed = model.ir_version < FIRST_OVERRIDABLE
    constants = Constants(copied.graph, model.opset_import, {}, fixed=fixed)
    rewritten: list[str] = []
    kept: list[str] = []
    for node, known in _training_nodes(copied.graph, standard_opset(model.opset_import), constants):
        name = label_of(node)
        if not placeholders and _has_placeholders(node, known):
            kept.append(name)
            continue
        rewritten.append(name)
        if node.op_type == "Dropout":
            del node.input[2:]
        else:
            _keep(node.attribute, {attribute.name for attribute in node.attribute} - {"training_mode"})
            del node.output[1:]
    notes = []
    if rewritten:
        notes.append(f"{len(rewritten)} training-mode nodes were taken to be in inference mode: {_some(rewritten)}")
    if kept:
        why = "all its statistics are placeholders, mean 0 and variance 1, as of an exported InstanceNorm"
        counted = f"{len(kept)} BatchNormalization kept in training mode, since {why}"
        notes.append(f"{counted}; --assume-placeholders rewrites it too: {_some(kept)}")
    return (copied if rewritten else model), tuple(notes)


def keep_outputs(model: onnx.ModelProto, names: Collection[str]) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with these outputs alone and what they need, inputs among it, and what was left out.

    Args:
        model: not changed; returned as it is where all its outputs are named.
        names: outputs to keep, in any order; the model's order stays.

    Raises:
        CheckError: the model has no such output.
    """
    known = [value.name for value in model.graph.output]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise CheckError(f"the model has no output {unknown[0]!r}: its outputs are {', '.join(map(repr, known))}")
    left = [name for name in known if name not in names]
    if not left:
        return model, ()
    needed = {name for name in known if name in names}
    whole = Cutter(model)
    indices, _ = whole.back_from(needed, ())
    nodes = whole.nodes(indices)
    reduced = copy_of(model)
    graph = reduced.graph
    del graph.node[:]
    graph.node.extend(nodes)
    made = needed.union(*(node.output for node in nodes), *map(reads_of, nodes))
    _keep(graph.output, {value.name for value in graph.output} - set(left))
    for values in (graph.input, graph.initializer, graph.value_info):
        _keep(values, made)
    _keep(graph.sparse_initializer, made, lambda sparse: sparse.values.name)
    _keep(graph.quantization_annotation, made, lambda annotation: annotation.tensor_name)
    gone = len(model.graph.node) - len(nodes)
    note = f"{len(left)} of {len(known)} outputs and the {gone} nodes that only they need were left out: {_some(left)}"
    inputs = [value.name for value in model.graph.input if value.name not in made | stored_names(model.graph)]
    return reduced, (note, *([f"inputs that nothing needs any more: {_some(inputs)}"] if inputs else ()))


def freeze_initializers(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with no initializer among its inputs, and what was frozen; IR version 4 is the first to allow it.

    Args:
        model: not changed; returned as it is where no input has an initializer.
    """
    stored = stored_names(model.graph)
    kept = [value for value in model.graph.input if value.name not in stored]
    frozen = len(model.graph.input) - len(kept)
    if not frozen:
        return model, ()
    copied = copy_of(model)
    del copied.graph.input[:]
    copied.graph.input.extend(kept)
    copied.ir_version = max(model.ir_version, 4)
    return copied, (f"{frozen} inputs with initializers were frozen and are no longer inputs",)


def overridable_convolutions(model: onnx.ModelProto) -> tuple[int, int]:
    """How many convolutions have weights that a caller may replace, and how many there are, in subgraphs too."""
    weights = overridable_names(model)
    nodes = all_nodes(model.graph)
    convolutions = [node for node in nodes if node.op_type in _CONVOLUTIONS and node.domain in STANDARD_DOMAINS]
    return sum(node.input[1] in weights for node in convolutions if len(node.input) > 1), len(convolutions)


def overridable_names(model: onnx.ModelProto) -> frozenset[str]:
    """Initializers that a caller may replace, since they are inputs as well; before IR version 4 there are none."""
    if model.ir_version < FIRST_OVERRIDABLE:
        return frozenset()
    return frozenset(value.name for value in model.graph.input) & stored_names(model.graph)


def fixed_initializers(model: onnx.ModelProto) -> frozenset[str]:
    """Initializers of IR versions below 4 that something reads; they stand among the inputs by form only."""
    if model.ir_version >= FIRST_OVERRIDABLE:
        return frozenset()
    return frozenset(stored_names(model.graph) & set(read_names(model.graph)))


def drop_unread(model: onnx.ModelProto, initializers: frozenset[str]) -> None:
    """Those of these initializers that nothing reads any more are gone, also from the list of inputs.

    Source: onnxruntime names no initializer as an input before IR version 4, and an input that has lost its
        initializer would become one that has to be fed.

    Args:
        model: changed in place.
        initializers: what something read before.
    """
    unread = initializers - set(read_names(model.graph)) if initializers else initializers
    for container in (model.graph.input, model.graph.initializer) if unread else ():
        _keep(container, {item.name for item in container} - unread)


def _training_nodes(
    graph: onnx.GraphProto, opset: int, constants: Constants
) -> Iterator[tuple[onnx.NodeProto, Constants]]:
    """The nodes in training mode whose further outputs nothing reads, each with the constants that it sees."""
    used = set(read_names(graph)) - {""}
    for node in graph.node:
        if node.domain in STANDARD_DOMAINS and not any(name in used for name in node.output[1:]):
            dropout = node.op_type == "Dropout" and opset >= 12 and len(node.input) == 3 and node.input[2]
            trains = number_of(node, "training_mode") or len(node.output) > 1
            if dropout or (node.op_type == "BatchNormalization" and trains):
                yield node, constants
        for inner in subgraphs(node):
            yield from _training_nodes(inner, opset, Constants(inner, constants.opset_imports, {}, constants))


def _has_placeholders(node: onnx.NodeProto, constants: Constants) -> bool:
    """Whether all statistics of a BatchNormalization are what they are before any training."""
    if node.op_type != "BatchNormalization" or len(node.input) < 5:
        return False
    try:
        mean, var = (constants.value(name) for name in node.input[3:5])
    except ModelError:  # large, and still in a file
        return False
    return mean is not None and var is not None and bool(np.all(mean == 0)) and bool(np.all(var == 1))


def _keep(
    container: MutableSequence[Any], names: Collection[str], name_of: Callable[[Any], str] = attrgetter("name")
) -> None:
    for index in reversed([index for index, item in enumerate(container) if name_of(item) not in names]):
        del container[index]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
