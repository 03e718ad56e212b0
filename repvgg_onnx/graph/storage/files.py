"""The files that hold a model's tensors, mapped and not loaded, and arrays that are to become tensors of one."""

import mmap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.storage.external import IN_MEMORY, ExternalRange, read, resolve
from repvgg_onnx.graph.storage.stream import refer
from repvgg_onnx.graph.storage.tensors import is_external

SMALLEST_KEPT = 2**16  # bytes; smaller arrays may as well be in the model


@dataclass(frozen=True, eq=False)
class TensorFiles:
    """Where the tensors are that a model only refers to. Each file is opened once, and so is the same for all of them.

    Arrays can be kept here as well, so that nobody copies them into the model before it is written.

    Attributes:
        folder: the model's, which no external data file lies outside of.
        own: the model's own file, where its references are into that; None where they are into external data files.
    """

    folder: Path
    own: memoryview | None = None
    _maps: dict[Path, memoryview] = field(default_factory=dict)
    _kept: dict[str, memoryview] = field(default_factory=dict)  # by location

    def shared(self) -> "TensorFiles":
        """The same files, and none of the arrays that are kept here."""
        return TensorFiles(self.folder, self.own, self._maps)

    def keep(self, array: NDArray[Any], name: str) -> onnx.TensorProto:
        """A tensor that refers to the array, which must not be changed any more.

        Args:
            array: of a type with whole bytes.
            name: the tensor's.
        """
        stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        location = f"{IN_MEMORY}{name}"
        self._kept[location] = stored.reshape(-1).view(np.uint8).data
        elem_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = onnx.TensorProto(name=name, data_type=elem_type, dims=array.shape)
        refer(tensor, location, 0, stored.nbytes)
        return tensor

    def keep_only(self, tensors: Iterable[onnx.TensorProto]) -> None:
        """Forgets the arrays that none of these tensors refers to."""
        used = {_entries(tensor)["location"] for tensor in tensors if is_external(tensor)}
        for location in self._kept.keys() - used:
            del self._kept[location]

    def release(self) -> None:
        """What has been read of the files takes no memory any more; it is mapped again when it is looked at."""
        for view in (self.own, *self._maps.values()):
            if view is not None and isinstance(view.obj, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                view.obj.madvise(mmap.MADV_DONTNEED)

    def data(self, tensor: onnx.TensorProto) -> memoryview:
        """Bytes of a tensor that the model refers to.

        Raises:
            ModelError: they cannot be read.
        """
        entries = _entries(tensor)
        kept = self._kept.get(entries.get("location", ""))
        if kept is not None:
            return kept
        if self.own is not None:
            return self.own[int(entries["offset"]) :][: int(entries["length"])]
        place = resolve(tensor, self.folder)
        if place.path not in self._maps:
            self._maps[place.path] = read(ExternalRange(place.path, 0, place.path.stat().st_size))
        found = self._maps[place.path][place.offset :][: place.length]
        if len(found) < place.length:
            raise ModelError(f"external data cannot be read: {place.path.name!r} has grown since it was opened")
        return found

    def load(self, tensor: onnx.TensorProto) -> None:
        """The tensor, which the model referred to, holds its bytes itself.

        Raises:
            ModelError: they cannot be read.
        """
        tensor.raw_data = bytes(self.data(tensor))
        self._kept.pop(_entries(tensor).get("location", ""), None)
        tensor.ClearField("data_location")
        del tensor.external_data[:]

    def load_all(self, model: onnx.ModelProto) -> None:
        """The model, which is changed in place, holds all its initializers itself.

        Raises:
            ModelError: one cannot be read.
        """
        for tensor in model.graph.initializer:
            if is_external(tensor):
                self.load(tensor)


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    """What a tensor says of the place of its data."""
    return {entry.key: entry.value for entry in tensor.external_data}


def array_of(tensor: onnx.TensorProto, files: TensorFiles | None) -> NDArray[np.generic]:
    """The values of a tensor; those of an external one are mapped where numpy can see the file's bytes as they are.

    Args:
        tensor: not changed.
        files: the model's files; None for a model without external tensors.

    Raises:
        ModelError: it is external, and cannot be read.
        ValueError, TypeError: it does not hold what its shape and type say.
    """
    if not is_external(tensor):
        return numpy_helper.to_array(tensor)
    if files is None:
        raise ModelError(f"external data cannot be read: only the path of the model leads to tensor {tensor.name!r}")
    data = files.data(tensor)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if dtype.itemsize * int(np.prod(tensor.dims, dtype=np.int64)) == len(data):
        return np.frombuffer(data, dtype=dtype.newbyteorder("<")).reshape(tuple(tensor.dims))
    return numpy_helper.to_array(onnx.TensorProto(data_type=tensor.data_type, dims=tensor.dims, raw_data=bytes(data)))
