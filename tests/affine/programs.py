"""Random maps, each beside the function that it stands for: what the operations do, one after the other, to numbers."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.geometry import Geometry

SIZE = (7, 9)
Array = np.ndarray
Function = Callable[[Array, bool], Array]
"""Of an example, c  *size, and whether everything is taken for its absolute value."""


@dataclass(frozen=True)
class Twin:
    """A map and what it does.

    Attributes:
        conv: the map.
        function: made of plain numbers, and of nothing that the map is made of.
    """

    conv: AffineConv
    function: Function

    @property
    def channels(self) -> int:
        return self.conv.geometry.c_out


def convolved(kernel: Array, bias: Array, place: Geometry, x: Array) -> Array:
    """A convolution by its definition, on one example of two spatial axes."""
    (top, left, bottom, right), (down, across), (below, beside) = place.pads, place.strides, place.dilations
    padded = np.pad(x, [(0, 0), (top, bottom), (left, right)])
    outputs = [int(length or 0) for length in place.output_size(x.shape[1:])]
    blocks = np.stack(np.split(kernel, place.group)), np.stack(np.split(padded, place.group))
    result = np.zeros((place.group, place.c_out // place.group, *outputs))
    for row, column in np.ndindex(*place.kernel_shape):
        rows = row * below + down * np.arange(outputs[0])
        columns = column * beside + across * np.arange(outputs[1])
        result += np.einsum("goi,gixy->goxy", blocks[0][..., row, column], blocks[1][:, :, rows][..., columns])
    return result.reshape(place.c_out, *outputs) + bias.reshape(-1, 1, 1)


def applied(conv: AffineConv, x: Array) -> Array:
    """What the numbers of a map do to an example."""
    return convolved(conv.kernel, conv.bias, conv.geometry, x)


def sized(values: Array, sizes: bool) -> Array:
    return np.abs(values) if sizes else values


class Programs:
    """Makes maps of 4 channels and 5 rows to 7 of the input, so that all of them can be added and stacked."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def leaf(self, c_in: int, c_out: int, size: int, group: int = 1) -> Twin:
        kernel, bias = self.rng.normal(size=(c_out, c_in // group, size, size)), self.rng.normal(size=c_out)
        conv = AffineConv(kernel, bias, pads=(size // 2,) * 4, group=group)
        return Twin(conv, lambda x, sizes: convolved(sized(kernel, sizes), sized(bias, sizes), conv.geometry, x))

    def rounded(self, twin: Twin) -> Twin:
        """The numbers of a map, rounded as a fold does, with its sizes."""
        place, kernel, bias = twin.conv.geometry, np.float32(twin.conv.kernel), np.float32(twin.conv.bias)
        conv = AffineConv.read_by_rows(
            place, lambda rows: kernel[rows].astype(np.float64), lambda: bias.astype(np.float64), origin=twin.conv
        )
        return Twin(conv, lambda x, sizes: twin.function(x, True) if sizes else convolved(kernel, bias, place, x))

    def mixed(self, twin: Twin) -> Twin:
        """A map of the channels after it."""
        outer = self.leaf(twin.channels, 4, 1)
        conv = outer.conv.compose(twin.conv)
        return Twin(conv, lambda x, sizes: outer.function(twin.function(x, sizes), sizes))

    def gained(self, twin: Twin) -> Twin:
        """A gain and an offset after it, written as a map: its numbers are those of a difference."""
        gain, offset = self.rng.normal(size=(2, twin.channels))
        diagonal = AffineConv.identity(twin.channels, 2)
        outer = diagonal.scale(gain + 1.0).add(diagonal.scale(-np.ones(twin.channels))).shift(offset)
        column = (-1, 1, 1)

        def function(x: Array, sizes: bool) -> Array:
            factor = np.abs(gain + 1.0) + 1.0 if sizes else gain
            return twin.function(x, sizes) * factor.reshape(column) + sized(offset, sizes).reshape(column)

        return Twin(outer.compose(twin.conv), function)

    def scaled(self, twin: Twin) -> Twin:
        gain = self.rng.normal(size=twin.channels)
        function = twin.function
        return Twin(twin.conv.scale(gain), lambda x, sizes: function(x, sizes) * sized(gain, sizes).reshape(-1, 1, 1))

    def shifted(self, twin: Twin) -> Twin:
        offset = self.rng.normal(size=twin.channels)
        magnitude = np.abs(offset) + self.rng.uniform(size=twin.channels)

        def function(x: Array, sizes: bool) -> Array:
            return twin.function(x, sizes) + (magnitude if sizes else offset).reshape(-1, 1, 1)

        return Twin(twin.conv.shift(offset, magnitude), function)

    def unbiased(self, twin: Twin) -> Twin:
        def function(x: Array, sizes: bool) -> Array:
            return twin.function(x, sizes) - twin.function(np.zeros_like(x), sizes)

        return Twin(twin.conv.without_bias(), function)

    def added(self, twin: Twin) -> Twin:
        """With another map, with itself scaled and with itself in other rows: what they read is shared."""
        others = [self.leaf(4, 4, 1), self.scaled(twin), self.mixed(twin)]
        conv = twin.conv.add(*(other.conv for other in others), size=SIZE)
        return Twin(conv, lambda x, sizes: sum(each.function(x, sizes) for each in (twin, *others)))

    def bounded(self, twin: Twin) -> Twin:
        """With its own majorant."""
        conv = twin.conv.add(twin.conv.majorant)
        return Twin(conv, lambda x, sizes: twin.function(x, sizes) + twin.function(x, True))

    def parted(self, twin: Twin) -> Twin:
        """Some channels of it beside some of another map."""
        other = self.leaf(4, 4, 1)
        conv = twin.conv.select(slice(1, None)).stack(other.conv.select(slice(0, 1)), size=SIZE)

        def function(x: Array, sizes: bool) -> Array:
            return np.concatenate([twin.function(x, sizes)[1:], other.function(x, sizes)[:1]])

        return Twin(conv, function)

    def regrouped(self, twin: Twin) -> Twin:
        return Twin(twin.conv.regroup(1), twin.function)

    def program(self, length: int) -> Twin:
        """As many operations after each other."""
        twin = self.leaf(4, 4, 3, group=int(self.rng.choice((1, 2, 4))))
        steps = (
            *(self.mixed, self.gained, self.scaled, self.shifted, self.unbiased),
            *(self.added, self.parted, self.bounded, self.regrouped, self.rounded),
        )
        for _ in range(length):
            twin = steps[int(self.rng.integers(len(steps)))](twin)
        return twin
