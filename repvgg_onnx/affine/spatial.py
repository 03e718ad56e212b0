"""Spatial operators as values: what does the same to every channel, and leaves a constant image as it is.

Each row of such an operator sums to one, so that whatever acts on channels alone may stand before it or behind it:
``P(S(x)) = S(P(x))``, additive terms included. Whether rows sum to one is found from the operator's rule, and where
that alone does not tell, from its weights at the given sizes; it is never taken for granted.
"""

from abc import ABC
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from repvgg_onnx.affine.geometry import Size
from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.errors import GeometryError

ROUNDING = 1e-9
"""How far a sum of weights, each of them rounded, may be from one."""
LONGEST = 2**12
"""Positions of an axis up to which its weights are looked at."""
_Weights: TypeAlias = Callable[[float, float], tuple[int, Array]]


@dataclass(frozen=True)
class Interpolation:
    """How a Resize finds its values, in ONNX's words.

    Attributes:
        mode: nearest, linear or cubic.
        transformation: coordinate_transformation_mode.
        nearest_mode: how coordinates are rounded; counts for nearest alone.
        cubic_coeff_a: counts for cubic alone.
        exclude_outside: whether weights outside the image are zero and the others grow.
        antialias: whether a smaller image averages over more positions.
    """

    mode: str
    transformation: str
    nearest_mode: str = ""
    cubic_coeff_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False

    @property
    def is_normal(self) -> bool:
        """Whether weights sum to one at every position by the rule alone.

        One position has the weight 1; two have 1 − f and f; and the four of a cubic are polynomials of f whose sum is
        the constant 1. What is divided by its sum is looked at, because that might be zero.
        """
        if self.transformation not in _COORDINATES or self.mode not in ("nearest", "linear", "cubic"):
            return False
        if self.mode == "nearest":
            return self.nearest_mode in _ROUNDED and not self.antialias
        if self.exclude_outside or self.antialias:
            return False
        return self.mode == "linear" or bool(
            np.array_equal(np.round(_cubic_polynomials(self.cubic_coeff_a).sum(axis=0), 12), (0, 0, 0, 1))
        )

    def matrix(self, before: int, after: int, scale: float) -> Array:
        """Weights of one axis: after  before.

        Args:
            before: positions of the axis.
            after: positions that are made of them.
            scale: the factor that coordinates are divided by.

        Raises:
            GeometryError: there is no such rule, or it reads outside the image.

        Source: ONNX operator specification, Resize versions 11 to 19.
        """
        if self.transformation not in _COORDINATES:
            raise GeometryError("not-affine", f"Resize by {self.transformation} may read a value from outside")
        places = _COORDINATES[self.transformation](np.arange(after, dtype=np.float64), before, after, scale)
        if self.mode == "nearest":
            nearest = np.clip(_ROUNDED[self.nearest_mode](places), 0, before - 1).astype(np.int64)
            return np.eye(before)[nearest]
        rows = np.zeros((after, before))
        for row, place in zip(rows, places, strict=True):
            self._fill(row, float(place), scale)
        return rows

    def _fill(self, row: Array, place: float, scale: float) -> None:
        """Adds the weights of one position to a row of zeros; what is outside counts at the border, or not at all."""
        stretch = min(scale, 1.0) if self.antialias else 1.0
        reach = (1 if self.mode == "linear" else 2) / stretch
        indices = np.arange(int(np.floor(place - reach)), int(np.ceil(place + reach)) + 1)
        weights = self._kernel((indices - np.float64(place)) * stretch)
        outside = (indices < 0) | (indices >= len(row))
        if self.exclude_outside:
            weights = np.where(outside, 0.0, weights)
        if self.exclude_outside or self.antialias:
            weights = weights / weights.sum()
        np.add.at(row, np.clip(indices, 0, len(row) - 1), weights)

    def _kernel(self, distance: Array) -> Array:
        far = np.abs(distance)
        if self.mode == "linear":
            hat: Array = np.clip(1 - far, 0, 1)
            return hat
        a = self.cubic_coeff_a
        near = ((a + 2) * far - (a + 3)) * far * far + 1
        weights: Array = np.where(far <= 1, near, np.where(far < 2, ((far - 5) * far + 8) * far * a - 4 * a, 0))
        return weights


def _cubic_polynomials(a: float) -> Array:
    """The weights of a cubic at distances 1 + f, f, 1 − f and 2 − f as polynomials of f, highest power first.

    Source: ONNX operator specification, Resize; Keys, Cubic Convolution Interpolation, 1981.
    """
    near, far = np.poly1d([a + 2, -(a + 3), 0, 1]), np.poly1d([a, -5 * a, 8 * a, -4 * a])
    f = np.poly1d([1, 0])
    return np.stack([np.pad(p.c, (4 - len(p.c), 0)) for p in (far(1 + f), near(f), near(1 - f), far(2 - f))])


def _align_corners(x: Array, before: int, after: int, scale: float) -> Array:
    return x * 0 if after == 1 else x * ((before - 1) / (after - 1))


def _pytorch_half_pixel(x: Array, before: int, after: int, scale: float) -> Array:
    return (x + 0.5) / scale - 0.5 if after > 1 else x * 0


def _half_pixel_symmetric(x: Array, before: int, after: int, scale: float) -> Array:
    return before / 2 * (1 - after / (scale * before)) + (x + 0.5) / scale - 0.5


_COORDINATES: dict[str, Callable[[Array, int, int, float], Array]] = {
    "align_corners": _align_corners,
    "asymmetric": lambda x, before, after, scale: x / scale,
    "half_pixel": lambda x, before, after, scale: (x + 0.5) / scale - 0.5,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "pytorch_half_pixel": _pytorch_half_pixel,
}
_ROUNDED: dict[str, Callable[[Array], Array]] = {
    "ceil": np.ceil,
    "floor": np.floor,
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
}


@dataclass(frozen=True)
class Spatial(ABC):
    """An operator on the axes besides the channels; two that are equal do the same.

    Attributes:
        before: sizes of the axes that it reads, the channels left out; None where one is not known.
        after: sizes of the axes that it makes.
    """

    before: Size
    after: Size

    @property
    def keeps_constants(self) -> bool:
        """Whether every row is known to sum to one."""
        return True

    @property
    def is_identity(self) -> bool:
        """Whether it is known to change nothing."""
        return False

    @property
    def is_known(self) -> bool:
        """Whether all sizes are known, so that being equal means to do the same to the same images."""
        return None not in self.before and None not in self.after


@dataclass(frozen=True)
class Resampled(Spatial):
    """Resize and Upsample: every axis by itself.

    Attributes:
        rule: how values are found.
        scales: factor of each axis; None where it follows from sizes that are not known.
    """

    rule: Interpolation
    scales: tuple[float | None, ...]

    @property
    def keeps_constants(self) -> bool:
        """By the rule, or by the weights where all sizes are known."""
        if self.rule.is_normal:
            return True
        return all(
            matrix is not None and np.allclose(matrix.sum(axis=1), 1, rtol=0, atol=ROUNDING) for matrix in self.matrices
        )

    @property
    def is_identity(self) -> bool:
        """Whether each axis is itself: by its factor, whatever its size, or by its weights."""
        if self.rule.is_normal and all(scale == 1 for scale in self.scales):
            return True
        pairs = zip(self.before, self.after, self.matrices, strict=True)
        return all(one == other and matrix is not None and np.array_equal(matrix, np.eye(len(matrix)))
                   for one, other, matrix in pairs)  # fmt: skip

    @property
    def repeats(self) -> tuple[int, ...] | None:
        """How often each position is repeated, axis by axis, if that is all that is done; None where it is not."""
        counts = []
        for before, after, matrix in zip(self.before, self.after, self.matrices, strict=True):
            if matrix is None or not before or not after or after % before:
                return None
            if not np.array_equal(matrix, np.repeat(np.eye(before), after // before, axis=0)):
                return None
            counts.append(after // before)
        return tuple(counts)

    @property
    def reach(self) -> float | None:
        """Largest sum of the absolute values of a row; None where the weights are not known and may be negative."""
        if self.rule.mode != "cubic":
            return 1.0
        rows = [None if matrix is None else np.abs(matrix).sum(axis=1).max() for matrix in self.matrices]
        known = [float(row) for row in rows if row is not None]
        return float(np.prod(known)) if len(known) == len(rows) else None

    @cached_property
    def matrices(self) -> tuple[Array | None, ...]:
        """Weights of each axis; None where its sizes are not known, or too large to be looked at."""
        axes = zip(self.before, self.after, self.scales, strict=True)
        return tuple(
            self.rule.matrix(before, after, scale)
            if before is not None and after is not None and scale is not None and 0 < max(before, after) <= LONGEST
            else None
            for before, after, scale in axes
        )


@dataclass(frozen=True)
class Averaged(Spatial):
    """A mean of the positions inside the image under a window, or of whole axes.

    Attributes:
        window: what tells where the windows are; equal ones are in the same places.
    """

    window: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Cut(Spatial):
    """Some of the positions, in any order.

    Attributes:
        bounds: for each axis that is cut, which it is, where it starts and ends, and its step.
    """

    bounds: tuple[tuple[int, int, int, int], ...]

    @property
    def is_identity(self) -> bool:
        """Whether everything is left where it is."""
        return self.is_known and self.before == self.after and all(step == 1 for *_, step in self.bounds)


@dataclass(frozen=True)
class Arranged(Spatial):
    """The same numbers on other axes.

    Attributes:
        channel_axes: where the channels are before and after.
        order: of the axes, where that changes; empty where elements stay in their order.
    """

    channel_axes: tuple[int, int]
    order: tuple[int, ...] = ()
