"""Dynamic axes get sizes: the user's where given, else defaults that suit the input's rank."""

import re
from collections.abc import Mapping, Sequence

from repvgg_onnx.errors import CheckError

Axis = int | str | None  # a size, the name of a size, or unknown

BATCH = 1
IMAGE_CHANNELS = 3
IMAGE_SIZE = 224  # rank 4: height and width
VOLUME_SIZE = 32  # rank 5: depth, height and width
OTHER_SIZE = 64  # lengths and features of every other rank

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


def bind_shapes(
    declared: Mapping[str, Sequence[Axis]], given: Mapping[str, Sequence[int]]
) -> dict[str, tuple[int, ...]]:
    """Shape of every declared input, with each dynamic axis bound to one size.

    A given shape wins. An axis name that several inputs share has one size. What is left takes a default: axis 0
    is 1; the spatial axes of rank 4 are 224, of rank 5 they are 32, and a dynamic channel axis there is 3; every
    other axis is 64. Where inputs of different rank share an axis name, the highest rank chooses.

    Args:
        declared: input name to axes. Sizes are fixed; names, None and negative sizes are dynamic. No axes at all
            is a scalar, or a rank that the model leaves open: any given shape fits.
        given: input name to the shape that the user wants.

    Raises:
        CheckError: a given name is no input, a given shape contradicts the declared one, or two given shapes
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
        bound[name] = tuple(given[name]) if name in given else _choose(declared[name], named)
    return {name: bound[name] for name in declared}


def _names(declared: Mapping[str, Sequence[Axis]]) -> str:
    return ", ".join(repr(name) for name in declared) or "none"


def _named_sizes(declared: Mapping[str, Sequence[Axis]], given: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Axis names that the given shapes decide, after checking the given shapes."""
    sizes: dict[str, int] = {}
    for name, shape in given.items():
        _check_fit(name, declared[name], shape)
        for axis, size in zip(declared[name], shape, strict=False):
            if isinstance(axis, str) and sizes.setdefault(axis, size) != size:
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


def _choose(declared: Sequence[Axis], named: dict[str, int]) -> tuple[int, ...]:
    """Bound shape of one input; the defaults of its axis names are added to ``named``."""
    shape: list[int] = []
    for index, axis in enumerate(declared):
        if isinstance(axis, str):
            shape.append(named.setdefault(axis, _default(declared, index)))
        else:
            shape.append(axis if axis is not None and axis >= 0 else _default(declared, index))
    return tuple(shape)


def _default(declared: Sequence[Axis], index: int) -> int:
    if index == 0:
        return BATCH
    if len(declared) not in (4, 5):
        return OTHER_SIZE
    if index == 1 and not channels_last(declared):
        return IMAGE_CHANNELS
    return IMAGE_SIZE if len(declared) == 4 else VOLUME_SIZE
