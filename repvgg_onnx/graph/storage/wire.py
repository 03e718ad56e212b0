"""A model's file without the data of its large tensors, taken out before the rest is parsed.

Parsing copies every tensor into memory that is not given back before the whole model is. What is taken out here stays
in the mapped file until somebody asks for it.

Source: Protocol Buffers, Encoding.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from google.protobuf.message import DecodeError

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.storage.fields import read_varint
from repvgg_onnx.graph.storage.stream import key, refer
from repvgg_onnx.graph.storage.tensors import needed_bytes

THIS_FILE = "."
"""Location of tensors that are in the model's own file; no external data file is called so."""
SMALLEST_TAKEN = 2**16  # bytes; smaller tensors are parsed with the rest
MOST_FIELDS = 250_000  # of a graph, and of the model beside it; with more, only the parser is fast enough
MOST_TENSOR_FIELDS = 64

_LENGTHS = {1: 8, 5: 4}  # kinds of fields with a fixed length in bytes
_PLAIN = frozenset(
    {
        onnx.TensorProto.DIMS_FIELD_NUMBER,
        onnx.TensorProto.DATA_TYPE_FIELD_NUMBER,
        onnx.TensorProto.NAME_FIELD_NUMBER,
        onnx.TensorProto.DOC_STRING_FIELD_NUMBER,
    }
)


@dataclass(frozen=True)
class Field:
    """A field of a message.

    Attributes:
        number: which one.
        kind: how it is written; 2 for what has a length.
        start: first byte of its key.
        value: first byte of its value.
        end: first byte behind it.
    """

    number: int
    kind: int
    start: int
    value: int
    end: int


@dataclass(frozen=True)
class Slim:
    """A model whose large initializers refer to their place in its file.

    Attributes:
        data: bytes of a ModelProto.
        taken: how many initializers do.
    """

    data: bytes
    taken: int


def take_out_data(data: memoryview) -> Slim | None:
    """The model without the data of its large initializers; None where nothing is worth it or the bytes are odd.

    Args:
        data: bytes of the file.
    """
    try:
        fields = list(_fields(data, 0, len(data), MOST_FIELDS))
        graphs = [field for field in fields if field.number == onnx.ModelProto.GRAPH_FIELD_NUMBER]
        if len(graphs) != 1 or graphs[0].kind != 2:
            return None
        graph, taken = _graph(data, graphs[0])
    except (DecodeError, ModelError, _NotTakenError):
        return None
    return Slim(b"".join((data[: graphs[0].start], graph, data[graphs[0].end :])), taken) if taken else None


class _NotTakenError(Exception):
    """The file has to be parsed as it is."""


def _graph(data: memoryview, graph: Field) -> tuple[bytes, int]:
    """The graph's field, and how many initializers were taken out of it."""
    parts: list[bytes | memoryview] = []
    copied, taken = graph.value, 0
    for field in _fields(data, graph.value, graph.end, MOST_FIELDS):
        tensor = _tensor(data, field) if field.number == onnx.GraphProto.INITIALIZER_FIELD_NUMBER else None
        if tensor is not None:
            parts += [data[copied : field.start], key(field.number, len(tensor)), tensor]
            copied, taken = field.end, taken + 1
    body = b"".join((*parts, data[copied : graph.end]))
    return key(graph.number, len(body)) + body, taken


def _tensor(data: memoryview, tensor: Field) -> bytes | None:
    """A large initializer as a reference; None for one that stays as it is."""
    large = tensor.end - tensor.value >= SMALLEST_TAKEN
    fields = list(_fields(data, tensor.value, tensor.end, MOST_TENSOR_FIELDS)) if large else []
    raw = [field for field in fields if field.number == onnx.TensorProto.RAW_DATA_FIELD_NUMBER]
    others = [field for field in fields if field not in raw]
    if len(raw) != 1 or raw[0].kind != 2 or any(field.number not in _PLAIN for field in others):
        return None
    offset, length = raw[0].value, raw[0].end - raw[0].value
    plain = onnx.TensorProto.FromString(b"".join(data[field.start : field.end] for field in others))
    if length != needed_bytes(plain):
        return None
    refer(plain, THIS_FILE, offset, length)
    return bytes(plain.SerializeToString())


def _fields(data: memoryview, start: int, end: int, most: int) -> Iterator[Field]:
    """Fields of the message between two bytes.

    Raises:
        ModelError: the data ends in the middle of a number.
        _NotTakenError: there are more fields, or one is longer than the message or of a kind that onnx does not use.
    """
    position = start
    for _ in range(most):
        if position == end:
            return
        tag, value = read_varint(data, position)
        kind = tag & 7
        if kind == 0:
            _, after = read_varint(data, value)
        elif kind == 2:
            length, value = read_varint(data, value)
            after = value + length
        else:
            after = value + _LENGTHS.get(kind, end)
        if after > end:
            raise _NotTakenError
        yield Field(tag >> 3, kind, position, value, after)
        position = after
    raise _NotTakenError
