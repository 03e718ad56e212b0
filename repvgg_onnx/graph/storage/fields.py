"""How many fields the bytes of a model hold: counted before they are parsed, because each takes memory of its own.

An empty message is two bytes in a file and up to 200 in memory, so that a small file could stand for gigabytes.

Source: measured with protobuf's own parser.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import onnx
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.storage.encoding import WITH_LENGTH, fields_of

MOST = 2_000_000
SMALLEST_COUNTED = 2**22  # bytes; whatever fewer stand for fits into memory
PACKED = 25  # bytes of packed 64-bit numbers that count as a field

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
        message, start, end = waiting.pop()
        layout = _layout(message)
        for number, kind, _, value, after in fields_of(data, start, end):
            has_length = kind == WITH_LENGTH
            count += 1 + ((after - value) // PACKED if has_length and number in layout.packed else 0)
            if count > MOST:
                raise ModelError(f"has more than {MOST:,} fields, which would take far more memory than the file")
            if has_length and number in layout.inner:
                waiting.append((layout.inner[number], value, after))


@cache
def _layout(message: Descriptor) -> _Layout:
    inner = {field.number: field.message_type for field in message.fields if field.message_type is not None}
    return _Layout(inner, frozenset(field.number for field in message.fields if field.cpp_type in _WIDE))
