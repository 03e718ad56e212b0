"""The arrays behind sums, stacks and compositions of affine convolutions: numpy on kernels whose geometry is known."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from repvgg_onnx.affine.geometry import Geometry, Lattice

Array = NDArray[np.float64]
Reader: TypeAlias = Callable[[slice], Array]
"""Gives the rows of a kernel that make a range of output channels, in an array that is the caller's to change."""
WHOLE = slice(None)


@dataclass(frozen=True, eq=False)
class Part:
    """One kernel among several.

    Attributes:
        geometry: where its taps sit.
        read: gives rows of the kernel, c_out  c_in/group  *k.
    """

    geometry: Geometry
    read: Reader


def add_kernels(total: Array, geometry: Geometry, parts: Sequence[Part], rows: slice) -> Array:
    """The total, which is changed, with the kernels added to it.

    Args:
        total: rows of a kernel.
        geometry: of that kernel; its taps and groups hold those of the parts.
        parts: read one after the other.
        rows: output channels to compute.
    """
    channels = np.arange(geometry.c_out)[rows]
    for part in parts:
        axes = zip(geometry.lattices, part.geometry.lattices, strict=True)
        slots = tuple(axis.slots_of(own) for axis, own in axes)
        place = (*_group_blocks(geometry.group, part.geometry, channels), *slots)
        total[place] += part.read(rows)
    return total


def compose_kernels(geometry: Geometry, outer: Part, inner: Part, rows: slice = WHOLE) -> Array:
    """Kernel of one map after another: at each outer tap a product over the channels between them.

    Args:
        geometry: of the composition.
        outer: the map that follows.
        inner: the map before it.
        rows: output channels to compute; all of them are computed anyway unless the inner kernel is diagonal.
    """
    if inner.geometry.is_diagonal:
        return _scale_inputs(outer, inner.read(WHOLE).reshape(-1), rows)
    pieces = math.lcm(outer.geometry.group, inner.geometry.group)
    over, under = _outer_pieces(outer, pieces), inner.read(WHOLE).reshape(pieces, inner.geometry.c_out // pieces, -1)
    total = np.zeros(geometry.kernel_dims)
    for tap in np.ndindex(*outer.geometry.kernel_shape):
        slots = _composed_slots(geometry, outer.geometry, inner.geometry, tap)
        product = over[spatial(tap)] @ under
        blocks = total.reshape(-1, *_block_shape(outer, inner), *geometry.kernel_shape)[spatial(slots)]
        _add_pieces(blocks, product.reshape(*product.shape[:2], -1, *inner.geometry.kernel_shape))
    return total[rows]


def carry_bias(outer: Part, bias: Array) -> Array:
    """What a kernel makes of a bias before it, wherever it does not see padding: c_out."""
    group = outer.geometry.group
    reach = _split(outer.read(WHOLE), group).sum(axis=tuple(range(3, 3 + outer.geometry.rank)))
    carried: Array = np.einsum("goi,gi->go", reach, bias.reshape(group, -1)).reshape(-1)
    return carried


def spatial(index: Sequence[int | slice]) -> Any:
    """An index into the spatial axes, which come last."""
    return (Ellipsis, *index)


def _group_blocks(group: int, part: Geometry, channels: NDArray[np.int64]) -> tuple[Any, Any]:
    """An index of the input channels that a part's rows read, among those of a kernel with fewer groups.

    Args:
        group: number of groups of that kernel.
        part: with at least as many groups.
        channels: output channels, one per row.
    """
    if part.group == group:
        return WHOLE, WHOLE
    width = part.c_in // part.group
    block = channels * part.group // part.c_out % (part.group // group)
    return np.arange(len(channels))[:, np.newaxis], block[:, np.newaxis] * width + np.arange(width)


def _composed_slots(geometry: Geometry, outer: Geometry, inner: Geometry, tap: Sequence[int]) -> tuple[slice, ...]:
    """Where the inner kernel lands in the composition when it is seen through one outer tap."""
    axes = zip(geometry.lattices, outer.lattices, inner.lattices, inner.strides, tap, strict=True)
    return tuple(
        whole.slots_of(Lattice((over.start + index * over.step) * stride + under.start, under.step, under.count))
        for whole, over, under, stride, index in axes
    )


def _scale_inputs(outer: Part, gain: Array, rows: slice) -> Array:
    """Rows of the kernel that reads each input channel through a gain."""
    if np.all(gain == 1):
        return outer.read(rows)
    place = outer.geometry
    groups = np.arange(place.c_out)[rows] * place.group // place.c_out
    gains = gain.reshape(place.group, -1)[groups]
    kernel = outer.read(rows)
    kernel *= gains.reshape(*gains.shape, *(1,) * place.rank)
    return kernel


def _outer_pieces(outer: Part, pieces: int) -> Array:
    """The kernel by pieces of its input channels, each inside one group: pieces  c_out/group  c_in/pieces  *k."""
    place = outer.geometry
    kernel = _split(outer.read(WHOLE), place.group)
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
