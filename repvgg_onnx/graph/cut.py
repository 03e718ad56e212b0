"""Parts of a graph: what a tensor is computed from, and parts as models of their own."""

from collections.abc import Container, Iterable, Sequence, Set

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

    @property
    def made(self) -> Set[str]:
        """Names of the tensors that the nodes make, in graph order; those inside the bodies of nodes are not there."""
        return self._makers.keys()

    def makes(self, tensor: str) -> bool:
        """Whether a node of the graph makes the tensor."""
        return tensor in self._makers

    def is_fed(self, tensor: str) -> bool:
        """Whether a caller has to feed the tensor."""
        return tensor in self._fed

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes the tensor; None for inputs and initializers."""
        return self._model.graph.node[self._makers[tensor]] if tensor in self._makers else None

    def between(self, roots: Iterable[str], sinks: Iterable[str]) -> tuple[list[int], set[str]]:
        """Indices of the nodes that make the sinks from the roots, in graph order, and all other names they read.

        Names inside the subgraphs of a node are among them.
        """
        stop = set(roots)
        indices, ends = self.back_from((sink for sink in sinks if sink not in stop), stop)
        return indices, ends - stop

    def back_from(self, sinks: Iterable[str], stop: Container[str]) -> tuple[list[int], set[str]]:
        """Indices of the nodes that make the sinks, in graph order, and the names at which the way back ends.

        Those are the nearest tensors that ``stop`` holds and whatever no node of the graph makes, names inside the
        subgraphs of a node among them. A sink is not where its own way ends, whether ``stop`` holds it or not.
        """
        waiting = list(sinks)
        indices: set[int] = set()
        ends: set[str] = set()
        while waiting:
            name = waiting.pop()
            if name not in self._makers:
                ends.add(name)
            elif self._makers[name] not in indices:
                indices.add(self._makers[name])
                reads = set(reads_of(self._model.graph.node[self._makers[name]]))
                ends.update(read for read in reads if read in stop)
                waiting += (read for read in reads if read not in stop)
        return sorted(indices), ends

    def nodes(self, indices: Iterable[int]) -> list[onnx.NodeProto]:
        """The nodes with these indices."""
        return [self._model.graph.node[index] for index in indices]

    def cut(self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The nodes that make ``outputs`` from ``inputs``, with their weights; inputs of the model stay inputs."""
        indices, outside = self.between((value.name for value in inputs), (value.name for value in outputs))
        fed = [self._fed[name] for name in sorted(outside & self._fed.keys())]
        return self.joined(self.nodes(indices), [*inputs, *fed], outputs, outside)

    def joined(
        self,
        nodes: Iterable[onnx.NodeProto],
        inputs: Iterable[onnx.ValueInfoProto],
        outputs: Iterable[onnx.ValueInfoProto],
        outside: Set[str],
    ) -> onnx.ModelProto:
        """Nodes as a model of their own, with the weights among the names that they read from outside."""
        graph = onnx.GraphProto(name="part", node=nodes, input=inputs, output=outputs)
        graph.initializer.extend(self._stored[name] for name in sorted(outside & self._stored.keys()))
        graph.sparse_initializer.extend(self._sparse[name] for name in sorted(outside & self._sparse.keys()))
        return model_of(graph, self._model)


def model_of(graph: onnx.GraphProto, whole: onnx.ModelProto) -> onnx.ModelProto:
    """A graph as a model of its own, with the opsets and functions of another; initializers need not be inputs."""
    return onnx.helper.make_model(
        graph,
        opset_imports=whole.opset_import,
        ir_version=max(whole.ir_version, FIRST_OVERRIDABLE),
        functions=whole.functions,
    )
