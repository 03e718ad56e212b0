"""Post-dominators: through which node everything goes that a node makes."""

from collections.abc import Sequence

from repvgg_onnx.graph.view import GraphView, NodeView


class PostDominators:
    """The tree in which each node hangs below the nearest one through which all that it makes has to go.

    What is below a node goes with it when it is replaced; so that what a region removes need not be searched for each
    region anew. Questions take a time logarithmic in the number of nodes, by jump pointers.

    Source: Myers, An applicative random-access stack, 1983: how far each node's pointer jumps.

    Args:
        graph: with its nodes in topological order.
    """

    def __init__(self, graph: GraphView) -> None:
        count = len(graph.nodes)
        self.end = count
        self._above, self._jumps, self._depths = [count] * (count + 1), [count] * (count + 1), [0] * (count + 1)
        for node in reversed(graph.nodes):
            above = self._common(_next(graph, node))
            jump = self._jumps[above]
            even = self._depths[above] - self._depths[jump] == self._depths[jump] - self._depths[self._jumps[jump]]
            self._above[node.index] = above
            self._jumps[node.index] = self._jumps[jump] if even else above
            self._depths[node.index] = self._depths[above] + 1

    def above(self, node: int) -> int:
        """The nearest node through which everything goes; the number of nodes where there is none."""
        return self._above[node]

    def passes(self, node: int, other: int) -> bool:
        """Whether everything that a node makes goes through another one, or the two are the same."""
        return self._lifted(node, self._depths[other]) == other

    def _lifted(self, node: int, depth: int) -> int:
        while self._depths[node] > depth:
            jump = self._jumps[node]
            node = jump if self._depths[jump] >= depth else self._above[node]
        return node

    def _common(self, nodes: Sequence[int]) -> int:
        if not nodes:
            return self.end
        first, *others = nodes
        for other in others:
            depth = min(self._depths[first], self._depths[other])
            first, other = self._lifted(first, depth), self._lifted(other, depth)
            while first != other:
                apart = self._jumps[first] != self._jumps[other]
                first, other = (
                    (self._jumps[first], self._jumps[other]) if apart else (self._above[first], self._above[other])
                )
        return first


def _next(graph: GraphView, node: NodeView) -> Sequence[int]:
    """Indices of the nodes that read what a node makes; none where something else reads it as well."""
    readers = {index for name in node.outputs for index in graph.readers.get(name, ())}
    if -1 in readers or any(graph.is_output(name) for name in node.outputs):
        return ()
    return sorted(readers)
