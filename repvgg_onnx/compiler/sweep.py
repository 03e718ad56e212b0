"""Edits of a protobuf graph: nodes in the place of others, and nothing left that only those others needed."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, MutableSequence, Sequence
from operator import attrgetter
from typing import Any

import onnx

from repvgg_onnx.graph.bodies import all_bodies, makers_of, read_names, reads_of


def splice(graph: onnx.GraphProto, nodes: Mapping[int, Sequence[onnx.NodeProto]], removed: Iterable[int]) -> set[str]:
    """The new nodes stand at these indices, the removed ones are gone, and so is whatever fed only them.

    Args:
        graph: changed in place.
        nodes: what to put in the place of a node, by its index.
        removed: indices of nodes to delete, the replaced ones included.

    Returns:
        Tensors that the graph reads less than before; a graph around it may not need them any more.
    """
    indices = set(removed) | set(nodes)
    orphans = {name for index in indices for name in (*graph.node[index].input, *graph.node[index].output)}
    for run in _runs(indices):
        del graph.node[run]
        for offset, node in enumerate(node for index in range(run.start, run.stop) for node in nodes.get(index, ())):
            graph.node.insert(run.start + offset, node)
    return orphans | sweep(graph, orphans)


def sweep(graph: onnx.GraphProto, orphans: set[str]) -> set[str]:
    """Deletes what makes these tensors, unless something reads them, and what fed only that.

    Args:
        graph: changed in place.
        orphans: tensors that have lost a reader.

    Returns:
        Further tensors that have lost a reader.
    """
    readers = Counter(read_names(graph))
    makers = makers_of(graph)
    dead: set[int] = set()
    gone, further, queue = set(), set(), list(orphans)
    while queue:
        name = queue.pop()
        index = makers.get(name)
        if readers[name] or name in gone or index in dead:
            continue
        if index is None:
            gone.add(name)
        elif not any(readers[output] for output in graph.node[index].output if output):
            dead.add(index)
            gone |= set(graph.node[index].output)
            lost = list(reads_of(graph.node[index]))
            readers.subtract(lost)
            further |= set(lost)
            queue += lost
    _forget(graph, gone)
    _delete(graph.node, dead)
    return further


def tensor_names(graph: onnx.GraphProto) -> Iterator[str]:
    """Every tensor name in the graph and its subgraphs, some more than once."""
    for body in all_bodies(graph):
        for values in (body.input, body.output, body.initializer):
            yield from (value.name for value in values)
        yield from (tensor.values.name for tensor in body.sparse_initializer)
        for node in body.node:
            yield from node.input
            yield from node.output


def _forget(graph: onnx.GraphProto, names: set[str]) -> None:
    """Deletes initializers, types and annotations of tensors that are gone; graph inputs stay."""
    names = names - {value.name for value in graph.input}
    for container, attribute in (
        (graph.initializer, "name"),
        (graph.sparse_initializer, "values.name"),
        (graph.value_info, "name"),
        (graph.quantization_annotation, "tensor_name"),
    ):
        name_of = attrgetter(attribute)
        _delete(container, {index for index, item in enumerate(container) if name_of(item) in names})


def _delete(container: MutableSequence[Any], indices: set[int]) -> None:
    for run in _runs(indices):
        del container[run]


def _runs(indices: Iterable[int]) -> Iterator[slice]:
    """Neighbouring indices as one slice, the last ones first: each deletion moves all that is behind it."""
    stop = start = -1
    for index in sorted(indices, reverse=True):
        if index != start - 1:
            if start >= 0:
                yield slice(start, stop)
            stop = index + 1
        start = index
    if start >= 0:
        yield slice(start, stop)
