"""Parts of a graph as models of their own."""

from collections.abc import Iterable, Sequence

import onnx

from repvgg_onnx.graph.bodies import fed_inputs, makers_of, reads_of
from repvgg_onnx.graph.normalize import FIRST_OVERRIDABLE


class Cutter:
    """Cuts parts out of the main graph of one model, which must not be changed meanwhile.

    Args:
        model: holds its initializers itself.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self._model = model
        self._makers = makers_of(graph)
        self._stored = {tensor.name: tensor for tensor in graph.initializer}
        self._sparse = {tensor.values.name: tensor for tensor in graph.sparse_initializer}
        self._fed = {value.name: value for value in fed_inputs(graph)}

    def makes(self, tensor: str) -> bool:
        """Whether a node of the graph makes the tensor."""
        return tensor in self._makers

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes the tensor; None for inputs and initializers."""
        return self._model.graph.node[self._makers[tensor]] if tensor in self._makers else None

    def between(self, roots: Iterable[str], sinks: Iterable[str]) -> tuple[list[int], set[str]]:
        """Indices of the nodes that make the sinks from the roots, in graph order, and all other names they read.

        Names inside the subgraphs of a node are among them.
        """
        stop, names = set(roots), list(sinks)
        indices: set[int] = set()
        outside: set[str] = set()
        while names:
            name = names.pop()
            if name in stop:
                continue
            if name not in self._makers:
                outside.add(name)
            elif self._makers[name] not in indices:
                indices.add(self._makers[name])
                names += reads_of(self._model.graph.node[self._makers[name]])
        return sorted(indices), outside

    def cut(self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The nodes that make ``outputs`` from ``inputs``, with their weights; inputs of the model stay inputs."""
        indices, outside = self.between((value.name for value in inputs), (value.name for value in outputs))
        graph = onnx.GraphProto(name="part", node=[self._model.graph.node[index] for index in indices])
        graph.initializer.extend(self._stored[name] for name in sorted(outside & self._stored.keys()))
        graph.sparse_initializer.extend(self._sparse[name] for name in sorted(outside & self._sparse.keys()))
        graph.input.extend(inputs)
        graph.input.extend(self._fed[name] for name in sorted(outside & self._fed.keys()))
        graph.output.extend(outputs)
        return model_of(graph, self._model)


def model_of(graph: onnx.GraphProto, whole: onnx.ModelProto) -> onnx.ModelProto:
    """A graph as a model of its own, with the opsets and functions of another; initializers need not be inputs."""
    return onnx.helper.make_model(
        graph,
        opset_imports=whole.opset_import,
        ir_version=max(whole.ir_version, FIRST_OVERRIDABLE),
        functions=whole.functions,
    )
