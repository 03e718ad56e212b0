"""Graphs of onnx-graphsurgeon, which people who build TensorRT engines hold in their hands, to models and back."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import onnx

if TYPE_CHECKING:
    import onnx_graphsurgeon as gs

    Graph: TypeAlias = gs.Graph

_GRAPH = "onnx_graphsurgeon.ir.graph.Graph"


def is_surgeon(model: object) -> "TypeGuard[Graph]":
    """Whether the model is a graph of onnx-graphsurgeon, which is not imported to tell."""
    return any(f"{kind.__module__}.{kind.__name__}" == _GRAPH for kind in type(model).__mro__)


def to_model(graph: "Graph") -> onnx.ModelProto:
    """The model of a graph, which is not changed."""
    with _quiet() as gs:
        # Types of inputs and outputs may be missing in a graph that is being worked on.
        model: onnx.ModelProto = gs.export_onnx(graph, do_type_check=False)
    return model


def to_graph(model: onnx.ModelProto) -> "Graph":
    """The graph of a model; metadata of nodes has no place in it."""
    with _quiet() as gs:
        return gs.import_onnx(model)


@contextmanager
def _quiet() -> Iterator[Any]:
    """The library inside the block, where it prints no warnings to stdout, as it does otherwise."""
    import onnx_graphsurgeon as gs
    from onnx_graphsurgeon.logger import G_LOGGER

    before = G_LOGGER.severity
    G_LOGGER.severity = G_LOGGER.CRITICAL
    try:
        yield gs
    finally:
        G_LOGGER.severity = before
