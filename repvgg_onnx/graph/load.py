"""Path, bytes or ModelProto to a ModelProto that can be trusted to be one."""

import mmap
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.bodies import STANDARD_DOMAINS, bodies_of, copy_of, tensors_of
from repvgg_onnx.graph.limits import check_indices, check_limits
from repvgg_onnx.graph.order import sort_nodes, unsorted_graphs
from repvgg_onnx.graph.pointers import POINTER, is_pointer
from repvgg_onnx.graph.storage.external import resolve_all
from repvgg_onnx.graph.storage.fields import check_fields
from repvgg_onnx.graph.storage.files import TensorFiles
from repvgg_onnx.graph.storage.tensors import is_external
from repvgg_onnx.graph.storage.wire import take_out_data

ModelLike = str | os.PathLike[str] | bytes | onnx.ModelProto

LARGEST_FILE = 2**31 - 1  # bytes; protobuf reads no more
FIRST_WITH_FUNCTIONS = 8  # IR version
LARGEST_AT_ONCE = 2**16  # bytes of an external tensor that is loaded even where larger ones are left outside


@dataclass(frozen=True, eq=False)
class Source:
    """A model that was opened and checked, once for everything that is done with it.

    Attributes:
        model: complete but for initializers of the main graph; not to be changed.
        files: where those are that it lacks; None where it holds them all.
    """

    model: onnx.ModelProto
    files: TensorFiles | None = None

    @classmethod
    def of(cls, model: "ModelLike | Source") -> "Source":
        """What somebody gave, opened; raises as ``load_model`` does."""
        if isinstance(model, Source):
            return model
        return cls(load_model(model)) if isinstance(model, onnx.ModelProto | bytes) else open_model(model)

    @property
    def origin(self) -> ModelLike:
        """What others can read the model from by themselves."""
        return self.model

    @cached_property
    def whole(self) -> "Source":
        """The same with every tensor in memory."""
        if self.files is None or not any(map(is_external, self.model.graph.initializer)):
            return Source(self.model)
        loaded = onnx.ModelProto()
        loaded.CopyFrom(self.model)
        self.files.load_all(loaded)
        self.files.release()
        return Source(loaded)


@dataclass(frozen=True, eq=False, kw_only=True)
class OpenModel(Source):
    """A model in a file, its large initializers where nobody has read them.

    Attributes:
        path: its file.
        files: where the initializers are that the model only refers to.
        sides: the external data files that the file needs.
    """

    path: Path
    files: TensorFiles
    sides: frozenset[Path] = frozenset()

    @property
    def origin(self) -> ModelLike:
        """The file."""
        return self.path


def load_model(source: ModelLike) -> onnx.ModelProto:
    """The model, with every external tensor loaded and its nodes in an order in which they can run.

    Args:
        source: a file, the bytes of one, or a model, which is not changed, and returned as it is unless a node of it
            stands before one that it needs.

    Raises:
        ModelError: the source is missing, is not an ONNX model, is newer than the installed onnx, declares more than it
            holds, or needs an external data file that is missing, unsafe or of another size.
    """
    if isinstance(source, onnx.ModelProto | bytes):
        model = source if isinstance(source, onnx.ModelProto) else _parse(source)
        _check(model)
        if has_external_data(model):
            raise ModelError("has external data; pass the model's path instead of bytes or a ModelProto")
        return _sorted(model, owned=model is not source)
    opened = open_model(source)
    opened.files.load_all(opened.model)
    return opened.model


def open_model(path: str | os.PathLike[str]) -> OpenModel:
    """The model in a file, its large initializers checked and left where they are.

    Raises:
        ModelError: the file is missing, is not an ONNX model, is newer than the installed onnx, declares more than it
            holds, or needs an external data file that is missing, unsafe or of another size.
    """
    path = Path(path)
    content = _map(path)
    slim = take_out_data(content)
    if slim is not None:
        model = _parse(slim.data)
        if sum(map(is_external, tensors_of(model))) == slim.taken:
            _check(model)
            return OpenModel(_sorted(model, owned=True), path=path, files=TensorFiles(path.parent, content))
    model = _parse(bytes(content))
    _check(model)
    files = TensorFiles(path.parent)
    initializers = sum(map(is_external, model.graph.initializer))
    outside = resolve_all(tensors_of(model), path.parent)
    for number, (tensor, place) in enumerate(outside):
        if number >= initializers or place.length <= LARGEST_AT_ONCE:
            files.load(tensor)
    if len(outside) > initializers:
        check_indices(bodies_of(model))
    sides = frozenset(place.path for _, place in outside)
    return OpenModel(_sorted(model, owned=True), path=path, files=files, sides=sides)


def has_external_data(source: ModelLike) -> bool:
    """Whether some tensor of the model lives in an external data file."""
    if isinstance(source, onnx.ModelProto):
        return any(map(is_external, tensors_of(source)))
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    return has_external_data(_parse(data))


def _map(path: Path) -> memoryview:
    """The bytes of a file, which are read when they are looked at."""
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ModelError("is a directory, not an ONNX file")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("is not a regular file")
        if status.st_size > LARGEST_FILE:
            raise ModelError("is larger than 2 GB, which no ONNX file can be; store its tensors as external data")
        with path.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if status.st_size else b""
        return memoryview(mapped)
    except FileNotFoundError as error:
        raise ModelError("no such file") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error


def _check(model: onnx.ModelProto) -> None:
    _check_versions(model)
    check_limits(model)


def _sorted(model: onnx.ModelProto, *, owned: bool) -> onnx.ModelProto:
    """The model with its nodes in an order in which they can run; a copy if it is not ours to change."""
    if unsorted_graphs(model):
        model = model if owned else copy_of(model)
        for graph in reversed(unsorted_graphs(model)):  # inner ones first, since sorting makes copies of nodes
            sort_nodes(graph)
    return model


def _parse(data: bytes) -> onnx.ModelProto:
    if not data:
        raise ModelError("is empty")
    if is_pointer(data):
        raise ModelError(POINTER)
    check_fields(data)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError("is not an ONNX model, or is truncated") from error
    if not model.HasField("graph") or not model.ir_version:
        raise ModelError("is not an ONNX model: it has no graph")
    return model


def _check_versions(model: onnx.ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    for entry in model.opset_import:
        if entry.domain in STANDARD_DOMAINS and entry.version > newest:
            raise ModelError(
                f"uses opset {entry.version}, and the installed onnx {onnx.__version__} knows up to {newest}"
            )
    if model.ir_version > onnx.IR_VERSION:
        known = f"the installed onnx {onnx.__version__} knows up to {onnx.IR_VERSION}"
        raise ModelError(f"has IR version {model.ir_version}, and {known}")
    if model.ir_version < 1:
        raise ModelError(f"has IR version {model.ir_version}, and the first one is 1")
    if model.functions and model.ir_version < FIRST_WITH_FUNCTIONS:
        first = f"which IR version {FIRST_WITH_FUNCTIONS} was the first to have"
        raise ModelError(f"has IR version {model.ir_version} and functions, {first}")
