"""The user's own inputs: ``.npz`` and ``.npy`` files and ``test_data_set_*`` folders, and nothing is ever unpickled."""

import os
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
from onnx import numpy_helper

from repvgg_onnx.checks.session import Array
from repvgg_onnx.errors import CheckError
from repvgg_onnx.graph.pointers import POINTER, is_pointer_file

InputSource = str | os.PathLike[str] | Mapping[str, Array]
InputsLike = InputSource | Sequence[InputSource]
LabelsLike = str | os.PathLike[str] | Array
Content = TypeVar("Content")

LABELS = "labels"
"""Name of the array that holds the classes of the rows, beside the inputs."""

_NPY_MAGIC = b"\x93NUMPY"
_INPUT_FILE = re.compile(r"input_(\d+)\.pb")
_TEST_DATA_SET = re.compile(r"test_data_set_([0-9]+)")


@dataclass(frozen=True)
class Dataset:
    """Arrays that are fed together.

    Attributes:
        label: what they are called in a report: the name of the file or folder, or ``inputs``.
        arrays: input name to array, for at least one of the model's inputs.
        labels: the class of each row, if it is known.  (rows,)
    """

    label: str
    arrays: dict[str, Array]
    labels: Array | None = None


def load_datasets(inputs: InputsLike, names: Sequence[str]) -> tuple[Dataset, ...]:
    """Everything that the user gave, in the order given.

    A mapping and an ``.npz`` file hold arrays by input name; other arrays in them are ignored, save one-dimensional
    integers called ``labels``. An ``.npy`` file holds the only input. A folder is an ONNX test data set, or holds
    folders ``test_data_set_0``, ``test_data_set_1``, ...: ``input_N.pb`` is the model's input number N; the expected
    outputs beside it are not read, because the first model is what the second is compared with.

    Args:
        inputs: a mapping or a path, or several.
        names: of the model's inputs, in its order.

    Raises:
        CheckError: a file is missing or cannot be read, holds Python objects, or holds no input of the model.
    """
    sources = [inputs] if isinstance(inputs, str | os.PathLike | Mapping) else inputs
    return tuple(dataset for source in sources for dataset in _datasets(source, names))


def load_labels(labels: LabelsLike) -> Array:
    """The classes of all rows, from an array or an ``.npy`` file: one integer a row.

    Raises:
        CheckError: the file cannot be read, or its array is not one-dimensional or holds no integers.
    """
    if isinstance(labels, str | os.PathLike):
        path = Path(labels)
        read = _read(path, _read_arrays)
        if isinstance(read, dict):
            raise CheckError(f"labels file {path} is an archive, not an .npy array")
        array = read
    else:
        array = np.asarray(labels)
    if not _are_labels(array):
        raise CheckError(f"labels are a list of class numbers, not {array.dtype.name} of shape {array.shape}")
    return array


def _datasets(source: InputSource, names: Sequence[str]) -> Iterator[Dataset]:
    if isinstance(source, Mapping):
        yield _dataset("inputs", {name: np.asarray(array) for name, array in source.items()}, names)
        return
    path = Path(source)
    if path.is_dir():
        for folder in _test_data_sets(path):
            yield _dataset(folder.name, _read_test_data_set(folder, names), names)
        return
    arrays = _read(path, _read_arrays)
    if not isinstance(arrays, dict):
        if len(names) != 1:
            held = f"{path} holds one array without a name"
            raise CheckError(f"{held}, but the model takes {len(names)}: {', '.join(names)}")
        arrays = {names[0]: arrays}
    yield _dataset(path.name, arrays, names)


def _dataset(label: str, arrays: Mapping[str, Array], names: Sequence[str]) -> Dataset:
    fed = {name: arrays[name] for name in names if name in arrays}
    if not fed:
        raise CheckError(f"none of the arrays given is an input of the model, which takes {', '.join(names)}")
    labels = arrays.get(LABELS) if LABELS not in names else None
    return Dataset(label, fed, labels if labels is not None and _are_labels(labels) else None)


def _are_labels(array: Array) -> bool:
    return array.ndim == 1 and array.dtype.kind in "iu"


def _read_arrays(path: Path) -> dict[str, Array] | Array:
    """All arrays of an ``.npz`` archive, or the one of an ``.npy`` file."""
    with path.open("rb") as stream:
        if zipfile.is_zipfile(stream):
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                return {name: np.asarray(archive[name]) for name in archive.files}
        stream.seek(0)
        if is_pointer_file(path):
            raise CheckError(f"inputs file {path} {POINTER}")
        if stream.read(len(_NPY_MAGIC)) != _NPY_MAGIC:
            raise CheckError(f"inputs file {path} is neither an .npz archive nor an .npy array")
        stream.seek(0)
        return np.asarray(np.load(stream, allow_pickle=False))


def _test_data_sets(folder: Path) -> list[Path]:
    """The test data sets in a folder in the order of their numbers, or the folder itself if it is one."""
    matches = [(_TEST_DATA_SET.fullmatch(path.name), path) for path in folder.iterdir() if path.is_dir()]
    found = [(int(match[1]), path) for match, path in matches if match]
    if found:
        return [path for _, path in sorted(found)]
    if any(_INPUT_FILE.fullmatch(path.name) for path in folder.iterdir()):
        return [folder]
    raise CheckError(f"inputs folder {folder} holds neither test_data_set_* folders nor input_*.pb files")


def _read_test_data_set(folder: Path, names: Sequence[str]) -> dict[str, Array]:
    matches = {path: match for path in folder.iterdir() if (match := _INPUT_FILE.fullmatch(path.name))}
    numbered = {int(match[1]): path for path, match in matches.items()}
    if not numbered:
        raise CheckError(f"inputs folder {folder} holds no input_*.pb files")
    if max(numbered) >= len(names):
        path = numbered[max(numbered)]
        raise CheckError(f"inputs file {path} is for input number {max(numbered)}, but the model takes {len(names)}")
    return {names[number]: _read(path, _read_tensor) for number, path in sorted(numbered.items())}


def _read_tensor(path: Path) -> Array:
    tensor = onnx.TensorProto.FromString(path.read_bytes())
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise CheckError(f"inputs file {path} points to another file, which is not read")
    return np.asarray(numpy_helper.to_array(tensor))


def _read(path: Path, reader: Callable[[Path], Content]) -> Content:
    """What the reader makes of a file; a corrupt one makes numpy, zlib and protobuf raise nearly anything."""
    if not path.is_file():
        raise CheckError(f"inputs file {path} does not exist")
    try:
        return reader(path)
    except CheckError:
        raise
    except Exception as error:
        raise CheckError(f"inputs file {path} cannot be read: {' '.join(str(error).split())}") from error
