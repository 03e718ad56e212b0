"""What a user may ask to take for granted before anything is searched; each rewrite says what it did."""

from collections.abc import Iterator

import onnx

from repvgg_onnx.graph.bodies import nested_bodies
from repvgg_onnx.graph.normalize import FIRST_OVERRIDABLE, STANDARD_DOMAINS, standard_opset


_CONVOLUTIONS = ("Conv", "ConvTranspose")


def assume_inference(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with every BatchNormalization and Dropout in inference mode, and what was rewritten.

    A node whose further outputs (running statistics, a mask) are read stays as it is.

    Args:
        model: not changed; returned as it is where nothing is in training mode.
    """
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    opset = standard_opset(model.opset_import)
    names = [node.name or node.output[0] for graph in _graphs(copied.graph) for node in _to_inference(graph, opset)]
    if not names:
        return model, ()
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return copied, (f"{len(names)} training-mode nodes were taken to be in inference mode: {shown}",)


def freeze_initializers(model: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with no initializer among its inputs, and what was frozen; IR version 4 is the first to allow it.

    Args:
        model: not changed; returned as it is where no input has an initializer.
    """
    stored = _stored_names(model)
    kept = [value for value in model.graph.input if value.name not in stored]
    frozen = len(model.graph.input) - len(kept)
    if not frozen:
        return model, ()
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.graph.input[:]
    copied.graph.input.extend(kept)
    copied.ir_version = max(model.ir_version, 4)
    return copied, (f"{frozen} inputs with initializers were frozen and are no inputs any more",)


def overridable_convolutions(model: onnx.ModelProto) -> tuple[int, int]:
    """How many convolutions have weights that a caller may replace, and how many there are, in subgraphs too."""
    weights = overridable_names(model)
    nodes = (node for body, _ in nested_bodies(model.graph) for node in body.node)
    convolutions = [node for node in nodes if node.op_type in _CONVOLUTIONS and node.domain in STANDARD_DOMAINS]
    return sum(node.input[1] in weights for node in convolutions if len(node.input) > 1), len(convolutions)


def overridable_names(model: onnx.ModelProto) -> frozenset[str]:
    """Initializers that a caller may replace, since they are inputs as well; before IR version 4 there are none."""
    if model.ir_version < FIRST_OVERRIDABLE:
        return frozenset()
    return frozenset(value.name for value in model.graph.input) & _stored_names(model)


def fixed_initializers(model: onnx.ModelProto) -> frozenset[str]:
    """Initializers of IR versions below 4 that something reads; they stand among the inputs by form only."""
    if model.ir_version >= FIRST_OVERRIDABLE:
        return frozenset()
    return frozenset(_stored_names(model) & set(_read_names(model.graph)))


def drop_unread(model: onnx.ModelProto, initializers: frozenset[str]) -> None:
    """Those of these initializers that nothing reads any more are gone, also from the list of inputs.

    Source: onnxruntime names no initializer as an input before IR version 4, and an input that has lost its
        initializer would become one that has to be fed.

    Args:
        model: changed in place.
        initializers: what something read before.
    """
    unread = initializers - set(_read_names(model.graph)) if initializers else initializers
    for container in (model.graph.input, model.graph.initializer) if unread else ():
        for index in reversed([index for index, item in enumerate(container) if item.name in unread]):
            del container[index]


def _read_names(graph: onnx.GraphProto) -> Iterator[str]:
    for body, _ in nested_bodies(graph):
        yield from (name for node in body.node for name in node.input)
        if isinstance(body, onnx.GraphProto):
            yield from (value.name for value in body.output)


def _stored_names(model: onnx.ModelProto) -> set[str]:
    stored = {tensor.name for tensor in model.graph.initializer}
    return stored | {tensor.values.name for tensor in model.graph.sparse_initializer}


def _to_inference(graph: onnx.GraphProto, opset: int) -> Iterator[onnx.NodeProto]:
    """Rewrites the nodes of one graph, and yields those that were in training mode."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    for node in graph.node:
        if node.domain not in STANDARD_DOMAINS or any(name in used for name in node.output[1:]):
            continue
        if node.op_type == "BatchNormalization" and _is_training(node):
            _keep_attributes(node, {"training_mode"})
            del node.output[1:]
            yield node
        elif node.op_type == "Dropout" and opset >= 12 and len(node.input) == 3 and node.input[2]:
            del node.input[2:]
            yield node


def _is_training(node: onnx.NodeProto) -> bool:
    mode = next((attribute.i for attribute in node.attribute if attribute.name == "training_mode"), 0)
    return bool(mode) or len(node.output) > 1


def _keep_attributes(node: onnx.NodeProto, without: set[str]) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name not in without]
    del node.attribute[:]
    node.attribute.extend(kept)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _graphs(attribute.g)
