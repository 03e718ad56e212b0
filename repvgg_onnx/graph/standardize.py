"""Weights that a BatchNormalization in training mode standardizes, as StdConv and NFNet write it: computed once.

Such a node is as constant as its inputs, but runtimes cannot be relied on to agree: onnxruntime 1.32 does not load the
form with one output, and without optimizations it updates the running statistics in place, so that a constant which is
read as scale and as variance changes from run to run.
"""

import onnx
from onnx import numpy_helper

from repvgg_onnx.graph.bodies import STANDARD_DOMAINS, all_nodes, captured_names, number_of, tensor_bytes
from repvgg_onnx.graph.budget import DEFAULT_MB, Budget
from repvgg_onnx.graph.constants import Constants
from repvgg_onnx.graph.evaluate import AnyArray
from repvgg_onnx.graph.storage.files import TensorFiles


def standardize_weights(
    model: onnx.ModelProto, files: TensorFiles | None = None
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with Constant nodes in the place of the main graph's standardized weights, and what was computed.

    Args:
        model: not changed; returned as it is where there is no such node.
        files: where the initializers are that it only refers to; None where it holds them all.
    """
    training = [index for index, node in enumerate(model.graph.node) if _is_training(node)]
    if not training:
        return model, ()
    budget = Budget.beyond(tensor_bytes(model), DEFAULT_MB)
    constants = Constants(model.graph, model.opset_import, {}, budget=budget, files=files)
    used = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    computed: dict[int, list[onnx.NodeProto]] = {}
    for index in training:
        names = [name for name in model.graph.node[index].output if name in used and name in constants]
        values = [constants.value(name) for name in names]
        known = [_constant(name, value) for name, value in zip(names, values, strict=True) if value is not None]
        if known and len(known) == len(names):
            computed[index] = known
    if not computed:
        return model, ()
    fed = (name for index in computed for name in model.graph.node[index].input)
    unread = _unread(model.graph, set(computed), constants.expression_nodes(fed))
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    del copied.graph.node[:]
    for index, node in enumerate(model.graph.node):
        if index not in unread:
            copied.graph.node.extend(computed.get(index, [node]))
    read = {name for index in unread | set(computed) for name in model.graph.node[index].input}
    read -= {name for node in all_nodes(copied.graph) for name in node.input}
    read -= {value.name for value in (*model.graph.input, *model.graph.output)}
    kept = [tensor for tensor in copied.graph.initializer if tensor.name not in read]
    del copied.graph.initializer[:]
    copied.graph.initializer.extend(kept)
    return copied, (f"{len(computed)} kernels that a training-mode BatchNormalization standardizes were computed once",)


def _is_training(node: onnx.NodeProto) -> bool:
    trains = bool(number_of(node, "training_mode"))
    return node.domain in STANDARD_DOMAINS and node.op_type == "BatchNormalization" and trains


def _unread(graph: onnx.GraphProto, computed: set[int], feeding: set[int]) -> set[int]:
    """Those of the feeding nodes that only computed ones read."""
    needed = {value.name for value in graph.output}
    needed |= {name for node in graph.node for name in captured_names(node)}
    unread: set[int] = set()
    for index in reversed(range(len(graph.node))):
        node = graph.node[index]
        if index in feeding and not needed.intersection(node.output):
            unread.add(index)
        elif index not in computed:
            needed |= set(node.input)
    return unread


def _constant(name: str, value: AnyArray) -> onnx.NodeProto:
    tensor = numpy_helper.from_array(value, name)
    return onnx.helper.make_node("Constant", [], [name], name=name, value=tensor)
