"""ModelProto to the bytes of one message, written tensor by tensor: there is never a second model in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import BinaryIO, TypeVar

import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from repvgg_onnx.graph.storage.encoding import key

M = TypeVar("M", bound=Message)
REFERENCE = ("external_data", "data_location")
"""Fields that say where else a tensor's data is."""


@dataclass(frozen=True, eq=False)
class Piece:
    """One initializer as it is to be written.

    Attributes:
        tensor: the message.
        data: what follows as its ``raw_data``; None where the message is complete.
    """

    tensor: onnx.TensorProto
    data: memoryview | None = None

    @cached_property
    def size(self) -> int:
        """Length in bytes."""
        own = int(self.tensor.ByteSize())
        return own if self.data is None else own + len(self._data_key(self.data)) + len(self.data)

    def write(self, stream: BinaryIO) -> None:
        """The initializer stands at the stream's position."""
        stream.write(self.tensor.SerializeToString(deterministic=True))
        if self.data is not None:
            stream.write(self._data_key(self.data))
            stream.write(self.data)

    @staticmethod
    def _data_key(data: memoryview) -> bytes:
        return key(onnx.TensorProto.RAW_DATA_FIELD_NUMBER, len(data))


@dataclass(frozen=True, eq=False)
class Content:
    """A model as it is to be written.

    Attributes:
        rest: the model without its graph, serialized.
        body: the graph without its initializers, serialized.
        pieces: the initializers.
    """

    rest: bytes
    body: bytes
    pieces: Sequence[Piece]

    @cached_property
    def _graph_size(self) -> int:
        return len(self.body) + sum(len(_initializer_key(piece)) + piece.size for piece in self.pieces)

    @property
    def size(self) -> int:
        """Length in bytes."""
        return len(self.rest) + len(self._graph_key) + self._graph_size

    @property
    def _graph_key(self) -> bytes:
        return key(onnx.ModelProto.GRAPH_FIELD_NUMBER, self._graph_size)

    def write(self, stream: BinaryIO) -> None:
        """The model stands at the stream's position."""
        for part in (self.rest, self._graph_key, self.body):
            stream.write(part)
        for piece in self.pieces:
            stream.write(_initializer_key(piece))
            piece.write(stream)


def content_of(model: onnx.ModelProto, pieces: Sequence[Piece]) -> Content:
    """The model with these initializers instead of its own."""
    rest = without(model, "graph").SerializeToString(deterministic=True)
    body = without(model.graph, "initializer").SerializeToString(deterministic=True)
    return Content(rest, body, pieces)


def without(message: M, *names: str) -> M:
    """A copy without some of the fields; they are copied after all where only a copy of the whole keeps the rest."""
    made: M = type(message)()
    fields = [(field, value) for field, value in message.ListFields() if field.name not in names]
    if len(UnknownFieldSet(message)) or any(_is_no_text(field, value) for field, value in fields):
        made.CopyFrom(message)
        for name in names:
            made.ClearField(name)
        return made
    for field, value in fields:
        if hasattr(value, "extend"):
            getattr(made, field.name).extend(value)
        elif isinstance(value, Message):
            getattr(made, field.name).CopyFrom(value)
        else:
            setattr(made, field.name, value)
    return made


def refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    """A tensor without data refers to a file for it.

    Args:
        tensor: changed in place.
        location: path relative to the model.
        offset: first byte.
        length: number of bytes.
    """
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for name, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=name, value=str(value))


def _is_no_text(field: FieldDescriptor, value: object) -> bool:
    """Whether a text holds other bytes, which a file may and a program may not put there."""
    return field.type == FieldDescriptor.TYPE_STRING and isinstance(value, bytes)


def _initializer_key(piece: Piece) -> bytes:
    return key(onnx.GraphProto.INITIALIZER_FIELD_NUMBER, piece.size)
