"""The files that hold a model's tensors, mapped and not loaded."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.storage.external import ExternalRange, read, resolve
from repvgg_onnx.graph.storage.tensors import is_external


@dataclass(frozen=True, eq=False)
class TensorFiles:
    """Where the tensors are that a model only refers to. Each file is opened once, and so is the same for all of them.

    Attributes:
        folder: the model's, which no side file lies outside of.
        own: the model's own file, where its references are into that; None where they are into side files.
    """

    folder: Path
    own: memoryview | None = None
    _maps: dict[Path, memoryview] = field(default_factory=dict)

    def data(self, tensor: onnx.TensorProto) -> memoryview:
        """Bytes of a tensor that the model refers to.

        Raises:
            ModelError: they cannot be read.
        """
        if self.own is not None:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            return self.own[int(entries["offset"]) :][: int(entries["length"])]
        place = resolve(tensor, self.folder)
        if place.path not in self._maps:
            self._maps[place.path] = read(ExternalRange(place.path, 0, place.path.stat().st_size))
        return self._maps[place.path][place.offset :][: place.length]

    def load(self, tensor: onnx.TensorProto) -> None:
        """The tensor, which the model referred to, holds its bytes itself.

        Raises:
            ModelError: they cannot be read.
        """
        tensor.raw_data = bytes(self.data(tensor))
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
