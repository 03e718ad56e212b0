"""How many fields the bytes of a model hold: counted before they are parsed, because each takes memory of its own.

An empty message is two bytes in a file and up to 200 in memory, so that a small file could stand for gigabytes.

Source: Protocol Buffers, Encoding; the sizes are measured with protobuf's own parser.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import onnx
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from repvgg_onnx.errors import ModelError

MOST = 2_000_000
SMALLEST_COUNTED = 2**22  # bytes; whatever fewer stand for fits into memory
PACKED = 25  # bytes of packed 64-bit numbers that count as a field
LONGEST_NUMBER = 10  # bytes

_FIXED = {1: 8, 5: 4}  # kinds of fields with a fixed length in bytes
_WIDE = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


@dataclass(frozen=True)
class _Layout:
    """What a message of a type may hold.

    Attributes:
        inner: by number, the types of the fields that are messages themselves.
        packed: numbers of the fields that may be many numbers at once.
    """

    inner: Mapping[int, Descriptor]
    packed: frozenset[int]


def check_fields(data: bytes) -> None:
    """Makes sure that a model is worth parsing.

    Args:
        data: bytes of a ModelProto.

    Raises:
        ModelError: it holds more than MOST fields, or is not such a message.
    """
    if len(data) < SMALLEST_COUNTED:
        return
    count = 0
    waiting: list[tuple[Descriptor, int, int]] = [(onnx.ModelProto.DESCRIPTOR, 0, len(data))]
    while waiting:
        message, position, end = waiting.pop()
        layout = _layout(message)
        while position < end:
            number, value, position = _next(data, position, end)
            count += 1 + ((position - value) // PACKED if number in layout.packed else 0)
            if count > MOST:
                raise ModelError(f"has more than {MOST:,} fields, which would take far more memory than the file")
            if number in layout.inner:
                waiting.append((layout.inner[number], value, position))


@cache
def _layout(message: Descriptor) -> _Layout:
    inner = {field.number: field.message_type for field in message.fields if field.message_type is not None}
    return _Layout(inner, frozenset(field.number for field in message.fields if field.cpp_type in _WIDE))


def _next(data: bytes, position: int, end: int) -> tuple[int, int, int]:
    """Number of the field at a position, the first byte of its value, and the first byte behind it.

    What has no length counts as having number 0.
    """
    tag, value = read_varint(data, position)
    kind = tag & 7
    if kind == 2:
        length, value = read_varint(data, value)
        number, after = tag >> 3, value + length
    elif kind == 0:
        number, after = 0, read_varint(data, value)[1]
    else:
        number, after = 0, value + _FIXED.get(kind, end)
    if after > end:
        raise _odd()
    return number, value, after


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """A number and the position behind it.

    Raises:
        ModelError: the data ends in the middle, or the number is too long.
    """
    number = 0
    for index, byte in enumerate(data[position : position + LONGEST_NUMBER]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    raise _odd()


def _odd() -> ModelError:
    return ModelError("is not an ONNX model, or is truncated")
