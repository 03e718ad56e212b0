"""Nodes in an order in which they can run; onnxruntime takes them in any, and onnx's own checker does not."""

from heapq import heapify, heappop, heappush

import onnx

from repvgg_onnx.graph.bodies import bodies_of, makers_of, reads_of


def unsorted_graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """The graphs, subgraphs among them, in which a node reads what a later one makes. Functions have to be sorted."""
    return [body for body in bodies_of(model) if isinstance(body, onnx.GraphProto) and not _is_sorted(body)]


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Every node stands behind those that it needs; where it stood already, it stays.

    Args:
        graph: changed in place. One whose nodes need each other in a circle is left as it is, and the checker names it.
    """
    makers = makers_of(graph)
    needed = [{makers[name] for name in reads_of(node) if name in makers} for node in graph.node]
    readers: list[list[int]] = [[] for _ in needed]
    for index, sources in enumerate(needed):
        for source in sources:
            readers[source].append(index)
    waiting = [len(sources) for sources in needed]
    ready = [index for index, count in enumerate(waiting) if not count]
    heapify(ready)  # the first in the file comes first, so that a sorted graph stays as it is
    order: list[int] = []
    while ready:
        index = heappop(ready)
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                heappush(ready, reader)
    if len(order) == len(needed):
        nodes = [graph.node[index] for index in order]
        copies = onnx.GraphProto(node=nodes)
        del graph.node[:]
        graph.node.extend(copies.node)


def _is_sorted(graph: onnx.GraphProto) -> bool:
    makers = makers_of(graph)
    return all(makers.get(name, -1) < index for index, node in enumerate(graph.node) for name in reads_of(node))
