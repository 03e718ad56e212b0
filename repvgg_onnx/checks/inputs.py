"""What the models are fed: signed and seeded values, values that stress borders, and the user's own."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from repvgg_onnx.checks.session import Array, TensorSpec
from repvgg_onnx.errors import CheckError
from repvgg_onnx.shapes import bind_shapes, channels_last

InputsLike = str | os.PathLike[str] | Mapping[str, Array]
Shapes = Mapping[str, Sequence[int]]
Specs = Mapping[str, TensorSpec]

FLOATS = ("float16", "bfloat16", "float32", "float64")

_BORDER = 10.0  # magnitude of the border-stressing values on the border
_INSIDE = 0.01  # and inside
_LARGEST_INDEX = 9


@dataclass(frozen=True)
class Feed:
    """Values for every input of one run.

    Attributes:
        label: where the values come from, such as ``normal, seed 0``.
        values: input name to array.
    """

    label: str
    values: dict[str, Array]


def build_feeds(
    specs: Specs,
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    seeds: Sequence[int] = (0, 1, 2),
) -> tuple[Feed, ...]:
    """A standard-normal feed for each seed, one that stresses borders, and the user's.

    Integer inputs of 32 and 64 bits hold 0 to 9, so that they are plausible indices; narrower ones use their whole
    range.

    Args:
        specs: what the model takes.
        shapes: input name to shape, for dynamic axes and for the number of rows that are run at once.
        inputs: input name to array, or an ``.npz`` file of such. They also bind dynamic axes; inputs that they
            leave out are drawn with the first seed. Where the model's axis 0 is fixed, an array of several times
            as many rows is run in as many batches. Arrays that are no input, such as labels, are ignored.
        seeds: one normal feed each; the first also seeds the border-stressing feed.

    Raises:
        CheckError: an array or a shape does not fit the model, an input cannot be drawn, or nothing is left to
            feed.
    """
    arrays = _user_arrays(specs, inputs)
    bound, batches = _bind(specs, arrays, shapes or {})
    feeds = [Feed(f"normal, seed {seed}", _draw(specs, bound, seed, {}, border=False)) for seed in seeds]
    feeds += [Feed(f"border, seed {seed}", _draw(specs, bound, seed, {}, border=True)) for seed in seeds[:1]]
    for index in range(batches if arrays else 0):
        batch = {name: _batch(array, bound[name], index) for name, array in arrays.items()}
        label = f"inputs, batch {index + 1} of {batches}" if batches > 1 else "inputs"
        feeds.append(Feed(label, _draw(specs, bound, next(iter(seeds), 0), batch, border=False)))
    if not feeds:
        raise CheckError("there is nothing to feed: neither seeds nor inputs are given")
    return tuple(feeds)


def load_inputs(inputs: InputsLike) -> dict[str, Array]:
    """Arrays of a mapping or of an ``.npz`` file, read without pickle.

    Raises:
        CheckError: the file is missing, is no ``.npz``, or holds Python objects.
    """
    if isinstance(inputs, Mapping):
        return {name: np.asarray(array) for name, array in inputs.items()}
    path = Path(inputs)
    if not path.is_file():
        raise CheckError(f"inputs file {path} does not exist")
    if not zipfile.is_zipfile(path):
        raise CheckError(f"inputs file {path} is not an .npz archive")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise CheckError(f"inputs file {path} cannot be read: {error}") from error


def draw(spec: TensorSpec, shape: tuple[int, ...], rng: np.random.Generator, *, border: bool = False) -> Array:
    """Values for one input, in its own type.

    Args:
        spec: the input.
        shape: its bound shape.
        rng: source of the values.
        border: whether floating-point values stress the borders instead of being standard-normal.

    Raises:
        CheckError: the input takes strings, or is no tensor of numbers.
    """
    dtype = spec.dtype
    if dtype is None:
        raise CheckError(f"input {spec.name!r} is {spec.type}: only tensors can be fed")
    if dtype.name in FLOATS:
        values = _border_stressing(shape, rng) if border else rng.standard_normal(shape)
        return np.asarray(values).astype(dtype)
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape)).astype(dtype)
    if dtype.kind in "iu":
        low, high = _integer_range(dtype)
        return np.asarray(rng.integers(low, high, shape, endpoint=True)).astype(dtype)
    raise CheckError(f"input {spec.name!r} is {spec.type}, which cannot be drawn: give it with --inputs")


def _integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    if dtype.itemsize > 2:
        return 0, _LARGEST_INDEX
    limits = np.iinfo(dtype)
    return int(limits.min), int(limits.max)


def _border_stressing(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Large on the spatial border and near zero inside, with the sign of a checkerboard."""
    scale = np.full(shape, _INSIDE if shape else _BORDER)
    for axis in _spatial_axes(shape):
        for end in (0, -1):
            scale[(slice(None),) * axis + (end,)] = _BORDER
    sign = 1 - 2 * (sum(np.indices(shape, sparse=True)) % 2)
    return np.asarray(scale * sign * rng.uniform(0.5, 1.0, shape))


def _spatial_axes(shape: tuple[int, ...]) -> range:
    """Axes after batch and channels; the last axis where there are at most two."""
    if len(shape) < 3:
        return range(max(len(shape) - 1, 0), len(shape))
    return range(1, 3) if channels_last(shape) else range(2, len(shape))


def _draw(
    specs: Specs, bound: Mapping[str, tuple[int, ...]], seed: int, given: Mapping[str, Array], *, border: bool
) -> dict[str, Array]:
    """Values of every input: the given ones, and drawn ones for the rest."""
    rng = np.random.default_rng(seed)
    return {
        name: given[name] if name in given else draw(spec, bound[name], rng, border=border)
        for name, spec in specs.items()
    }


def _user_arrays(specs: Specs, inputs: InputsLike | None) -> dict[str, Array]:
    """The user's arrays that are inputs, in the types that the inputs take."""
    if inputs is None:
        return {}
    arrays = {name: array for name, array in load_inputs(inputs).items() if name in specs}
    if not arrays:
        raise CheckError(f"none of the arrays given is an input of the model, which takes {', '.join(specs)}")
    return {name: _cast(array, specs[name]) for name, array in arrays.items()}


def _cast(array: Array, spec: TensorSpec) -> Array:
    dtype = spec.dtype
    if dtype is None:
        raise CheckError(f"input {spec.name!r} is {spec.type}: only tensors can be fed")
    # A file cannot hold bfloat16, so that type takes every floating-point array.
    if np.can_cast(array.dtype, dtype) or (dtype.name == "bfloat16" and array.dtype.name in FLOATS):
        return array.astype(dtype)
    raise CheckError(f"input {spec.name!r} takes {dtype.name} values, but the array given holds {array.dtype.name}")


def _bind(specs: Specs, arrays: Mapping[str, Array], shapes: Shapes) -> tuple[dict[str, tuple[int, ...]], int]:
    """Shape of every input in one run, and how many runs the user's arrays take."""
    counts = {name: _batch_count(specs[name], array, shapes) for name, array in arrays.items()}
    several = {count for count in counts.values() if count > 1}
    if len(several) > 1:
        raise CheckError(f"the arrays given make different numbers of batches: {counts}")
    wanted = {name: _shape_of_one(array, counts[name]) for name, array in arrays.items()}
    for name in wanted.keys() & shapes.keys():
        if wanted[name] != tuple(shapes[name]):
            raise CheckError(f"the array for input {name!r} is {wanted[name]}, but its shape was to be {shapes[name]}")
    declared = {name: spec.shape for name, spec in specs.items()}
    return bind_shapes(declared, {**shapes, **wanted}), max(several, default=1)


def _batch_count(spec: TensorSpec, array: Array, shapes: Shapes) -> int:
    """How many runs an array takes: several where it has a multiple of the rows that one run has."""
    axis = (*shapes.get(spec.name, spec.shape), None)[0]
    if array.ndim == 0 or not isinstance(axis, int) or axis < 1:
        return 1
    rows = len(array)
    if rows % axis:
        raise CheckError(f"the array for input {spec.name!r} has {rows} rows, which is no multiple of {axis}")
    return max(rows // axis, 1)


def _shape_of_one(array: Array, batches: int) -> tuple[int, ...]:
    return (array.shape[0] // batches, *array.shape[1:]) if array.ndim else ()


def _batch(array: Array, shape: tuple[int, ...], index: int) -> Array:
    return array if array.shape == shape else array[index * shape[0] : (index + 1) * shape[0]]
