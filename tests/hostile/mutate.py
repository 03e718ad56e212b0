"""Mutations of model files: of their bytes, and of the messages that the bytes stand for."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

INTEGERS = (0, 1, 2, 3, 4, 5, 7, 8, 16, 255, 256, 65536, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 1e-30, 1e-5, -1e-5, 1e30, 3e38, float("inf"), float("-inf"), float("nan"))
STRINGS = ("", "x", "y", "w", "a", "\0", "../x", "/etc/passwd", "é", "ai.onnx", "SAME_UPPER", "VALID", "external.bin")
_AFFINE = "Add Sub Mul Div Sum Mean Neg Conv ConvTranspose BatchNormalization Gemm MatMul AveragePool Pad Transpose"
_OTHER = "Identity Cast Concat Split Slice Relu Dropout Reshape Expand Shape Constant Flatten Clip Max Mod Pow Gather"
OPERATORS = f"{_AFFINE} {_OTHER} Softmax Squeeze".split()

Change = Callable[[onnx.ModelProto, random.Random, Sequence[onnx.ModelProto]], None]


def mutate(data: bytes, rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One to four mutations of a file: three times in four of its messages, else of its bytes."""
    if rng.random() < 0.25:
        return mutate_bytes(data, rng, corpus)
    model = onnx.ModelProto.FromString(data)
    others = [onnx.ModelProto.FromString(rng.choice(corpus))]
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        rng.choice(CHANGES)(model, rng, others)
    try:
        return model.SerializeToString()
    except Exception:  # grown too deep for protobuf
        return data


def mutate_bytes(data: bytes, rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """Bit flips, other bytes, truncation, and parts of this or another file cut out, doubled or put in."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        start = rng.randrange(len(changed) + 1)
        stop = min(start + rng.choice((1, 1, 2, 4, 8, 64)), len(changed))
        kind = rng.randrange(7)
        if kind == 0 and start < len(changed):
            changed[start] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[start:stop] = rng.randbytes(stop - start)
        elif kind == 2:
            changed[start:stop] = rng.choice((b"\0", b"\xff", b"\x80", b"\x7f")) * (stop - start)
        elif kind == 3:
            del changed[start:stop]
        elif kind == 4:
            changed[start:start] = changed[start:stop]
        elif kind == 5:
            other = rng.choice(corpus)
            begin = rng.randrange(len(other))
            changed[start:stop] = other[begin : begin + rng.choice((4, 16, 64, 256))]
        elif rng.random() < 0.3:
            del changed[start:]
    return bytes(changed)


def any_field(model: onnx.ModelProto, rng: random.Random, others: Sequence[onnx.ModelProto]) -> None:
    """Some field of some message, the kinds of messages equally often, gets another value."""
    message = _any_message(model, rng)
    field = rng.choice(message.DESCRIPTOR.fields)
    if field.message_type is not None:
        _change_messages(message, field, rng, [model, *others])
    elif field.is_repeated:
        _change_values(getattr(message, field.name), field, rng, model)
    elif rng.random() < 0.2:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _value(field, getattr(message, field.name), rng, model))


def present_field(model: onnx.ModelProto, rng: random.Random, others: Sequence[onnx.ModelProto]) -> None:
    """Some field that is there is gone, doubled, or has another value."""
    message = _any_message(model, rng)
    fields = [field for field, _ in message.ListFields()]
    if not fields:
        return
    field = rng.choice(fields)
    if rng.random() < 0.25:
        message.ClearField(field.name)
    elif field.message_type is not None:
        _change_messages(message, field, rng, [model, *others])
    elif field.is_repeated:
        _change_values(getattr(message, field.name), field, rng, model)
    else:
        setattr(message, field.name, _value(field, getattr(message, field.name), rng, model))


def rename(model: onnx.ModelProto, rng: random.Random, others: Sequence[onnx.ModelProto]) -> None:
    """An input or output of a node, an initializer, or a graph's input or output has the name of another tensor."""
    names = list(_names(model)) or [""]
    nodes = [message for message in _messages(model) if isinstance(message, onnx.NodeProto)]
    named = [message for message in _messages(model) if isinstance(message, onnx.TensorProto | onnx.ValueInfoProto)]
    if nodes and rng.random() < 0.7:
        node = rng.choice(nodes)
        places = node.input if rng.random() < 0.6 or not node.output else node.output
        if places:
            places[rng.randrange(len(places))] = rng.choice(names)
    elif named:
        rng.choice(named).name = rng.choice(names)


def change_shape(model: onnx.ModelProto, rng: random.Random, others: Sequence[onnx.ModelProto]) -> None:
    """Sizes of a tensor are swapped, changed, added or removed; sometimes its values grow or shrink to fit."""
    tensors = [message for message in _messages(model) if isinstance(message, onnx.TensorProto)]
    if not tensors:
        return
    tensor = rng.choice(tensors)
    dims = list(tensor.dims)
    kind = rng.randrange(4)
    if kind == 0:
        rng.shuffle(dims)
    elif kind == 1:
        dims.insert(rng.randint(0, len(dims)), rng.choice((1, 1, 0, 2)))
    elif kind == 2 and dims:
        del dims[rng.randrange(len(dims))]
    elif dims:
        dims[rng.randrange(len(dims))] = rng.choice((0, 1, 2, 3, 4, 6, 8, -1, 2**31, 2**62))
    tensor.dims[:] = dims
    if rng.random() < 0.7:
        _refill(tensor, rng)


def change_type(model: onnx.ModelProto, rng: random.Random, others: Sequence[onnx.ModelProto]) -> None:
    """A tensor, an input or an output has another type; sometimes its values fit it."""
    kinds = onnx.TensorProto | onnx.TypeProto.Tensor
    message = rng.choice([each for each in _messages(model) if isinstance(each, kinds)] or [onnx.TensorProto()])
    chosen = rng.choice((1, 1, 10, 11, 16, 7, 6, 9, 8, 0, 3, 22, 99))
    if isinstance(message, onnx.TypeProto.Tensor):
        message.elem_type = chosen
        return
    message.data_type = chosen
    if rng.random() < 0.7:
        _refill(message, rng)


def change_weights(model: onnx.ModelProto, rng: random.Random, others: Sequence[onnx.ModelProto]) -> None:
    """A float tensor has a zero, a huge, a tiny or a negative value, an infinity or a NaN."""
    tensors = [
        message
        for message in _messages(model)
        if isinstance(message, onnx.TensorProto) and message.data_type == 1 and len(message.raw_data) >= 4
    ]
    if tensors:
        tensor = rng.choice(tensors)
        data = bytearray(tensor.raw_data)
        start = 4 * rng.randrange(len(data) // 4)
        data[start : start + 4] = onnx.numpy_helper.from_array(np.float32(rng.choice(FLOATS))).raw_data
        tensor.raw_data = bytes(data)


def change_operator(model: onnx.ModelProto, rng: random.Random, others: Sequence[onnx.ModelProto]) -> None:
    """A node is another operator, stands elsewhere, or reads its inputs in another order."""
    graphs = [message for message in _messages(model) if isinstance(message, onnx.GraphProto) and message.node]
    if not graphs:
        return
    nodes = rng.choice(graphs).node
    index = rng.randrange(len(nodes))
    kind = rng.randrange(4)
    if kind == 0:
        nodes[index].op_type = rng.choice(OPERATORS)
    elif kind == 1:
        moved = onnx.NodeProto()
        moved.CopyFrom(nodes[index])
        del nodes[index]
        nodes.insert(rng.randint(0, len(nodes)), moved)
    elif kind == 2:
        inputs = list(nodes[index].input)
        rng.shuffle(inputs)
        nodes[index].input[:] = inputs
    else:
        model.opset_import.add(version=rng.choice((1, 6, 7, 9, 11, 13, 18, 21, 23))) if rng.random() < 0.2 else None
        for entry in model.opset_import:
            entry.version = rng.choice((entry.version, 1, 6, 7, 8, 9, 11, 12, 13, 14, 18, 21, 23, 25))


def change_attribute(model: onnx.ModelProto, rng: random.Random, others: Sequence[onnx.ModelProto]) -> None:
    """A number in an attribute is another one, or the attribute moves to another node."""
    nodes = [message for message in _messages(model) if isinstance(message, onnx.NodeProto)]
    attributes = [attribute for node in nodes for attribute in node.attribute]
    if not attributes:
        return
    attribute = rng.choice(attributes)
    if rng.random() < 0.2:
        data = attribute.SerializeToString()  # the attribute itself may move in memory
        rng.choice(nodes).attribute.add().ParseFromString(data)
    elif attribute.ints:
        ints = attribute.ints
        ints[rng.randrange(len(ints))] = rng.choice((0, 1, 2, 3, 4, 5, -1, -2, 7, 100, 2**20, 2**31, 2**62))
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice((0, 1, 2, 3, 4, -1, 8, 2**31, 2**62))
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = rng.choice(FLOATS)


CHANGES: Sequence[Change] = (
    any_field,
    present_field,
    present_field,
    rename,
    change_shape,
    change_type,
    change_weights,
    change_operator,
    change_attribute,
)


def _messages(message: Message) -> Iterator[Message]:
    """A message and everything in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else (value,):
                yield from _messages(inner)


def _any_message(model: onnx.ModelProto, rng: random.Random) -> Message:
    kinds: dict[str, list[Message]] = {}
    for message in _messages(model):
        kinds.setdefault(message.DESCRIPTOR.name, []).append(message)
    return rng.choice(kinds[rng.choice(sorted(kinds))])


def _change_messages(
    message: Message, field: FieldDescriptor, rng: random.Random, sources: Sequence[onnx.ModelProto]
) -> None:
    """One of the messages in a field is gone, doubled, moved, or replaced by one of its kind from anywhere."""
    found = [each for source in sources for each in _messages(source) if each.DESCRIPTOR is field.message_type]
    if not field.is_repeated:
        if found:
            _copy(getattr(message, field.name), rng.choice(found))
        return
    items = getattr(message, field.name)
    kind = rng.randrange(4)
    if kind == 0 and items:
        del items[rng.randrange(len(items))]
    elif kind == 1 and items:
        _copy(items.add(), rng.choice(items))
    elif kind == 2 and len(items) > 1:
        one, two = rng.sample(range(len(items)), 2)
        saved = items[one].SerializeToString()
        _copy(items[one], items[two])
        items[two].ParseFromString(saved)
    elif found:
        _copy(items.add(), rng.choice(found))


def _copy(target: Message, source: Message) -> None:
    """The target equals the source, which may hold it."""
    try:
        target.ParseFromString(source.SerializeToString())
    except DecodeError:  # too deep
        target.Clear()


def _change_values(values: Any, field: FieldDescriptor, rng: random.Random, model: onnx.ModelProto) -> None:
    kind = rng.randrange(3)
    if kind == 0 and len(values):
        del values[rng.randrange(len(values))]
    elif kind == 1 and len(values):
        index = rng.randrange(len(values))
        values[index] = _value(field, values[index], rng, model)
    else:
        values.append(_value(field, None, rng, model))


def _value(field: FieldDescriptor, old: Any, rng: random.Random, model: onnx.ModelProto) -> Any:
    """Another value for a scalar field."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            data = bytearray(old or b"abcd")
            if data:
                data[rng.randrange(len(data))] = rng.randrange(256)
            return bytes(data[: rng.choice((len(data), len(data), 0, 4))])
        return rng.choice([*STRINGS, *(name for name in _names(model) if name)])
    if field.cpp_type in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice(FLOATS)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return rng.choice(field.enum_type.values).number
    if field.cpp_type == FieldDescriptor.CPPTYPE_INT32:
        return rng.choice([number for number in INTEGERS if number < 2**31]) * rng.choice((1, 1, 1, -1))
    if field.cpp_type == FieldDescriptor.CPPTYPE_UINT64:
        return rng.choice(INTEGERS)
    return rng.choice(INTEGERS) * rng.choice((1, 1, 1, -1)) if rng.random() < 0.7 else (old or 0) + rng.choice((1, -1))


def _names(model: onnx.ModelProto) -> Iterator[str]:
    for message in _messages(model):
        if isinstance(message, onnx.NodeProto):
            yield from (*message.input, *message.output)
        elif isinstance(message, onnx.TensorProto | onnx.ValueInfoProto):
            yield message.name


def _refill(tensor: onnx.TensorProto, rng: random.Random) -> None:
    """As many bytes as the shape and the type ask for, if that is not too many."""
    count = 1
    for size in tensor.dims:
        count *= size
    width = {1: 4, 10: 2, 11: 8, 16: 2, 7: 8, 6: 4, 9: 1, 3: 1}.get(tensor.data_type)
    if width is None or not 0 <= count <= 1000:
        return
    old = tensor.raw_data or b"\0\0\x80\x3f"
    for field in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data"):
        tensor.ClearField(field)
    tensor.raw_data = (old * (count * width // len(old) + 1))[: count * width] if old else bytes(count * width)
