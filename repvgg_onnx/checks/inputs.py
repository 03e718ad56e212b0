"""What the models are fed: signed and seeded values, values that stress borders, and the user's own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from repvgg_onnx.checks.datasets import Dataset, InputsLike, LabelsLike, load_datasets, load_labels
from repvgg_onnx.checks.drawing import PIXEL, Style, draw, dtype_of
from repvgg_onnx.checks.precision import FLOATS
from repvgg_onnx.checks.ranges import Range
from repvgg_onnx.checks.session import Array, TensorSpec
from repvgg_onnx.errors import CheckError
from repvgg_onnx.graph.shapes import bind_shapes

Shapes = Mapping[str, Sequence[int]]
Ranges = Mapping[str, Range]
Specs = Mapping[str, TensorSpec]
Bound = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Feed:
    """Values for every input of one run.

    Attributes:
        label: where the values come from, such as ``normal, seed 0``.
        values: input name to array.
        given: names of the inputs whose values are the user's.
        labels: the class of each row, if the user gave it.  (rows,)
    """

    label: str
    values: dict[str, Array]
    given: tuple[str, ...] = ()
    labels: Array | None = None


def build_feeds(
    specs: Specs,
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    ranges: Ranges | None = None,
    labels: LabelsLike | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    white: Mapping[str, float] | None = None,
) -> tuple[Feed, ...]:
    """A standard-normal feed for each seed, one that stresses borders, a smooth picture, and the user's.

    The user's arrays also bind dynamic axes, the first ones those of the drawn feeds too, which take the user's first
    strings; inputs that they leave out are drawn with the first seed. Where the model's axis 0 is fixed, an array of
    several times as many rows is run in as many batches. NaN and infinity are fed as they are; values that are drawn
    never hold any.

    Args:
        specs: what the model takes.
        shapes: input name to shape, for dynamic axes and for the number of rows that are run at once.
        inputs: what ``load_datasets`` takes: input name to array, or a file or folder of such, or several.
        ranges: input name to the smallest and the largest value to draw; without one see ``draw``.
        labels: the classes of all rows of ``inputs``, in order, or an ``.npy`` file of them; instead of those that
            ``inputs`` hold.
        seeds: one normal feed each; the first also seeds the border-stressing feed and the picture.
        white: by input, the value that stands for white in the picture; 1 by default.

    Raises:
        CheckError: an array, a shape, a range or the labels do not fit the model, an input cannot be drawn, or
            nothing is left to feed.
    """
    ranges = ranges or {}
    unknown = sorted(ranges.keys() - specs.keys())
    if unknown:
        raise CheckError(f"the model has no input {unknown[0]!r}: its inputs are {', '.join(map(repr, specs))}")
    datasets = () if inputs is None else load_datasets(inputs, tuple(specs))
    datasets = tuple(
        replace(it, arrays={name: _cast(array, specs[name]) for name, array in it.arrays.items()}) for it in datasets
    )
    bindings = [_bind(specs, dataset.arrays, shapes or {}) for dataset in datasets]
    drawn_as = bindings[0][0] if bindings else bind_shapes(_declared(specs), shapes or {})
    texts = _texts(specs, datasets[0], drawn_as) if datasets else {}
    feeds = [Feed(f"normal, seed {seed}", _draw(specs, drawn_as, seed, ranges, given=texts)) for seed in seeds]
    for seed in seeds[:1]:
        feeds.append(Feed(f"border, seed {seed}", _draw(specs, drawn_as, seed, ranges, given=texts, style="border")))
        brightest = max(_whites(specs, white or {}), default=None)
        if brightest is not None:
            picture = _draw(specs, drawn_as, seed, ranges, given=texts, style="picture", white=white)
            feeds.append(Feed(f"picture 0 to {brightest:g}, seed {seed}", picture))
    batches = [
        _batches(specs, dataset, *binding, next(iter(seeds), 0), ranges)
        for dataset, binding in zip(datasets, bindings, strict=True)
    ]
    feeds += [feed for group in batches for feed in group]
    if not feeds:
        raise CheckError("there is nothing to feed: neither seeds nor inputs are given")
    return tuple(feeds) if labels is None else _labelled(feeds, load_labels(labels))


def _declared(specs: Specs) -> dict[str, tuple[int | str | None, ...]]:
    return {name: spec.shape for name, spec in specs.items()}


def _draw(
    specs: Specs,
    bound: Bound,
    seed: int,
    ranges: Ranges,
    *,
    given: Mapping[str, Array] | None = None,
    style: Style = "normal",
    white: Mapping[str, float] | None = None,
) -> dict[str, Array]:
    """Values of every input: the given ones, and drawn ones for the rest."""
    rng = np.random.default_rng(seed)
    values: dict[str, Array] = dict(given or {})
    for name, spec in specs.items():
        if name not in values:
            bright = (white or {}).get(name, 1.0)
            values[name] = draw(spec, bound[name], rng, bounds=ranges.get(name), style=style, white=bright)
    return {name: values[name] for name in specs}


def _texts(specs: Specs, dataset: Dataset, bound: Bound) -> dict[str, Array]:
    """The first batch of the user's strings, which cannot be drawn."""
    arrays = {name: array for name, array in dataset.arrays.items() if specs[name].dtype == object}
    return {name: _batch(array, bound[name], 0) for name, array in arrays.items()}


def _whites(specs: Specs, white: Mapping[str, float]) -> Iterator[float]:
    """White of every input that a picture can be drawn for."""
    for name, spec in specs.items():
        if spec.dtype is not None and spec.dtype.name in FLOATS:
            yield white.get(name, 1.0)
        elif spec.dtype == np.uint8 and len(spec.shape) > 2:
            yield PIXEL


def _batches(specs: Specs, dataset: Dataset, bound: Bound, count: int, seed: int, ranges: Ranges) -> tuple[Feed, ...]:
    """The user's arrays, batch by batch, each with its labels."""
    feeds = []
    for index in range(count):
        batch = {name: _batch(array, bound[name], index) for name, array in dataset.arrays.items()}
        label = f"{dataset.label}, batch {index + 1} of {count}" if count > 1 else dataset.label
        feeds.append(Feed(label, _draw(specs, bound, seed, ranges, given=batch), tuple(batch)))
    return tuple(feeds) if dataset.labels is None else _labelled(feeds, dataset.labels)


def _labelled(feeds: Sequence[Feed], labels: Array) -> tuple[Feed, ...]:
    """The feeds with their share of the labels, which are for the rows of the user's feeds in order."""
    rows = [_rows(feed) for feed in feeds]
    if sum(rows) != len(labels):
        raise CheckError(f"{len(labels)} labels do not fit inputs of {sum(rows)} rows")
    shares = np.split(labels, np.cumsum(rows)[:-1])
    return tuple(replace(feed, labels=share) if feed.given else feed for feed, share in zip(feeds, shares, strict=True))


def _rows(feed: Feed) -> int:
    """Rows that the user gave for one run: axis 0 of the first array."""
    first = feed.values[feed.given[0]] if feed.given else np.empty(0)
    return len(first) if first.ndim else 1


def _cast(array: Array, spec: TensorSpec) -> Array:
    """An array of the user's in the type that the input takes."""
    dtype = dtype_of(spec)
    # A file cannot hold bfloat16, so that type takes every floating-point array.
    if np.can_cast(array.dtype, dtype) or (dtype.name == "bfloat16" and array.dtype.name in FLOATS):
        return array.astype(dtype)
    raise CheckError(
        f"input {spec.name!r} takes {dtype.name} values, but the array given holds {array.dtype.name}: if nothing is "
        f"lost by it, save array.astype(np.{dtype.name}) instead"
    )


def _bind(specs: Specs, arrays: Mapping[str, Array], shapes: Shapes) -> tuple[dict[str, tuple[int, ...]], int]:
    """Shape of every input in one run, and how many runs the user's arrays take."""
    counts = {name: _batch_count(specs[name], array, shapes) for name, array in arrays.items()}
    several = {count for count in counts.values() if count > 1}
    if len(several) > 1:
        raise CheckError(f"the arrays given make different numbers of batches: {counts}")
    wanted = {
        name: (array.shape[0] // counts[name], *array.shape[1:]) if array.ndim else () for name, array in arrays.items()
    }
    for name in wanted.keys() & shapes.keys():
        if wanted[name] != tuple(shapes[name]):
            raise CheckError(f"the array for input {name!r} is {wanted[name]}, but its shape was to be {shapes[name]}")
    return bind_shapes(_declared(specs), {**shapes, **wanted}), max(several, default=1)


def _batch_count(spec: TensorSpec, array: Array, shapes: Shapes) -> int:
    """How many runs an array takes: several where it has a multiple of the rows that one run has."""
    axis = (*shapes.get(spec.name, spec.shape), None)[0]
    if array.ndim == 0 or not isinstance(axis, int) or axis < 1:
        return 1
    rows = len(array)
    if rows % axis:
        raise CheckError(f"the array for input {spec.name!r} has {rows} rows, which is not a multiple of {axis}")
    return max(rows // axis, 1)


def _batch(array: Array, shape: tuple[int, ...], index: int) -> Array:
    return array if array.shape == shape else array[index * shape[0] : (index + 1) * shape[0]]
