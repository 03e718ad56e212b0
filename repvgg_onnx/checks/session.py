"""A model and the conditions it runs under: onnxruntime behind one small class."""

import ctypes
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx.helper import tensor_dtype_to_np_dtype

from repvgg_onnx.errors import CheckError, LoadError, RunError
from repvgg_onnx.graph.bodies import copy_of
from repvgg_onnx.graph.save import LARGEST_FILE
from repvgg_onnx.graph.shapes import Axis
from repvgg_onnx.graph.storage.staging import temporary_folder

ModelLike = str | os.PathLike[str] | bytes | onnx.ModelProto
Loadable = str | bytes
ProviderLike = str | tuple[str, Mapping[str, str]]
"""Name of an onnxruntime execution provider, or the name and its options, as ``InferenceSession`` takes them."""
Array = npt.NDArray[Any]

CPU = "CPUExecutionProvider"
PLAIN, SHIPPED = "ORT_DISABLE_ALL", "ORT_ENABLE_ALL"
"""The level that runs the nodes as they stand, and the one that models are deployed with."""
LEVELS = {
    PLAIN: onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    SHIPPED: onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}

_FATAL_ONLY = 4  # every other message also comes as an exception
_NOISE = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : |/\S+\.(?:cc|h):\d+ .*?\(.*?\) (?=\S)")


@dataclass(frozen=True)
class TensorSpec:
    """What a model declares about one of its inputs.

    Attributes:
        name: tensor name.
        type: onnxruntime's words, such as ``tensor(float)`` or ``seq(tensor(int64))``.
        shape: sizes, axis names and None; empty for a scalar and for a rank that the model leaves open.
    """

    name: str
    type: str
    shape: tuple[Axis, ...]

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """Type of the elements; object for strings, None for what is not a tensor."""
        match = re.fullmatch(r"tensor\((\w+)\)", self.type)
        if match is None:
            return None
        return np.dtype(tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(match[1].upper())))


class Session:
    """One loaded model under fixed conditions.

    Attributes:
        inputs: what the model must be fed, by name, in graph order.
        outputs: names of the outputs in graph order.
        tensors: those of them that are tensors, and no sequences, maps or optionals.
    """

    def __init__(self, inner: onnxruntime.InferenceSession) -> None:
        self._inner = inner
        self.inputs = {i.name: TensorSpec(i.name, i.type, tuple(i.shape)) for i in inner.get_inputs()}
        self.outputs = tuple(output.name for output in inner.get_outputs())
        self.tensors = frozenset(output.name for output in inner.get_outputs() if output.type.startswith("tensor("))
        types = [tensor.type for tensor in (*inner.get_inputs(), *inner.get_outputs())]
        self._has_bfloat16 = any("bfloat16" in type_ for type_ in types)

    def prepare(self, values: Mapping[str, Array], names: Sequence[str] | None = None) -> Callable[[], list[Any]]:
        """A call that runs the model once on ``values``, for the outputs ``names`` or all, and does nothing else."""
        if not self._has_bfloat16:
            feed = dict(values)
            return lambda: self._inner.run(names, feed)
        handles = {name: _to_ort(value) for name, value in values.items()}
        return lambda: self._inner.run_with_ort_values(names, handles)

    def run(self, values: Mapping[str, Array], names: Sequence[str] | None = None) -> dict[str, Any]:
        """Output name to value: an array, or lists and dicts of them for sequences and maps.

        Args:
            values: input name to array.
            names: the outputs that are wanted; all by default.

        Raises:
            RunError: onnxruntime cannot run the model on these values.
        """
        wanted = self.outputs if names is None else tuple(names)
        try:
            results = self.prepare(values, wanted)()
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise RunError(f"onnxruntime cannot run the model: {_one_line(error)}") from error
        if self._has_bfloat16:
            results = [_from_ort(result) for result in results]
        return dict(zip(wanted, results, strict=True))


@contextmanager
def loadable(model: ModelLike) -> Iterator[Loadable]:
    """The model as a path or as bytes, valid inside the ``with`` block.

    A path stays a path, so that external data is found. A ModelProto of 2 GB or more, which protobuf cannot
    serialize, is written to a temporary folder with its weights in an external data file.
    """
    if isinstance(model, bytes):
        yield model
    elif isinstance(model, onnx.ModelProto):
        content = _serialized(model)
        if content is not None:
            yield content
            return
        with temporary_folder() as folder:
            path = str(folder / "model.onnx")
            private = copy_of(model)  # onnx.save_model moves the weights out of the model that it is given
            onnx.save_model(private, path, save_as_external_data=True, location="model.onnx.data")
            yield path
    else:
        yield os.fspath(model)


def open_session(
    source: Loadable,
    *,
    level: str,
    provider: ProviderLike = CPU,
    threads: int = 0,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
) -> Session:
    """Session of a path or of bytes.

    Args:
        source: path of the model, or its bytes.
        level: a key of LEVELS.
        provider: onnxruntime execution provider, with its options or without.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        custom_ops: libraries of operators that onnxruntime itself lacks. Their code is run.

    Raises:
        CheckError: the provider is not available or does not take the options, or a library cannot be loaded.
        LoadError: onnxruntime cannot load the model.
    """
    name, settings = provider_parts(provider)
    available = onnxruntime.get_available_providers()
    if name not in available:
        raise CheckError(f"provider {name!r} is not available: this onnxruntime has {', '.join(available)}")
    if name == CPU and settings:  # onnxruntime would ignore them without a word
        raise CheckError(f"provider {CPU} takes no options, so {', '.join(settings)} cannot be set")
    options = _options(level, threads, custom_ops)
    try:
        inner = onnxruntime.InferenceSession(source, options, providers=[(name, settings)], enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise LoadError(f"onnxruntime cannot load the model{_with(settings)}: {_one_line(error)}") from error
    if name not in inner.get_providers():
        raise CheckError(f"provider {name} is installed but could not be started{_with(settings)}")
    return Session(inner)


def provider_parts(provider: ProviderLike) -> tuple[str, dict[str, str]]:
    """Name of a provider and its options; short names in any case are taken too.

    Example:
        >>> provider_parts("CUDAExecutionProvider"), provider_parts(("CUDAExecutionProvider", {"device_id": "1"}))
        (('CUDAExecutionProvider', {}), ('CUDAExecutionProvider', {'device_id': '1'}))
    """
    name, settings = (provider, {}) if isinstance(provider, str) else provider
    return _full_name(name), {key: str(value) for key, value in settings.items()}


def _full_name(provider: str) -> str:
    """A provider's name as onnxruntime has it, whatever its case, and also without its ending.

    Example:
        >>> _full_name("cuda"), _full_name("cpuexecutionprovider"), _full_name("none-such")
        ('CUDAExecutionProvider', 'CPUExecutionProvider', 'none-such')
    """
    wanted = {provider.casefold(), f"{provider}ExecutionProvider".casefold()}
    return next((name for name in onnxruntime.get_all_providers() if name.casefold() in wanted), provider)


def common_inputs(*sessions: Session) -> dict[str, TensorSpec]:
    """Inputs that all sessions take, with an axis fixed where any of them fixes it.

    Raises:
        CheckError: names, types, ranks or fixed sizes differ.
    """
    return merged_inputs(*(session.inputs for session in sessions))


def merged_inputs(first: Mapping[str, TensorSpec], *others: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    """Inputs that several models take, with an axis fixed where any of them fixes it; raises as ``common_inputs``."""
    merged = dict(first)
    for inputs in others:
        if inputs.keys() != merged.keys():
            raise CheckError(f"the models take different inputs: {sorted(merged)} and {sorted(inputs)}")
        merged = {name: _merged(spec, inputs[name]) for name, spec in merged.items()}
    return merged


def _merged(one: TensorSpec, two: TensorSpec) -> TensorSpec:
    differ = CheckError(f"the models take input {one.name!r} in different types or shapes")
    if one.type != two.type or len(one.shape) != len(two.shape):
        raise differ
    if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(one.shape, two.shape, strict=True)):
        raise differ
    shape = (b if isinstance(b, int) else a for a, b in zip(one.shape, two.shape, strict=True))
    return TensorSpec(one.name, one.type, tuple(shape))


def _with(settings: Mapping[str, str]) -> str:
    """What a message about a provider says of its options."""
    return " with the provider options " + ", ".join(f"{k}={v}" for k, v in settings.items()) if settings else ""


def _options(level: str, threads: int, custom_ops: Sequence[str | os.PathLike[str]]) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = threads
    options.log_severity_level = _FATAL_ONLY
    # Waiting threads of one session would otherwise spin while another session is measured.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for library in custom_ops:
        path = os.path.abspath(library)  # what has no folder in its name would be searched for in those of the system
        try:
            options.register_custom_ops_library(path)
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise CheckError(f"custom operators cannot be loaded: {_one_line(error)}") from error
    return options


def _one_line(error: Exception) -> str:
    return " ".join(_NOISE.sub("", str(error)).split())


def _serialized(model: onnx.ModelProto) -> bytes | None:
    """The model's bytes, or None where protobuf's limit of 2 GB is in the way."""
    try:
        content = bytes(model.SerializeToString())
    except Exception:  # EncodeError or ValueError, depending on the protobuf release
        return None
    return content if len(content) <= LARGEST_FILE else None


def _to_ort(value: Array) -> onnxruntime.OrtValue:
    if value.dtype.name != "bfloat16":
        return onnxruntime.OrtValue.ortvalue_from_numpy(value)
    bits = np.ascontiguousarray(value).view(np.uint16)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.TensorProto.BFLOAT16)


def _from_ort(value: onnxruntime.OrtValue) -> Array:
    """Copy of a tensor; onnxruntime itself has no numpy type for bfloat16."""
    if value.element_type() != onnx.TensorProto.BFLOAT16:
        return np.array(value.numpy())
    shape = tuple(value.shape())
    bits = (ctypes.c_uint16 * math.prod(shape)).from_address(value.data_ptr())
    dtype = tensor_dtype_to_np_dtype(onnx.TensorProto.BFLOAT16)
    return np.frombuffer(bytes(bits), dtype=dtype).reshape(shape)
