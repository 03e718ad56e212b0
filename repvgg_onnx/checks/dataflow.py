"""Which nodes lie between one tensor and the nearest of others that it is computed from."""

from collections.abc import Container
from dataclasses import dataclass

import onnx

from repvgg_onnx.graph.bodies import makers_of, reads_of


@dataclass(frozen=True)
class Ancestry:
    """What a tensor is computed from.

    Attributes:
        tensors: names of the nearest tensors of those that were asked about.
        members: the nodes between those and the tensor, in graph order; the last one computes it.
    """

    tensors: tuple[str, ...]
    members: tuple[onnx.NodeProto, ...]


class Dataflow:
    """The nodes of a graph by the tensors that they compute.

    Attributes:
        producers: tensor name to node, in graph order; tensors inside the bodies of nodes are not among them.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._positions = makers_of(graph)
        self.producers = {name: graph.node[index] for name, index in self._positions.items()}

    def position(self, node: onnx.NodeProto) -> int:
        """Index of a node that computes something."""
        return next(self._positions[name] for name in node.output if name)

    def ancestry(self, name: str, known: Container[str]) -> Ancestry:
        """Walks from a tensor towards the inputs of the graph, up to the known tensors.

        Args:
            name: a key of ``producers``.
            known: names of the tensors to stop at.
        """
        members: dict[int, onnx.NodeProto] = {}
        tensors: dict[str, None] = {}
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if self._positions[current] in members:
                continue
            members[self._positions[current]] = self.producers[current]
            for source in set(reads_of(self.producers[current])) & self.producers.keys():
                if source in known:
                    tensors[source] = None
                elif self._positions[source] not in members:
                    waiting.append(source)
        return Ancestry(tuple(sorted(tensors)), tuple(members[index] for index in sorted(members)))
