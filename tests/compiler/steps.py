"""Single operators for random graphs: each appends nodes that read a tensor, or gives None where it does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tests.compiler.sketch import Sketch, Tensor


@dataclass(frozen=True)
class Place:
    """Where a window reads; fields as in ONNX."""

    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    def output_sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        rank = len(sizes)
        return tuple(
            (size + self.pads[axis] + self.pads[axis + rank] - self.dilations[axis] * (self.kernel_shape[axis] - 1) - 1)
            // self.strides[axis]
            + 1
            for axis, size in enumerate(sizes)
        )


def a_place(sketch: Sketch, strides: tuple[int, ...], *, full: bool) -> Place:
    """A window of any kernel and dilation; a full one has as many pads as keep the size at stride 1, on any side."""
    rank = sketch.rank
    largest = (1, 3) if rank == 3 else (1, 1, 2, 3, 3, 5)
    square = sketch.chance(0.7)
    kernel = (sketch.pick(largest),) * rank if square else tuple(sketch.pick(largest) for _ in range(rank))
    dilations = tuple(sketch.pick((1, 1, 1, 2)) for _ in range(rank))
    spans = [dilation * (count - 1) for dilation, count in zip(dilations, kernel, strict=True)]
    if not full:
        pads = tuple(sketch.pick((0, 0, 1, 2)) for _ in range(2 * rank)) if sketch.chance(0.4) else (0,) * (2 * rank)
    elif sketch.chance(0.7):
        pads = (*(span // 2 for span in spans), *(span - span // 2 for span in spans))
    else:
        begins = [int(sketch.rng.integers(span + 1)) for span in spans]
        pads = (*begins, *(span - begin for span, begin in zip(spans, begins, strict=True)))
    return Place(kernel, strides, pads, dilations)


def some_strides(sketch: Sketch) -> tuple[int, ...]:
    return tuple(sketch.pick((1, 2)) for _ in range(sketch.rank)) if sketch.chance(0.25) else (1,) * sketch.rank


def some_group(sketch: Sketch, source: Tensor, c_out: int) -> int:
    options = [group for group in (1, 1, 2, 4, 6) if source.channels % group == 0 and c_out % group == 0]
    return sketch.pick(options)


def with_bias(sketch: Sketch, c_out: int) -> list[str]:
    return [sketch.weight(c_out)] if sketch.chance(0.5) else []


def conv_at(sketch: Sketch, source: Tensor, place: Place, c_out: int, group: int) -> Tensor | None:
    sizes = place.output_sizes(source.sizes)
    if min(sizes) < 1:
        return None
    kernel = sketch.weight(c_out, source.channels // group, *place.kernel_shape, kind="kernel")
    inputs = [source.name, kernel, *with_bias(sketch, c_out)]
    return sketch.node("Conv", inputs, source.resized(c_out, sizes), group=group, **vars(place))


def conv(sketch: Sketch, source: Tensor) -> Tensor | None:
    place = a_place(sketch, some_strides(sketch), full=sketch.chance(0.6))
    c_out = sketch.pick((source.channels, source.channels, 2, 4, 6))
    return conv_at(sketch, source, place, c_out, some_group(sketch, source, c_out))


def pointwise(sketch: Sketch, source: Tensor, c_out: int | None = None) -> Tensor:
    """A dense map of the channels, in any of the forms that the layout allows."""
    c_out = c_out or sketch.pick((source.channels, 2, 4, 6))
    if source.last or (not source.sizes and sketch.chance(0.4)):
        matrix = sketch.weight(source.channels, c_out)
        return sketch.node("MatMul", [source.name, matrix], source.resized(c_out), last=source.last)
    if not source.sizes:
        return gemm(sketch, source, c_out)
    if len(source.sizes) == 1 and sketch.chance(0.3):  # the channels are the axis before the last
        return sketch.node("MatMul", [sketch.weight(c_out, source.channels), source.name], source.resized(c_out))
    ones, zeros = (1,) * sketch.rank, (0,) * (2 * sketch.rank)
    made = conv_at(sketch, source, Place(ones, ones, zeros, ones), c_out, some_group(sketch, source, c_out))
    assert made is not None
    return made


def gemm(sketch: Sketch, source: Tensor, c_out: int) -> Tensor:
    swapped = sketch.pick((0, 1))
    shape = (c_out, source.channels) if swapped else (source.channels, c_out)
    inputs = [source.name, sketch.weight(*shape)]
    if sketch.opset < 11 or sketch.chance(0.7):
        inputs.append(sketch.weight(*sketch.pick([(c_out,), (1, c_out), (1,), ()])))
    scales = {"alpha": 0.5, "beta": -2.0} if sketch.chance(0.3) else {}
    return sketch.node("Gemm", inputs, source.resized(c_out), transB=swapped, **scales)


def conv_transpose(sketch: Sketch, source: Tensor, twice: bool = False) -> Tensor | None:
    """One or the sum of two of the same geometry."""
    kernel, stride = sketch.pick((1, 2, 3)), sketch.pick((1, 2, 2))
    pad, more = sketch.pick((0, 0, 1)), sketch.pick((0, 0, stride - 1))
    sizes = [(size - 1) * stride + more + kernel - 2 * pad for size in source.sizes]
    if not 0 < min(sizes) <= max(sizes) < 24:
        return None
    c_out = sketch.pick((2, 4))
    rank, group = sketch.rank, some_group(sketch, source, c_out)
    place = {"kernel_shape": [kernel] * rank, "strides": [stride] * rank, "pads": [pad] * (2 * rank)}
    weight = sketch.weight(source.channels, c_out // group, *place["kernel_shape"], kind="kernel")
    inputs = [source.name, weight, *with_bias(sketch, c_out)]
    place |= {"output_padding": [more] * rank, "group": group}
    made = [
        sketch.node("ConvTranspose", inputs, source.resized(c_out, sizes), **place)
        for _ in range(2 if twice or sketch.chance(0.3) else 1)
    ]
    return made[0] if len(made) == 1 else join(sketch, made)


def norm(sketch: Sketch, source: Tensor) -> Tensor:
    gamma, *rest = (sketch.weight(source.channels, kind=kind) for kind in ("signed", "normal", "normal", "positive"))
    epsilon = {"epsilon": 0.1} if sketch.chance(0.2) else {}
    epsilon |= {"spatial": 0} if sketch.opset < 9 and len(source.shape) == 2 and sketch.chance(0.5) else {}
    return sketch.node("BatchNormalization", [source.name, gamma, *rest], source.shape, **epsilon)


def constant(sketch: Sketch, source: Tensor) -> Tensor:
    """Add, Sub, Mul or Div with a constant on either side, seldom one that is not a number per channel."""
    op_type = sketch.pick(("Add", "Sub", "Mul", "Div"))
    other = sketch.weight(*constant_shape(sketch, source), kind="signed")
    operands = [source.name, other]
    if op_type != "Div" and sketch.chance(0.4):
        operands.reverse()
    return sketch.node(op_type, operands, source.shape, last=source.last)


def constant_shape(sketch: Sketch, source: Tensor) -> tuple[int, ...]:
    column = tuple(source.channels if axis == source.axis else 1 for axis in range(len(source.shape)))
    if sketch.chance(0.06):
        return sketch.pick([source.shape, (1, *source.shape[1:]), source.shape[-1:]])
    return sketch.pick([column, column, column[source.axis :], column[1:], (1,), (), (1,) * len(column)])


def unchanged(sketch: Sketch, source: Tensor) -> Tensor:
    """Neg, or an operator that changes nothing in inference."""
    op_type = sketch.pick(("Neg", "Identity", "Dropout", "Cast"))
    inputs, attributes = [source.name], {"to": 1} if op_type == "Cast" else {}
    if op_type == "Dropout" and sketch.opset >= 12 and sketch.chance(0.5):
        inputs += [sketch.constant(np.float32(0.25)), sketch.constant(np.array(False))]
    return sketch.node(op_type, inputs, source.shape, last=source.last, **attributes)


def hard_swish(sketch: Sketch, source: Tensor) -> Tensor | None:
    """``x · clip(x + 3, 0, 6) / 6``, as exporters take it apart."""
    if sketch.opset < 11:
        return None
    three, zero, six = (sketch.constant(np.float32(number)) for number in (3, 0, 6))
    moved = sketch.node("Add", [source.name, three], source.shape, last=source.last)
    cut_off = sketch.node("Clip", [moved.name, zero, six], source.shape, last=source.last)
    product = sketch.node("Mul", [source.name, cut_off.name], source.shape, last=source.last)
    return sketch.node("Div", [product.name, six], source.shape, last=source.last)


def same_conv(sketch: Sketch, source: Tensor) -> Tensor:
    """A convolution whose pads follow from the size, now and then two whose results are added."""
    strides, kernel = some_strides(sketch), tuple(sketch.pick((1, 2, 3)) for _ in range(sketch.rank))
    c_out = sketch.pick((source.channels, 2, 4))
    group = some_group(sketch, source, c_out)
    place = {"auto_pad": sketch.pick(("SAME_UPPER", "SAME_LOWER")), "strides": strides, "group": group}
    shape = source.resized(c_out, [-(-size // stride) for size, stride in zip(source.sizes, strides, strict=True)])
    made = []
    for _ in range(2 if sketch.chance(0.3) else 1):
        weight = sketch.weight(c_out, source.channels // group, *kernel, kind="kernel")
        made.append(sketch.node("Conv", [source.name, weight, *with_bias(sketch, c_out)], shape, **place))
    return made[0] if len(made) == 1 else join(sketch, made)


def affine_conv(sketch: Sketch, source: Tensor) -> Tensor | None:
    """A gain and an offset before a window that is padded."""
    column = constant_shape(sketch, source)
    scaled = sketch.node("Mul", [source.name, sketch.weight(*column, kind="signed")], source.shape)
    moved = sketch.node("Add", [scaled.name, sketch.weight(*constant_shape(sketch, source))], source.shape)
    c_out = sketch.pick((source.channels, 2, 4))
    place = a_place(sketch, some_strides(sketch), full=True)
    return conv_at(sketch, moved, place, c_out, some_group(sketch, moved, c_out))


def bend(sketch: Sketch, source: Tensor) -> Tensor:
    return sketch.node(sketch.pick(("Relu", "Sigmoid")), [source.name], source.shape, last=source.last)


def sum_of_any(sketch: Sketch, source: Tensor) -> Tensor:
    """A sum with tensors that happen to have the same shape, of any root, perhaps with itself."""
    equals = [tensor for tensor in sketch.tensors if (tensor.shape, tensor.last) == (source.shape, source.last)]
    return join(sketch, [source, *(sketch.pick(equals) for _ in range(sketch.pick((1, 1, 2))))])


def join(sketch: Sketch, parts: Sequence[Tensor]) -> Tensor:
    """The sum of tensors of one shape, in any of its forms."""
    first, *others = parts
    op_type = sketch.pick(("Add", "Add", "Sub", "Sum", "Mean"))
    if op_type in ("Sum", "Mean"):
        return sketch.node(op_type, [part.name for part in parts], first.shape, last=first.last)
    for other in others:
        first = sketch.node(op_type, [first.name, other.name], first.shape, last=first.last)
    return first


def pad(sketch: Sketch, source: Tensor) -> Tensor:
    rank = sketch.rank
    pads = [sketch.pick((0, 1, 2)) for _ in range(2 * rank)]
    sizes = [size + pads[axis] + pads[axis + rank] for axis, size in enumerate(source.sizes)]
    before, after = ([0, *half, 0] if source.last else [0, 0, *half] for half in (pads[:rank], pads[rank:]))
    if sketch.opset < 11:
        inputs, attributes = [source.name], {"pads": before + after}
    else:
        inputs, attributes = [source.name, sketch.constant(np.int64(before + after))], {}
        inputs += [sketch.constant(np.float32(0 if sketch.chance(0.9) else 1))] if sketch.chance(0.5) else []
    return sketch.node("Pad", inputs, source.resized(source.channels, sizes), last=source.last, **attributes)


def pool(sketch: Sketch, source: Tensor) -> Tensor | None:
    rank = sketch.rank
    kernel = tuple(sketch.pick((1, 2, 3)) for _ in range(rank))
    begins = tuple(count // 2 for count in kernel) if sketch.chance(0.5) else (0,) * rank
    place = Place(kernel, some_strides(sketch), begins * 2, (1,) * rank)
    sizes = place.output_sizes(source.sizes)
    if min(sizes) < 1:
        return None
    window = {"kernel_shape": kernel, "strides": place.strides, "pads": place.pads}
    included = int(sketch.chance(0.8))
    shape = source.resized(source.channels, sizes)
    return sketch.node("AveragePool", [source.name], shape, count_include_pad=included, **window)


def turn(sketch: Sketch, source: Tensor) -> Tensor:
    """Channels from the second axis to the last, or back."""
    rank = len(source.shape)
    order = [0, rank - 1, *range(1, rank - 1)] if source.last else [0, *range(2, rank), 1]
    shape = [source.shape[axis] for axis in order]
    return sketch.node("Transpose", [source.name], shape, last=not source.last, perm=order)


def reshaped(sketch: Sketch, source: Tensor) -> Tensor:
    """Gains and offsets under another shape, and the first shape again; what is between, nothing else reads."""
    before = list(sketch.tensors)
    whole, rows = int(np.prod(source.sizes)), int(np.prod(source.shape[:-1]))
    if source.last:
        target, shape = sketch.pick([((-1, source.channels), (rows, source.channels)), (None, (rows, source.channels))])
    else:
        flat = (*source.shape[:2], whole)
        target, shape = sketch.pick([((0, 0, -1), flat), ((0, source.channels, whole), flat), (None, source.shape)])
    if target is not None:
        inner = sketch.node("Reshape", [source.name, sketch.constant(np.int64(target))], shape)
    elif source.last:
        inner = sketch.node("Flatten", [source.name], shape, axis=len(source.shape) - 1)
    else:
        inner = sketch.node("Reshape", [source.name, sketch.constant(np.int64([0] * len(shape)))], shape)
    inner = more_of_each(sketch, inner)
    if sketch.chance(0.3) and sketch.opset >= 9:
        back = sketch.constant_of("Shape", source.name)
    else:
        back = sketch.constant(np.int64((-1, *source.shape[1:])))
    made = sketch.node("Reshape", [inner.name, back], source.shape, last=source.last)
    sketch.tensors = [*before, made]
    return made


def widened(sketch: Sketch, source: Tensor) -> Tensor:
    """Gains and offsets with one more axis, of size 1, which is taken away again."""
    before = list(sketch.tensors)
    axis = sketch.pick([axis for axis in range(len(source.shape) + 1) if source.last or axis > 1])
    last = source.last and axis < len(source.shape)
    shape = (*source.shape[:axis], 1, *source.shape[axis:])
    if source.last and not last:
        axis, shape, last = 1, (source.shape[0], 1, *source.shape[1:]), True
    modern = sketch.opset >= 13
    axes, attributes = ([sketch.constant(np.int64([axis]))], {}) if modern else ([], {"axes": [axis]})
    inner = sketch.node("Unsqueeze", [source.name, *axes], shape, last=last, **attributes)
    inner = more_of_each(sketch, inner)
    made = sketch.node("Squeeze", [inner.name, *axes], source.shape, last=source.last, **attributes)
    sketch.tensors = [*before, made]
    return made


def more_of_each(sketch: Sketch, inner: Tensor) -> Tensor:
    for _ in range(sketch.pick((1, 2))):
        inner = sketch.pick((constant, unchanged, constant if inner.last else norm))(sketch, inner)
    return inner


def cut(sketch: Sketch, source: Tensor) -> Tensor:
    """Some of the channels, now and then backwards or every other one."""
    start, stop, step = sketch.pick([(0, 1, 1), (1, source.channels, 1), (-1, -99, -1), (0, 99, 2), (-2, 99, 1)])
    if sketch.opset < 10 or source.channels < 2:
        start, stop, step = 0, 1, 1
    channels = len(range(*slice(start, None if stop == -99 else stop, step).indices(source.channels)))
    shape = source.resized(channels)
    if sketch.opset < 10:
        attributes = {"starts": [start], "ends": [stop], "axes": [source.axis]}
        return sketch.node("Slice", [source.name], shape, last=source.last, **attributes)
    bounds = [sketch.constant(np.int64([number])) for number in (start, stop, source.axis, step)]
    return sketch.node("Slice", [source.name, *bounds], shape, last=source.last)


def split(sketch: Sketch, source: Tensor) -> Tensor | None:
    """The channels in two or more parts, of which one is read on."""
    if source.channels < 2:
        return None
    count = 2 if source.channels < 3 or sketch.chance(0.5) else 3
    first = source.channels // count if sketch.chance(0.6) else 1
    parts = [first] * (count - 1) + [source.channels - first * (count - 1)]
    attributes, inputs = {"axis": source.axis}, [source.name]
    if sketch.opset < 13:
        attributes["split"] = parts
    elif len(set(parts)) > 1 or sketch.chance(0.5):
        inputs.append(sketch.constant(np.int64(parts)))
    return sketch.pick(sketch.split(inputs, [source.resized(part) for part in parts], last=source.last, **attributes))


def concat(sketch: Sketch, parts: Sequence[Tensor]) -> Tensor:
    first = parts[0]
    axis = first.axis - len(first.shape) if sketch.opset >= 11 and sketch.chance(0.3) else first.axis
    shape = first.resized(sum(part.channels for part in parts))
    return sketch.node("Concat", [part.name for part in parts], shape, last=first.last, axis=axis)


def concat_of_any(sketch: Sketch, source: Tensor) -> Tensor | None:
    """Channels of tensors that happen to have the same sizes, of any root."""
    others = [tensor for tensor in sketch.tensors if (tensor.sizes, tensor.last) == (source.sizes, source.last)]
    parts = [source, sketch.pick(others)]
    return concat(sketch, parts) if sum(part.channels for part in parts) <= 12 else None
