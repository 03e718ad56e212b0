"""Nodes in an order in which they can run; onnxruntime takes them in any, and onnx's own checker does not."""

from heapq import heapify, heappop, heappush

import onnx

from repvgg_onnx.graph.bodies import bodies_of, uses_of


def unsorted_graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """The graphs, subgraphs among them, in which a node reads what a later one makes. Functions have to be sorted."""
    return [body for body in bodies_of(model) if isinstance(body, onnx.GraphProto) and not _is_sorted(body)]


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Every node stands behind those that it needs; where it stood already, it stays.

    Args:
        graph: changed in place. One whose nodes need each other in a circle is left as it is, and the checker names it.
    """
    uses = uses_of(graph)
    readers: list[set[int]] = [set() for _ in graph.node]
    for name, maker in uses.makers.items():
        readers[maker].update(uses.all_readers(name))
    waiting = [0] * len(readers)
    for reader in (reader for each in readers for reader in each):
        waiting[reader] += 1
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
    if len(order) == len(readers):
        nodes = [graph.node[index] for index in order]
        copies = onnx.GraphProto(node=nodes)
        del graph.node[:]
        graph.node.extend(copies.node)


def _is_sorted(graph: onnx.GraphProto) -> bool:
    uses = uses_of(graph)
    return all(maker < reader for name, maker in uses.makers.items() for reader in uses.all_readers(name)[:1])
