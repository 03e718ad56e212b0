"""A model's file without the data of its large tensors, taken out before the rest is parsed.

Parsing copies every tensor into memory that is not given back before the whole model is. What is taken out here stays
in the mapped file until somebody asks for it.
"""

from dataclasses import dataclass
from itertools import islice

import onnx
from google.protobuf.message import DecodeError

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.storage.encoding import WITH_LENGTH, Field, fields_of, key
from repvgg_onnx.graph.storage.stream import refer
from repvgg_onnx.graph.storage.tensors import needed_bytes

THIS_FILE = "."
"""Location of tensors that are in the model's own file; no external data file is called so."""
SMALLEST_TAKEN = 2**16  # bytes; smaller tensors are parsed with the rest
MOST_FIELDS = 250_000  # of a graph, and of the model beside it; with more, only the parser is fast enough
MOST_TENSOR_FIELDS = 64

_PLAIN = frozenset(
    {
        onnx.TensorProto.DIMS_FIELD_NUMBER,
        onnx.TensorProto.DATA_TYPE_FIELD_NUMBER,
        onnx.TensorProto.NAME_FIELD_NUMBER,
        onnx.TensorProto.DOC_STRING_FIELD_NUMBER,
    }
)


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
        fields = _fields(data, 0, len(data), MOST_FIELDS)
        graphs = [field for field in fields if field.number == onnx.ModelProto.GRAPH_FIELD_NUMBER]
        if len(graphs) != 1 or graphs[0].kind != WITH_LENGTH:
            return None
        graph, taken = _graph(data, graphs[0])
    except (DecodeError, ModelError):
        return None
    return Slim(b"".join((data[: graphs[0].start], graph, data[graphs[0].end :])), taken) if taken else None


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
    fields = _fields(data, tensor.value, tensor.end, MOST_TENSOR_FIELDS) if large else []
    raw = [field for field in fields if field.number == onnx.TensorProto.RAW_DATA_FIELD_NUMBER]
    others = [field for field in fields if field not in raw]
    if len(raw) != 1 or raw[0].kind != WITH_LENGTH or any(field.number not in _PLAIN for field in others):
        return None
    offset, length = raw[0].value, raw[0].end - raw[0].value
    plain = onnx.TensorProto.FromString(b"".join(data[field.start : field.end] for field in others))
    if length != needed_bytes(plain):
        return None
    refer(plain, THIS_FILE, offset, length)
    return bytes(plain.SerializeToString())


def _fields(data: memoryview, start: int, end: int, most: int) -> list[Field]:
    """Fields of the message between two bytes.

    Raises:
        ModelError: they are none of a message, or more than so many.
    """
    found = list(islice(fields_of(data, start, end), most + 1))
    if len(found) > most:
        raise ModelError("has too many fields to look at one by one")
    return found
