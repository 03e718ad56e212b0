"""Random graphs of every operator that folds, alone and as the branches, chains and siblings that networks have.

A graph follows from a seed and a number of steps, and fewer steps give the beginning of the same graph, so that a
mismatch is made small by counting down.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx

from tests.compiler import necks, steps
from tests.compiler.sketch import Sketch, Tensor

LONGEST = 6
Step = Callable[[Sketch, Tensor], "Tensor | None"]


def random_model(seed: int, length: int = LONGEST) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A graph of at most LONGEST steps, and what to feed it; a smaller length cuts it off earlier."""
    sketch = Sketch(seed)
    count = int(sketch.rng.integers(1, LONGEST + 1))
    latest = sketch.inputs[0]
    for _ in range(min(count, length)):
        source = latest if sketch.chance(0.6) else sketch.pick(sketch.tensors[-5:])
        latest = take_step(sketch, source) or source
    if len(sketch.tensors) == len(sketch.inputs):
        steps.bend(sketch, latest)
    return sketch.model(), sketch.feeds()


def take_step(sketch: Sketch, source: Tensor) -> Tensor | None:
    """Appends something that reads the tensor; None where that does not fit."""
    table = LAST if source.last else IMAGES if source.sizes else FLAT
    step: Step = sketch.pick(table)
    return step(sketch, source)


def branches(sketch: Sketch, source: Tensor) -> Tensor | None:
    """Two or three paths from one tensor to a sum, each of them one map; the windows sit at any offset."""
    strides = steps.some_strides(sketch)
    keeps = max(strides, default=1) == 1
    c_out = source.channels if keeps and sketch.chance(0.7) else sketch.pick((2, 4, 6))
    arms = [branch(sketch, source, strides, c_out) for _ in range(sketch.pick((2, 2, 3)))]
    if keeps and c_out == source.channels and sketch.chance(0.5):
        arms.append(sketch.pick((steps.norm, steps.constant))(sketch, source) if sketch.chance(0.6) else source)
    alike = [arm for arm in arms if arm.shape == arms[0].shape]
    return steps.join(sketch, [alike[index] for index in sketch.rng.permutation(len(alike))])


def branch(sketch: Sketch, source: Tensor, strides: tuple[int, ...], c_out: int) -> Tensor:
    """A pool or a convolution, of full pads and perhaps some that no output reads, and what may stand around it."""
    place = steps.a_place(sketch, strides, full=True)
    end = tuple(pad + (index >= sketch.rank and sketch.chance(0.1)) for index, pad in enumerate(place.pads))
    place = replace(place, pads=end)
    inner = source
    if sketch.chance(0.25):
        inner = steps.pointwise(sketch, inner, sketch.pick((1, 2, 4)))
    made = steps.conv_at(sketch, inner, place, c_out, steps.some_group(sketch, inner, c_out))
    assert made is not None
    return dress(sketch, made)


def dress(sketch: Sketch, made: Tensor) -> Tensor:
    """What stands between a map and the sum that it is part of."""
    for _ in range(sketch.pick((0, 1, 1, 2))):
        made = sketch.pick((steps.norm, steps.norm, steps.constant, steps.unchanged))(sketch, made)
    return made


def dense_branches(sketch: Sketch, source: Tensor) -> Tensor:
    """Paths of matrices, some of low rank, from one tensor to a sum, in any layout."""
    c_out = sketch.pick((source.channels, 2, 4, 6))
    arms = []
    for _ in range(sketch.pick((2, 2, 3))):
        inner = steps.pointwise(sketch, source, 1) if sketch.chance(0.3) else source
        made = steps.pointwise(sketch, inner, c_out)
        arms.append(steps.constant(sketch, made) if sketch.chance(0.5) else made)
    arms += [source] if c_out == source.channels and sketch.chance(0.3) else []
    return steps.join(sketch, arms)


def bottleneck(sketch: Sketch, source: Tensor) -> Tensor | None:
    """Pointwise, window, pointwise; the channels between them are few or many."""
    inner = steps.pointwise(sketch, source, sketch.pick((2, 4, 12)))
    inner = steps.pad(sketch, inner) if sketch.chance(0.3) else inner
    made = sketch.pick((steps.conv, steps.pool))(sketch, inner) or inner
    return steps.pointwise(sketch, made)


def siblings(sketch: Sketch, source: Tensor) -> Tensor:
    """Maps of one tensor with their channels joined, and perhaps mixed."""
    place = steps.a_place(sketch, steps.some_strides(sketch), full=True)
    parts = []
    for _ in range(sketch.pick((2, 3))):
        made = steps.conv_at(sketch, source, place, sketch.pick((2, 4)), 1)
        assert made is not None
        parts.append(dress(sketch, made))
    joined = steps.concat(sketch, parts)
    return steps.pointwise(sketch, joined) if sketch.chance(0.5) else joined


def parts_of(sketch: Sketch, source: Tensor) -> Tensor | None:
    """The channels apart, one part mapped, and together again."""
    if source.channels % 2:
        return None
    half = source.channels // 2
    parts = sketch.split([source.name], [source.resized(half)] * 2, last=source.last, axis=source.axis)
    mapped = [steps.pointwise(sketch, part, 2) if sketch.chance(0.5) else part for part in parts]
    return steps.concat(sketch, mapped[:: sketch.pick((1, -1))])


def island(sketch: Sketch, source: Tensor) -> Tensor | None:
    """A step in the other layout, between two changes of layout."""
    inner = steps.turn(sketch, source)
    made = take_step(sketch, inner) or inner
    return steps.turn(sketch, made) if made.last == inner.last else made


ANYWHERE: tuple[Step, ...] = (
    *(steps.constant, steps.constant, steps.unchanged, steps.bend, steps.sum_of_any, steps.cut, steps.split),
    *(steps.pointwise, steps.concat_of_any, dense_branches, steps.hard_swish, steps.widened),
)
FLAT: tuple[Step, ...] = (*ANYWHERE, steps.norm, steps.norm, dense_branches)
LAST: tuple[Step, ...] = (*ANYWHERE, steps.turn, steps.turn, steps.pad, steps.reshaped, steps.reshaped)
IMAGES: tuple[Step, ...] = (
    *ANYWHERE,
    *(steps.conv, steps.conv, steps.norm, steps.norm, steps.pool, steps.pad, steps.turn, steps.conv_transpose),
    *(steps.reshaped, steps.same_conv, steps.affine_conv, steps.affine_conv),
    *(branches, branches, branches, branches, bottleneck, siblings, parts_of, island),
    *(necks.spatial, necks.behind, necks.behind, necks.neck, necks.neck, necks.neck, necks.tokens, necks.tokens),
)
