"""How many bytes a tensor needs, and whether it holds them: known before anything is allocated for it."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import onnx
from onnx import helper, numpy_helper

from repvgg_onnx.errors import ModelError

STRING = onnx.TensorProto.STRING
FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")
LARGEST_SIZE = 2**62  # elements, of a tensor or along an axis; what onnxruntime and numpy count with has 63 bits
MOST_AXES = 64  # numpy and onnxruntime have fewer; a product of millions of sizes would take for ever
_NARROW = {"UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "UINT2": 2, "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6}
_NARROW_BITS = {value: _NARROW[name] for name, value in onnx.TensorProto.DataType.items() if name in _NARROW}


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the tensor lives in an external data file."""
    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL)


def needed_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of the tensor's elements by its shape and type, several elements to a byte where the type is narrow.

    Raises:
        ModelError: a size is negative or absurd, or the type is unknown or has no fixed width.
    """
    return -(-_count(tensor) * _bits(tensor) // 8)


def stored_bytes(tensor: onnx.TensorProto) -> int:
    """Bytes of the tensor's elements, as ``needed_bytes`` counts them; 0 for text, which has no fixed width."""
    return 0 if tensor.data_type == STRING or 0 in tensor.dims else needed_bytes(tensor)


def check_content(tensor: onnx.TensorProto) -> None:
    """Makes sure that a tensor which lives in the model holds exactly what its shape and type ask for.

    Raises:
        ModelError: it does not.
    """
    count = _count(tensor)
    stored = list(stored_fields(tensor))
    if len(stored) > 1 or tensor.HasField("segment"):
        raise ModelError(f"its tensor {tensor.name!r} stores its values in several ways at once")
    field, length = stored[0] if stored else ("nothing", 0)
    needed = 0
    if count or stored:
        needed = needed_bytes(tensor) if field == "raw_data" else _needed_entries(tensor, count, field)
    if length != needed:
        raise ModelError(f"its tensor {tensor.name!r} does not hold what its shape and type say")


def check_sparse(sparse: onnx.SparseTensorProto) -> None:
    """Makes sure that a sparse tensor has a value for each index, and that every index lies inside.

    Args:
        sparse: with parts that hold what they say.

    Raises:
        ModelError: they do not fit.
    """
    values, indices, shape = sparse.values, sparse.indices, tuple(sparse.dims)
    problem = ModelError(f"its sparse tensor {values.name!r} has indices that do not fit its shape and values")
    if not _is_possible(shape) or len(values.dims) != 1:
        raise problem
    if indices.data_type != onnx.TensorProto.INT64 or tuple(indices.dims[1:]) not in ((), (len(shape),)):
        raise problem
    if tuple(indices.dims[:1]) != tuple(values.dims):
        raise problem
    places = numpy_helper.to_array(indices)
    ends = shape if places.ndim == 2 else (math.prod(shape),)
    if np.any(places < 0) or np.any(places.reshape(-1, len(ends)) >= np.asarray(ends, dtype=np.int64)):
        raise problem


def stored_fields(tensor: onnx.TensorProto) -> Iterator[tuple[str, int]]:
    """Fields of a tensor that hold values, and how many entries; of raw data, bytes, of which there may be none."""
    if tensor.HasField("raw_data"):
        yield "raw_data", len(tensor.raw_data)
    yield from ((field, len(getattr(tensor, field))) for field in FIELDS if getattr(tensor, field))


def _needed_entries(tensor: onnx.TensorProto, count: int, field: str) -> int:
    """Entries that the elements take in one of the typed fields; -1 in the wrong one."""
    if tensor.data_type != STRING:
        _bits(tensor)
    if helper.tensor_dtype_to_field(tensor.data_type) != field and field != "nothing":
        return -1
    if tensor.data_type in (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128):
        return 2 * count
    if _NARROW_BITS.get(tensor.data_type) in (2, 4):
        return needed_bytes(tensor)
    return count


def _count(tensor: onnx.TensorProto) -> int:
    """Number of elements by the tensor's shape."""
    dims: tuple[int, ...] = tuple(tensor.dims)
    if not _is_possible(dims):
        shown = str(list(dims)) if len(dims) <= 8 else f"{list(dims[:8])}…"
        raise ModelError(f"its tensor {tensor.name!r} has the impossible shape {shown}")
    return math.prod(dims)


def _is_possible(dims: Sequence[int]) -> bool:
    """Whether a tensor may have this shape: neither too many axes nor too many elements."""
    return len(dims) <= MOST_AXES and min(dims, default=0) >= 0 and math.prod(dims) <= LARGEST_SIZE


def _bits(tensor: onnx.TensorProto) -> int:
    """Bits of one element."""
    bits = _bits_of(tensor.data_type)
    if bits is None:
        kind = f"the type {tensor.data_type}, whose elements have no known size"
        raise ModelError(f"its tensor {tensor.name!r} has {kind}")
    return bits


@lru_cache
def _bits_of(data_type: int) -> int | None:
    """Bits of one element of a type; None where they are not known or not fixed."""
    if data_type in _NARROW_BITS:
        return _NARROW_BITS[data_type]
    try:
        return None if data_type == STRING else 8 * int(helper.tensor_dtype_to_np_dtype(data_type).itemsize)
    except KeyError:
        return None
