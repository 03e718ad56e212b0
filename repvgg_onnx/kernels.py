"""The arrays behind sums, stacks and compositions of affine convolutions: numpy on kernels whose geometry is known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repvgg_onnx.geometry import Geometry, Lattice

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """One kernel among several.

    Attributes:
        geometry: where its taps sit.
        read: gives the kernel, c_out  c_in/group  *k.
    """

    geometry: Geometry
    read: Callable[[], Array]


def sum_kernels(geometry: Geometry, parts: Sequence[Part]) -> Array:
    """Sum of the kernels, each placed at its taps and its groups.

    Args:
        geometry: of the sum; its taps and groups hold those of the parts.
        parts: read one after the other.
    """
    total = np.zeros(geometry.kernel_dims)
    for part in parts:
        place = part.geometry
        slots = tuple(axis.slots_of(own) for axis, own in zip(geometry.lattices, place.lattices, strict=True))
        blocks = _diagonal_blocks(total, geometry.group, place.group)
        blocks[spatial(slots)] += part.read().reshape(*blocks.shape[:4], *place.kernel_shape)
    return total


def stack_kernels(geometry: Geometry, parts: Sequence[Part]) -> Array:
    """The kernels below each other as one dense kernel, each placed at its taps."""
    total = np.zeros(geometry.kernel_dims)
    start = 0
    for part in parts:
        place = replace(geometry, c_out=part.geometry.c_out)
        total[start : start + place.c_out] = sum_kernels(place, [part])
        start += place.c_out
    return total


def compose_kernels(geometry: Geometry, outer: Part, inner: Part) -> Array:
    """Kernel of one map after another: at each outer tap a product over the channels between them."""
    if inner.geometry.is_diagonal:
        return _scale_inputs(outer, inner.read().reshape(-1))
    pieces = math.lcm(outer.geometry.group, inner.geometry.group)
    over, under = _outer_pieces(outer, pieces), inner.read().reshape(pieces, inner.geometry.c_out // pieces, -1)
    total = np.zeros(geometry.kernel_dims)
    for tap in np.ndindex(*outer.geometry.kernel_shape):
        slots = _composed_slots(geometry, outer.geometry, inner.geometry, tap)
        product = over[spatial(tap)] @ under
        blocks = total.reshape(-1, *_block_shape(outer, inner), *geometry.kernel_shape)[spatial(slots)]
        _add_pieces(blocks, product.reshape(*product.shape[:2], -1, *inner.geometry.kernel_shape))
    return total


def carry_bias(outer: Part, bias: Array) -> Array:
    """What a kernel makes of a bias before it, wherever it does not see padding: c_out."""
    group = outer.geometry.group
    reach = _split(outer.read(), group).sum(axis=tuple(range(3, 3 + outer.geometry.rank)))
    carried: Array = np.einsum("goi,gi->go", reach, bias.reshape(group, -1)).reshape(-1)
    return carried


def spatial(index: Sequence[int | slice]) -> Any:
    """An index into the spatial axes, which come last."""
    return (Ellipsis, *index)


def _diagonal_blocks(kernel: Array, group: int, parts: int) -> Array:
    """A writable view of the blocks that ``parts`` groups fill: group  parts/group  c_out/parts  c_in/parts  *k."""
    fold = parts // group
    c_out, width = kernel.shape[:2]
    blocks = kernel.reshape(group, fold, c_out // parts, fold, width // fold, *kernel.shape[2:])
    diagonal: Array = np.einsum("gaoai...->gaoi...", blocks)
    return diagonal


def _composed_slots(geometry: Geometry, outer: Geometry, inner: Geometry, tap: Sequence[int]) -> tuple[slice, ...]:
    """Where the inner kernel lands in the composition when it is seen through one outer tap."""
    axes = zip(geometry.lattices, outer.lattices, inner.lattices, inner.strides, tap, strict=True)
    return tuple(
        whole.slots_of(Lattice((over.start + index * over.step) * stride + under.start, under.step, under.count))
        for whole, over, under, stride, index in axes
    )


def _scale_inputs(outer: Part, gain: Array) -> Array:
    """The kernel that reads each input channel through a gain."""
    group, rank = outer.geometry.group, outer.geometry.rank
    scaled: Array = _split(outer.read(), group) * gain.reshape(group, 1, -1, *(1,) * rank)
    return scaled.reshape(outer.geometry.kernel_dims)


def _outer_pieces(outer: Part, pieces: int) -> Array:
    """The kernel by pieces of its input channels, each inside one group: pieces  c_out/group  c_in/pieces  *k."""
    place = outer.geometry
    kernel = _split(outer.read(), place.group)
    parted = kernel.reshape(*kernel.shape[:2], pieces // place.group, -1, *place.kernel_shape).swapaxes(1, 2)
    joined: Array = parted.reshape(pieces, *parted.shape[2:])
    return joined


def _block_shape(outer: Part, inner: Part) -> tuple[int, int, int, int]:
    """How each group of a composition splits into blocks: outer groups, their outputs, inner groups, their inputs."""
    group = math.gcd(outer.geometry.group, inner.geometry.group)
    rows, columns = outer.geometry.group // group, inner.geometry.group // group
    outputs, inputs = outer.geometry.c_out // outer.geometry.group, inner.geometry.c_in // inner.geometry.group
    return rows, outputs, columns, inputs


def _add_pieces(blocks: Array, products: Array) -> None:
    """Adds what each piece of the channels in between contributes to the block of its outer and its inner group.

    Args:
        blocks: group  rows  outputs  columns  inputs  *k, changed in place.
        products: pieces  outputs  inputs  *k.
    """
    rows, columns = blocks.shape[1], blocks.shape[3]
    group, number = np.divmod(np.arange(len(products)), rows * columns)
    place: Any = (group, number // columns, slice(None), number // rows)
    if min(rows, columns) == 1:
        blocks[place] += products  # each block once
    else:
        np.add.at(blocks, place, products)


def _split(kernel: Array, group: int) -> Array:
    """The kernel with its groups as a first axis: group  c_out/group  c_in/group  *k."""
    return kernel.reshape(group, -1, *kernel.shape[1:])
