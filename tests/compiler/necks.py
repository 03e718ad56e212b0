"""Steps of random graphs with spatial operators: resizing of every mode, pooling, cutting, joining, and maps behind."""

from collections.abc import Sequence

import numpy as np

from tests.compiler import steps
from tests.compiler.sketch import Sketch, Tensor

TRANSFORMATIONS = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
MOST = 24  # positions of an axis


def resize(sketch: Sketch, source: Tensor, sizes: Sequence[int] | None = None) -> Tensor | None:
    """Every form that the opset has, to any size, or to a given one."""
    if source.last:
        return None
    scales = [sketch.pick((1.0, 2.0, 2.0, 3.0, 0.5, 1.5)) for _ in source.sizes]
    if sizes is not None:
        scales = [new / old if new % old == 0 else float(np.nextafter(np.float32(new / old), np.float32(99)))
                  for new, old in zip(sizes, source.sizes, strict=True)]  # fmt: skip
    pairs = zip(source.sizes, scales, strict=True)
    made = tuple(int(np.floor(np.float32(old) * np.float32(scale))) for old, scale in pairs)
    if not 0 < min(made) <= max(made) <= MOST or (sizes is not None and made != tuple(sizes)):
        return None
    modes = ("nearest", "linear", "linear", "cubic") if len(made) == 2 else ("nearest",)
    mode = sketch.pick(modes[: 2 if sketch.opset < 11 else None])
    shape, wanted = source.resized(source.channels, made), np.float32([1, 1, *scales])
    if sketch.opset < 9:
        if min(scales) < 1:
            return None
        return sketch.node("Upsample", [source.name], shape, mode=mode, scales=[float(scale) for scale in wanted])
    if sketch.opset == 9:
        return (
            sketch.node("Upsample", [source.name, sketch.constant(wanted)], shape, mode=mode)
            if min(scales) >= 1
            else None
        )
    return modern_resize(sketch, source, made, wanted, mode)


def modern_resize(sketch: Sketch, source: Tensor, made: Sequence[int], scales: np.ndarray, mode: str) -> Tensor:
    shape = source.resized(source.channels, made)
    given = {"mode": mode, "coordinate_transformation_mode": sketch.pick(TRANSFORMATIONS)}
    if mode == "nearest":
        given["nearest_mode"] = sketch.pick(ROUNDINGS)
    if mode == "cubic":
        given |= {"cubic_coeff_a": sketch.pick((-0.75, -0.5)), "exclude_outside": sketch.pick((0, 0, 1))}
    if sketch.opset >= 18 and mode != "nearest" and sketch.chance(0.3):
        given |= {"antialias": 1, "coordinate_transformation_mode": "half_pixel", "exclude_outside": 0}
    whole: list[int] | None = list(shape)
    if sketch.opset >= 18 and sketch.chance(0.3):
        given["axes"] = list(range(2, len(shape)))
        scales, whole = scales[2:], None
    roi = "" if sketch.opset >= 13 else sketch.empty()
    if sketch.opset == 10:
        return sketch.node("Resize", [source.name, sketch.constant(scales)], shape, mode=mode)
    if sketch.chance(0.5):
        return sketch.node("Resize", [source.name, roi, sketch.constant(scales)], shape, **given)
    if whole is None:
        asked = sketch.constant(np.int64(made))
    elif sketch.chance(0.5) and sketch.opset >= 13:
        asked = computed_sizes(sketch, source, made)
    elif sketch.dynamic == "nothing":
        asked = sketch.constant(np.int64(whole))
    else:
        asked = computed_sizes(sketch, source, made)
    none = "" if sketch.opset >= 13 else sketch.empty()
    return sketch.node("Resize", [source.name, roi, none, asked], shape, **given)


def computed_sizes(sketch: Sketch, source: Tensor, made: Sequence[int]) -> str:
    """Batch and channels of the tensor at run time, and these sizes, as torch writes it."""
    whole = sketch.constant_of("Shape", source.name)
    bounds = [sketch.constant(np.int64([number])) for number in (0, 2, 0)]
    start = sketch.constant_of("Slice", whole, *bounds)
    return sketch.constant_of("Concat", start, sketch.constant(np.int64(made)), axis=0)


def pool(sketch: Sketch, source: Tensor) -> Tensor | None:
    """A pool without zeros around the image, over a window or over all of it."""
    if sketch.chance(0.2):
        return sketch.node("GlobalAveragePool", [source.name], source.resized(source.channels, [1] * sketch.rank))
    if sketch.chance(0.3):
        return mean(sketch, source)
    kernel, begins = tuple(sketch.pick((1, 2, 3)) for _ in source.sizes), (0,) * sketch.rank
    begins = tuple(count // 2 for count in kernel) if sketch.chance(0.4) else begins
    place = steps.Place(kernel, tuple(sketch.pick((1, 2)) for _ in kernel), begins * 2, (1,) * sketch.rank)
    sizes = place.output_sizes(source.sizes)
    if min(sizes) < 1:
        return None
    window = {"kernel_shape": kernel, "strides": place.strides, "pads": place.pads}
    return sketch.node("AveragePool", [source.name], source.resized(source.channels, sizes), **window)


def mean(sketch: Sketch, source: Tensor) -> Tensor:
    axes = [axis for axis in range(len(source.shape)) if axis not in (0, source.axis) and sketch.chance(0.7)]
    axes = axes or [2 if source.axis == 1 else 1]
    shape = [1 if axis in axes else size for axis, size in enumerate(source.shape)]
    inputs, given = ([sketch.constant(np.int64(axes))], {}) if sketch.opset >= 18 else ([], {"axes": axes})
    return sketch.node("ReduceMean", [source.name, *inputs], shape, last=source.last, keepdims=1, **given)


def crop(sketch: Sketch, source: Tensor) -> Tensor | None:
    """Some of the positions of one axis."""
    axis = sketch.pick(range(2 - source.last, len(source.shape) - source.last))
    start, stop, step = sketch.pick([(0, 3, 1), (1, 99, 1), (0, 99, 2), (-3, 99, 1)])
    if sketch.opset < 10:
        step = 1
    size = len(range(source.shape[axis])[start:stop:step])
    shape = [size if index == axis else old for index, old in enumerate(source.shape)]
    if size < 1:
        return None
    if sketch.opset < 10:
        attributes = {"starts": [start], "ends": [stop], "axes": [axis]}
        return sketch.node("Slice", [source.name], shape, last=source.last, **attributes)
    bounds = [sketch.constant(np.int64([number])) for number in (start, stop, axis, step)]
    return sketch.node("Slice", [source.name, *bounds], shape, last=source.last)


def spatial(sketch: Sketch, source: Tensor) -> Tensor | None:
    return sketch.pick((resize, resize, pool, crop))(sketch, source)


def maps(sketch: Sketch, source: Tensor) -> Tensor:
    """One or two maps of a tensor, one behind the other or both of it."""
    made = sketch.pick((steps.pointwise, steps.pointwise, steps.norm))(sketch, source)
    if sketch.chance(0.3):
        return sketch.pick((steps.pointwise, steps.norm))(sketch, source)
    return sketch.pick((steps.pointwise, steps.norm, steps.constant))(sketch, made) if sketch.chance(0.3) else made


def neck(sketch: Sketch, source: Tensor) -> Tensor | None:
    """Tensors brought to one size, joined or added, and maps of that, as in pyramids and decoder heads."""
    sizes = [sketch.pick((size, 2 * size, 3, 7)) for size in source.sizes]
    parts: list[Tensor] = []
    for _ in range(sketch.pick((2, 2, 3))):
        inner = sketch.pick([tensor for tensor in sketch.tensors[-6:] if _is_image(source, tensor)] or [source])
        if sketch.chance(0.5):
            inner = sketch.pick((steps.pointwise, steps.conv, steps.bend, steps.norm))(sketch, inner) or inner
        made = inner if inner.sizes == tuple(sizes) else resize(sketch, inner, sizes)
        if made is not None:
            parts.append(made)
    parts += [sketch.pick(parts)] if parts and sketch.chance(0.15) else []
    parts += [tensor for tensor in sketch.tensors[-8:] if _is_image(source, tensor) and tensor.sizes == tuple(sizes)
              and sketch.chance(0.1)]  # fmt: skip
    if not parts:
        return None
    alike = [part for part in parts if part.channels == parts[0].channels]
    joined = steps.join(sketch, alike) if len(alike) > 1 and sketch.chance(0.4) else steps.concat(sketch, parts)
    if joined.channels > 24:
        return joined
    if sketch.chance(0.25):
        joined = steps.concat(sketch, [joined, sketch.pick(parts)])
    return maps(sketch, joined)


def tokens(sketch: Sketch, source: Tensor) -> Tensor | None:
    """An image as rows of tokens, a linear layer of them, an image again, perhaps another size, and a map."""
    before, whole, channels = list(sketch.tensors), int(np.prod(source.sizes)), source.channels
    if source.last or len(source.shape) != sketch.rank + 2:
        return None
    flat = sketch.node("Reshape", [source.name, sketch.constant(np.int64([0, 0, -1]))], (*source.shape[:2], whole))
    rows = sketch.node("Transpose", [flat.name], (source.shape[0], whole, channels), last=True, perm=[0, 2, 1])
    c_out = sketch.pick((2, 4, 6))
    made = steps.pointwise(sketch, rows, c_out)
    made = steps.constant(sketch, made) if sketch.chance(0.7) else made
    back = sketch.node("Transpose", [made.name], (source.shape[0], c_out, whole), perm=[0, 2, 1])
    if sketch.dynamic == "sizes" or sketch.chance(0.3):
        if sketch.opset < 13:
            return made_again(sketch, before, source)
        asked = shape_at_run_time(sketch, source, sketch.pick((-1, c_out)))
    else:
        target = sketch.pick([(0, 0), (-1, c_out), (source.shape[0], -1)])
        target = (0, c_out) if sketch.dynamic != "nothing" else target
        asked = sketch.constant(np.int64([*target, *source.sizes]))
    image = sketch.node("Reshape", [back.name, asked], source.resized(c_out))
    sketch.tensors = [*before, image]  # of the rank that all steps know
    grown = resize(sketch, image) if sketch.chance(0.5) else image
    return maps(sketch, grown or image)


def made_again(sketch: Sketch, before: list[Tensor], source: Tensor) -> Tensor:
    """The image that was there, since its rows cannot be one again."""
    sketch.tensors = before
    return steps.bend(sketch, source)


def shape_at_run_time(sketch: Sketch, source: Tensor, channels: int) -> str:
    """Sizes of a tensor and another number of channels, entry by entry, as torch writes it."""
    axes = sketch.constant(np.int64([0]))
    parts = []
    for axis in range(len(source.shape)):
        if axis == 1:
            parts.append(sketch.constant(np.int64([channels])))
            continue
        size = sketch.constant_of("Gather", sketch.constant_of("Shape", source.name), sketch.constant(np.int64(axis)))
        parts.append(sketch.constant_of("Unsqueeze", size, axes))
    return sketch.constant_of("Concat", *parts, axis=0)


def behind(sketch: Sketch, source: Tensor) -> Tensor | None:
    """A map and what is spatial, in either order."""
    if sketch.chance(0.5):
        made = spatial(sketch, source)
        return None if made is None else maps(sketch, made)
    return spatial(sketch, steps.pointwise(sketch, source))


def _is_image(source: Tensor, tensor: Tensor) -> bool:
    return len(tensor.shape) == len(source.shape) and not tensor.last and tensor.shape[0] == source.shape[0]
