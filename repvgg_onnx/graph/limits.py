"""What is checked of every model before anything else looks at it, so that the rest can count on it.

Whatever takes memory or time out of proportion to the file is refused here: tensors that declare more than they hold,
graphs inside graphs without end, functions that call functions until a kilobyte stands for a billion nodes.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TypeAlias

import onnx

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.bodies import (
    STANDARD_DOMAINS,
    Body,
    all_nodes,
    bodies_of,
    nested_bodies,
    sparse_tensors_in,
    tensors_in,
)
from repvgg_onnx.graph.storage.tensors import check_content, check_sparse, is_external

DEEPEST = 24  # graphs inside graphs, functions unfolded; protobuf itself ends at about 32
LONGEST_CALLS = 64  # functions that call functions
MOST_WRITTEN = 250_000  # nodes of one graph and its subgraphs; each is a message, and two bytes make one
MOST_NODES = 100_000  # nodes that function calls unfold to

_EQUATION = re.compile(r"{0}(,{0})*(->{0})?".format(r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"))

Key: TypeAlias = tuple[str, str, str]  # domain, name and overload of a function


def check_limits(model: onnx.ModelProto) -> None:
    """Makes sure that the model is as large as it looks, and that its names are text.

    External tensors are left to ``external``.

    Raises:
        ModelError: it is not.
    """
    _check_functions(model)
    bodies = list(bodies_of(model))
    for body in bodies:
        _check_names(body)
    _check_attributes(model, bodies)
    for tensor in (tensor for body in bodies for tensor in tensors_in(body)):
        if not is_external(tensor):
            check_content(tensor)
    check_indices(bodies)


def check_indices(bodies: Iterable[Body]) -> None:
    """Makes sure that the indices of sparse tensors lie inside, except for those that are still external data.

    Args:
        bodies: all of a model.

    Raises:
        ModelError: some do not.
    """
    for sparse in (sparse for body in bodies for sparse in sparse_tensors_in(body)):
        if not is_external(sparse.indices):
            check_sparse(sparse)


@dataclass(frozen=True)
class _Size:
    """How large a body is with every function call in it unfolded.

    Attributes:
        nodes: of the body itself and its subgraphs.
        unfolded: nodes that the calls stand for.
        nesting: graphs inside graphs.
        calls: functions that call functions.
    """

    nodes: int
    unfolded: int
    nesting: int
    calls: int


def _check_functions(model: onnx.ModelProto) -> None:
    """Measures every function and the main graph without unfolding anything.

    Raises:
        ModelError: one would be too large or too deep, functions call each other in a circle, or two have one name.
    """
    functions = {_function_key(function): function for function in model.functions}
    if len(functions) < len(model.functions):
        raise ModelError("defines a function twice")
    known: dict[Key, _Size] = {}
    for key in callees_first(model):
        known[key] = _checked_size(functions[key], known)
        _check_imports(functions[key])
    _checked_size(model.graph, known)


def _check_imports(function: onnx.FunctionProto) -> None:
    """Makes sure that it is said of every operator in a function which version is meant."""
    imported = {_long_domain(entry.domain) for entry in function.opset_import}
    for node in all_nodes(function):
        if _long_domain(node.domain) not in imported:
            raise ModelError(f"has a function {function.name!r} that imports no version of {node.domain or 'ONNX'!r}")


def _long_domain(domain: str) -> str:
    return domain or STANDARD_DOMAINS[1]


def callees_first(model: onnx.ModelProto) -> tuple[Key, ...]:
    """The functions of a model in an order in which each stands after those that it calls.

    Raises:
        ModelError: they call each other in a circle, so that unfolding them would never end.
    """
    functions = {_function_key(function): function for function in model.functions}
    called = {key: {_key(node) for node in all_nodes(body)} & functions.keys() for key, body in functions.items()}
    try:
        return tuple(TopologicalSorter(called).static_order())
    except CycleError as error:
        raise ModelError("has functions that call each other in a circle") from error


def _checked_size(body: Body, known: Mapping[Key, _Size]) -> _Size:
    size = _size_of(body, known)
    if size.nodes > MOST_WRITTEN:
        raise ModelError(f"has a graph of more than {MOST_WRITTEN:,} nodes")
    if size.unfolded > MOST_NODES:
        raise ModelError(f"has functions that unfold to more than {MOST_NODES:,} nodes")
    if size.nesting > DEEPEST:
        raise ModelError(f"has graphs inside graphs more than {DEEPEST} deep")
    if size.calls > LONGEST_CALLS:
        raise ModelError(f"has functions that call each other more than {LONGEST_CALLS} deep")
    return size


def _size_of(body: Body, known: Mapping[Key, _Size]) -> _Size:
    """Size of a body, given the sizes of the functions that it calls."""
    nodes = unfolded = nesting = calls = 0
    for inner, depth in nested_bodies(body):
        nodes += len(inner.node)
        nesting = max(nesting, depth)
        for callee in (known[key] for key in map(_key, inner.node) if key in known):
            unfolded += callee.nodes + callee.unfolded
            nesting = max(nesting, depth + callee.nesting)
            calls = max(calls, 1 + callee.calls)
    return _Size(nodes, unfolded, nesting, calls)


def _function_key(function: onnx.FunctionProto) -> Key:
    return function.domain, function.name, function.overload


def _key(node: onnx.NodeProto) -> Key:
    """The function that a node calls, if it calls one."""
    return node.domain, node.op_type, node.overload


def _check_attributes(model: onnx.ModelProto, bodies: Sequence[Body]) -> None:
    """Makes sure that no attribute outside of functions stands for an attribute of a function, and of equations.

    Equations of Einsum have to be such, since onnx's shape inference never returns from some others.

    Source: measured with onnx 1.23.2 and onnxruntime 1.32, which infers shapes with the same code: a stray dot is
        enough. Of random equations of the form that is asked for here, none hung.
    """
    attributes = (attribute for node in all_nodes(model.graph) for attribute in node.attribute)
    if any(attribute.ref_attr_name for attribute in attributes):
        raise ModelError("refers to an attribute of a function outside of any function")
    nodes = [node for body in bodies for node in body.node]
    given = [item for node in nodes if node.op_type == "Einsum" for item in node.attribute if item.name == "equation"]
    names = {item.ref_attr_name for item in given if item.ref_attr_name}
    if names:  # in functions, which get the equation from their callers or have one of their own
        given += [item for function in model.functions for item in function.attribute_proto if item.name in names]
        given += [item for node in nodes for item in node.attribute if item.name in names]
    for item in given:
        equation = item.s.replace(b" ", b"").decode(errors="replace")
        if not item.ref_attr_name and not _EQUATION.fullmatch(equation):
            raise ModelError(f"has an Einsum of the equation {equation!r}, which is not a valid one")


def _check_names(body: Body) -> None:
    """Makes sure that names are text and that no two initializers share one; protobuf gives other bytes as bytes."""
    if not all(isinstance(name, str) for name in _names(body)):
        raise ModelError("has a name that is not UTF-8 text")
    if isinstance(body, onnx.GraphProto):
        stored = Counter((*(tensor.name for tensor in body.initializer), *_sparse_names(body)))
        repeated = [name for name, count in stored.items() if count > 1]
        if repeated:
            raise ModelError(f"has two initializers called {repeated[0]!r}")


def _names(body: Body) -> Iterator[object]:
    """Everything in a body, its subgraphs left out, that something is looked up by."""
    yield body.name
    if isinstance(body, onnx.GraphProto):
        yield from (tensor.name for tensor in body.initializer)
        yield from _sparse_names(body)
        values = (*body.input, *body.output, *body.value_info)
    else:
        yield from (*body.input, *body.output, *body.attribute)
        values = (*body.value_info,)
    for value in values:
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in body.node:
        yield from (node.name, node.op_type, node.domain, node.overload, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)


def _sparse_names(graph: onnx.GraphProto) -> Iterator[str]:
    return (sparse.values.name for sparse in graph.sparse_initializer)
