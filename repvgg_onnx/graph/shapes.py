"""Dynamic axes get sizes: the user's where given, else defaults that suit the input's rank."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from repvgg_onnx.errors import CheckError

Axis = int | str | None  # a size, the name of a size, or unknown

UNNAMED = frozenset({"", "*", "-1", "?", "dynamic", "nan", "none", "null", "unknown"})
"""What converters write for an axis that has no name, in lower case: Paddle ``?``, Keras ``None``."""


@dataclass(frozen=True)
class Defaults:
    """What dynamic axes are bound to where nobody says.

    Attributes:
        batch: axis 0 of every rank, and what is called so.
        channels: of rank 4 and 5.
        image: height and width of rank 4.
        volume: depth, height and width of rank 5.
        length: the second axis of rank 2.
        other: axes of every other rank, axis 1 and all further ones.
    """

    batch: int = 1
    channels: int = 3
    image: tuple[int, int] = (224, 224)
    volume: int = 32
    length: int = 64
    other: tuple[int, int] = (64, 64)


# What else is tried: sizes that networks are known to ask for, powers of two, multiples of 32, and unequal ones.
_IMAGES = (
    *((48, 320), (32, 320), (256, 256), (320, 320), (64, 64), (32, 32), (128, 128), (48, 48), (96, 96), (16, 16)),
    *((160, 160), (192, 192), (384, 384), (416, 416), (640, 640), (512, 512), (64, 128), (128, 64), (64, 256)),
    *((32, 128), (240, 320), (480, 640), (640, 480), (1024, 1024)),
)
_LENGTHS = (512, 32, 128, 256, 16, 1024, 576, 16000, 48, 80, 320, 640, 8, 4, 2, 1)
_OTHERS = (
    *((32, 32), (16, 16), (128, 128), (256, 256), (512, 512), (8, 8), (4, 4), (2, 2), (1, 1), (1, 64), (48, 48)),
    *((80, 80), (320, 320), (1024, 1024), (64, 32), (32, 64), (128, 64), (64, 128)),
)
_VOLUMES = (16, 64, 8, 128)
_CHANNELS = (1, 4, 2, 6, 16)
_BATCHES = (2, 4, 8, 16)

_SHAPE = re.compile(r"(?P<name>.+)[=:](?P<sizes>\s*\d+(?:\s*[,x]\s*\d+)*\s*)")


def parse_shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Input name and shape that ``NAME=1,3,224,224`` or ``NAME:1x3x224x224`` stands for.

    The last ``=`` or ``:`` separates the two, so that names such as ``input:0`` can be given.

    Raises:
        CheckError: the text has another form, or a size is zero.

    Example:
        >>> parse_shape("input:0=1,3,224,224")
        ('input:0', (1, 3, 224, 224))
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise CheckError(f"shape {text!r} is not of the form NAME=1,3,224,224")
    shape = tuple(int(size) for size in re.findall(r"\d+", match["sizes"]))
    if 0 in shape:
        raise CheckError(f"shape {text!r} has an axis of size 0")
    return match["name"], shape


def channels_last(shape: Sequence[Axis]) -> bool:
    """Whether a shape looks like images of 1, 3 or 4 channels with the channels on the last axis.

    Example:
        >>> channels_last(("N", "H", "W", 3)), channels_last(("N", 3, "H", "W"))
        (True, False)
    """
    return len(shape) == 4 and shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)


def name_of_axis(name: str | None) -> str | None:
    """The name of an axis that equals another of the same name; None where it only says that nothing is known.

    Example:
        >>> name_of_axis("batch"), name_of_axis("?"), name_of_axis("None")
        ('batch', None, None)
    """
    return None if name is None or name.strip().lower() in UNNAMED else name


def alternatives(
    declared: Mapping[str, Sequence[Axis]], given: Mapping[str, Sequence[int]]
) -> Iterator[dict[str, tuple[int, ...]]]:
    """What the inputs may be bound to, each once: ``bind_shapes``, and a short list of other sizes.

    Args:
        declared: input name to axes.
        given: input name to the shape that the user wants; only what that leaves open varies.

    Raises:
        CheckError: a given shape contradicts the declared one or another one, or its name is not an input.
    """
    seen: list[dict[str, tuple[int, ...]]] = []
    for defaults in _ladder():
        bound = bind_shapes(declared, given, defaults)
        if bound not in seen:
            seen.append(bound)
            yield bound


def _ladder() -> Iterator[Defaults]:
    """One kind of axis after the other, and then the pairs that have been seen to depend on each other."""
    usual = Defaults()
    yield usual
    yield from (replace(usual, image=image) for image in _IMAGES)
    yield from (replace(usual, length=length) for length in _LENGTHS)
    yield from (replace(usual, other=other) for other in _OTHERS)
    yield from (replace(usual, volume=volume) for volume in _VOLUMES)
    yield from (replace(usual, channels=channels) for channels in _CHANNELS)
    yield from (replace(usual, batch=batch) for batch in _BATCHES)
    yield from (replace(usual, channels=1, image=image) for image in _IMAGES)
    yield from (replace(usual, length=length, other=(1, 64)) for length in _LENGTHS)  # a state with its batch inside
    yield from (replace(usual, length=length, other=(length, length)) for length in _LENGTHS)


def bind_shapes(
    declared: Mapping[str, Sequence[Axis]], given: Mapping[str, Sequence[int]], defaults: Defaults = Defaults()
) -> dict[str, tuple[int, ...]]:
    """Shape of every declared input, with each dynamic axis bound to one size.

    A given shape wins. An axis name that several inputs share has one size, unless it only says that nothing is known,
    such as ``?``. What is left takes a default: axis 0, and what is called a batch, is 1; the spatial axes of rank 4
    are 224, of rank 5 they are 32, and a dynamic channel axis there is 3; every other axis is 64. Where inputs of
    different rank share an axis name, the highest rank chooses.

    Args:
        declared: input name to axes. Sizes are fixed; names, None and negative sizes are dynamic. No axes at all
            is a scalar, or a rank that the model leaves open: any given shape fits.
        given: input name to the shape that the user wants.
        defaults: what is left takes these.

    Raises:
        CheckError: a given name is not an input, a given shape contradicts the declared one, or two given shapes
            contradict each other.

    Example:
        >>> bind_shapes({"x": ("N", 3, "H", "W"), "scale": ("N", 1)}, {"scale": (2, 1)})
        {'x': (2, 3, 224, 224), 'scale': (2, 1)}
    """
    unknown = sorted(given.keys() - declared.keys())
    if unknown:
        raise CheckError(f"the model has no input {unknown[0]!r}: its inputs are {_names(declared)}")
    named = _named_sizes(declared, given)
    bound: dict[str, tuple[int, ...]] = {}
    for name in sorted(declared, key=lambda name: -len(declared[name])):
        bound[name] = tuple(given[name]) if name in given else _choose(declared[name], named, defaults)
    return {name: bound[name] for name in declared}


def _names(declared: Mapping[str, Sequence[Axis]]) -> str:
    return ", ".join(repr(name) for name in declared) or "none"


def _named_sizes(declared: Mapping[str, Sequence[Axis]], given: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Axis names that the given shapes decide, after checking the given shapes."""
    sizes: dict[str, int] = {}
    for name, shape in given.items():
        _check_fit(name, declared[name], shape)
        for axis, size in zip(declared[name], shape, strict=False):
            if isinstance(axis, str) and name_of_axis(axis) and sizes.setdefault(axis, size) != size:
                raise CheckError(f"axis {axis!r} is {size} in input {name!r} but {sizes[axis]} in another input")
    return sizes


def _check_fit(name: str, declared: Sequence[Axis], given: Sequence[int]) -> None:
    told = f"shape {_written(given)} does not fit input {name!r}, which is {_written(declared)}"
    if declared and len(declared) != len(given):
        raise CheckError(told)
    if any(_is_fixed(axis) and axis != size for axis, size in zip(declared, given, strict=False)):
        raise CheckError(told)
    if any(size < 1 and axis != size for axis, size in zip(declared or [None] * len(given), given, strict=True)):
        raise CheckError(f"shape {_written(given)} of input {name!r} has an empty axis")


def _is_fixed(axis: Axis) -> bool:
    return isinstance(axis, int) and axis >= 0


def _written(shape: Sequence[Axis]) -> str:
    return "x".join("?" if axis is None else str(axis) for axis in shape) or "a scalar"


def _choose(declared: Sequence[Axis], named: dict[str, int], defaults: Defaults) -> tuple[int, ...]:
    """Bound shape of one input; the defaults of its axis names are added to ``named``."""
    shape: list[int] = []
    for index, axis in enumerate(declared):
        if isinstance(axis, int) and axis >= 0:
            shape.append(axis)
        elif isinstance(axis, str) and name_of_axis(axis):
            shape.append(named.setdefault(axis, _default(declared, index, defaults)))
        else:
            shape.append(_default(declared, index, defaults))
    return tuple(shape)


def _default(declared: Sequence[Axis], index: int, defaults: Defaults) -> int:
    axis = declared[index]
    if index == 0 or (isinstance(axis, str) and "batch" in axis.lower()):
        return defaults.batch
    if len(declared) == 2:
        return defaults.length
    if len(declared) not in (4, 5):
        return defaults.other[0 if index == 1 else 1]
    if index == 1 and not channels_last(declared):
        return defaults.channels
    if len(declared) == 5:
        return defaults.volume
    return defaults.image[index - (1 if channels_last(declared) else 2)]
