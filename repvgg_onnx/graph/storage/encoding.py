"""The bytes of a protobuf message, read and written by hand; nothing else in the package does.

Source: Protocol Buffers, Encoding: a message is its fields in any order, each a key and a value; what has a length
(kind 2) is written with it in front.
"""

from collections.abc import Iterator
from typing import NamedTuple

from repvgg_onnx.errors import ModelError

NUMBER, WITH_LENGTH = 0, 2
"""Kinds of fields that onnx uses, besides those of a fixed length."""
LONGEST_NUMBER = 10  # bytes

_FIXED = {1: 8, 5: 4}  # kinds of fields with a fixed length in bytes


class Field(NamedTuple):
    """A field of a message; a tuple, since a file may have millions.

    Attributes:
        number: which one.
        kind: how it is written.
        start: first byte of its key.
        value: first byte of its value.
        end: first byte behind it.
    """

    number: int
    kind: int
    start: int
    value: int
    end: int


def fields_of(data: bytes | memoryview, start: int, end: int) -> Iterator[Field]:
    """Fields of the message between two bytes.

    Raises:
        ModelError: a field is longer than the message, or of a kind that onnx does not use.
    """
    while start < end:
        tag, value = read_varint(data, start)
        kind = tag & 7
        if kind == WITH_LENGTH:
            length, value = read_varint(data, value)
            after = value + length
        elif kind == NUMBER:
            _, after = read_varint(data, value)
        else:
            after = value + _FIXED.get(kind, end)
        if after > end:
            raise _odd()
        yield Field(tag >> 3, kind, start, value, after)
        start = after


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """A number and the position behind it.

    Raises:
        ModelError: the data ends in the middle, or the number is too long.
    """
    if position < len(data) and data[position] < 0x80:  # as nearly all are
        return data[position], position + 1
    number = 0
    for index, byte in enumerate(data[position : position + LONGEST_NUMBER]):
        number |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return number, position + index + 1
    raise _odd()


def varint(number: int) -> bytes:
    """A number of at least 0, seven bits a byte, the least first.

    Example:
        >>> varint(300).hex()
        'ac02'
    """
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*groups, number))


def key(field: int, length: int) -> bytes:
    """What stands before a field that has a length."""
    return varint(field << 3 | WITH_LENGTH) + varint(length)


def _odd() -> ModelError:
    return ModelError("is not an ONNX model, or is truncated")
