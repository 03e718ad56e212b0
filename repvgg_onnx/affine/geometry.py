"""Where the taps of a convolution sit: exact integer rules for sums, compositions and stacks, no numpy.

A tap with index ``i`` reads input position ``output · stride + i · dilation − pad_begin``. Everything here follows
from that line and from ONNX's output size,
``floor((size + pad_begin + pad_end − dilation · (kernel − 1) − 1) / stride) + 1``.

The output of a transposed convolution is ``(size − 1) · stride + output_padding − slack + 1`` long, so that its taps
are aligned and its end pads follow by the same rules.

Source: ONNX operator specification, Conv and ConvTranspose.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from repvgg_onnx.errors import GeometryError

Size = Sequence[int | None]


@dataclass(frozen=True)
class Lattice:
    """Evenly spaced tap positions along one axis, relative to the output position times the stride."""

    start: int
    step: int
    count: int

    @property
    def span(self) -> int:
        """Distance from the first tap to the last."""
        return self.step * (self.count - 1)

    @staticmethod
    def union(lattices: Iterable["Lattice"]) -> "Lattice":
        """The coarsest lattice that holds every position of all of them."""
        parts = tuple(lattices)
        start = min(part.start for part in parts)
        stop = max(part.start + part.span for part in parts)
        steps = [part.step for part in parts if part.count > 1]
        step = math.gcd(*steps, *(part.start - start for part in parts)) or 1
        return Lattice(start, step, (stop - start) // step + 1)

    def slots_of(self, part: "Lattice") -> slice:
        """Indices at which the taps of ``part`` sit on this lattice."""
        first = (part.start - self.start) // self.step
        stride = max(part.step // self.step, 1) if part.count > 1 else 1
        return slice(first, first + stride * (part.count - 1) + 1, stride)


@dataclass(frozen=True)
class Geometry:
    """Everything about an affine convolution but its numbers.

    Attributes:
        c_out: output channels.
        c_in: input channels.
        group: number of groups; divides both.
        kernel_shape: taps per spatial axis; empty for a dense layer.
        strides: one per spatial axis.
        pads: ONNX order, all begins and then all ends.
        dilations: one per spatial axis.
        transposed: whether a tap writes output position ``input · stride + i · dilation − pad_begin`` instead.
        output_padding: of a transposed convolution, one per spatial axis; empty otherwise.
        auto_pad: ONNX's name for the rule by which the pads follow from a size that is not known, such as SAME_UPPER;
            ``pads`` are zeros then and mean nothing. Empty where they are known.
        output_shape: of a transposed convolution whose pads follow from it; empty otherwise.
    """

    c_out: int
    c_in: int
    group: int
    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    transposed: bool = False
    output_padding: tuple[int, ...] = ()
    auto_pad: str = ""
    output_shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        rank = len(self.kernel_shape)
        if (len(self.strides), len(self.pads), len(self.dilations)) != (rank, 2 * rank, rank):
            raise GeometryError(
                "bad-geometry", f"{rank} spatial axes need {rank} strides and dilations and {2 * rank} pads"
            )
        if self.group < 1 or self.c_out % self.group or self.c_in % self.group:
            raise GeometryError(
                "bad-geometry", f"{self.group} groups do not divide {self.c_in} → {self.c_out} channels"
            )
        if min(self.c_out, self.c_in, *self.kernel_shape, *self.strides, *self.dilations) < 1:
            raise GeometryError("bad-geometry", "channels, kernel shape, strides and dilations must be positive")
        if min(self.pads, default=0) < 0:
            raise GeometryError("bad-geometry", f"negative pads {list(self.pads)} crop the input")

    @staticmethod
    @lru_cache
    def pointwise(c_out: int, c_in: int, group: int, rank: int) -> "Geometry":
        """One tap, stride 1, no pads."""
        ones = (1,) * rank
        return Geometry(c_out, c_in, group, ones, ones, (0,) * (2 * rank), ones)

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel_shape)

    @property
    def kernel_dims(self) -> tuple[int, ...]:
        """Shape of the kernel array: c_out  c_in/group  *k."""
        return (self.c_out, self.c_in // self.group, *self.kernel_shape)

    @cached_property
    def lattices(self) -> tuple[Lattice, ...]:
        """Tap positions, one lattice per spatial axis."""
        begins = self.pads[: self.rank]
        return tuple(
            Lattice(-begin, dilation, count)
            for begin, dilation, count in zip(begins, self.dilations, self.kernel_shape, strict=True)
        )

    @cached_property
    def slack(self) -> tuple[int, ...]:
        """Output size is ``floor((size + slack − 1) / stride) + 1`` on each axis."""
        ends = self.pads[self.rank :]
        return tuple(end - axis.start - axis.span for end, axis in zip(ends, self.lattices, strict=True))

    @property
    def is_pointwise(self) -> bool:
        """Whether each output position reads exactly one input position, at stride 1 and without pads."""
        return self == Geometry.pointwise(self.c_out, self.c_in, self.group, self.rank)

    @property
    def has_unknown_pads(self) -> bool:
        """Whether the pads follow from sizes at run time."""
        return bool(self.auto_pad or self.output_shape)

    @property
    def is_padded(self) -> bool:
        """Whether zeros may stand around the input."""
        return any(self.pads) or self.has_unknown_pads

    @property
    def is_diagonal(self) -> bool:
        """Whether the map is one gain per channel."""
        return self.group == self.c_in == self.c_out and self.is_pointwise

    def output_size(self, size: Size) -> tuple[int | None, ...]:
        """Spatial output size for a spatial input size; None stays None, and so it is where the pads are not known."""
        if self.has_unknown_pads:
            return (None,) * self.rank
        return tuple(
            None if given is None else (given + slack - 1) // stride + 1
            for given, slack, stride in zip(size, self.slack, self.strides, strict=True)
        )

    def with_lattices(self, lattices: Sequence[Lattice], slack: Sequence[int]) -> "Geometry":
        """The same map size and strides on other taps, the end pads chosen to give ``slack``."""
        begins = tuple(-axis.start for axis in lattices)
        ends = tuple(rest + axis.start + axis.span for axis, rest in zip(lattices, slack, strict=True))
        return replace(
            self,
            kernel_shape=tuple(axis.count for axis in lattices),
            dilations=tuple(axis.step if axis.count > 1 else 1 for axis in lattices),
            pads=(*begins, *ends),
        )


def sum_geometry(parts: Sequence[Geometry], size: Size | None = None) -> Geometry:
    """Geometry of the sum of maps that read the same input.

    Args:
        parts: geometries of the terms.
        size: spatial size of the common input where it is known; end pads that differ need it.

    Raises:
        GeometryError: channels, spatial axes, strides or output sizes differ, or sizes are not known to be equal.
    """
    first = parts[0]
    for part in parts[1:]:
        if (part.c_in, part.c_out, part.rank) != (first.c_in, first.c_out, first.rank):
            raise GeometryError(
                "channels-differ", f"the branches map {_channels(first)} and {_channels(part)} channels"
            )
        if (part.transposed, part.output_padding) != (first.transposed, first.output_padding):
            raise GeometryError("transposed", "the branches are convolutions and transposed convolutions")
        if part.strides != first.strides:
            raise GeometryError(
                "strides-differ", f"the branches have strides {list(first.strides)} and {list(part.strides)}"
            )
    if any(part.has_unknown_pads for part in parts):
        return _sum_of_unknown_pads(parts)
    slack = _common_slack(parts, size)
    lattices = [Lattice.union(axes) for axes in zip(*(part.lattices for part in parts), strict=True)]
    group = math.gcd(*(part.group for part in parts))
    return replace(first, group=group).with_lattices(lattices, slack)


def compose_geometry(outer: Geometry, inner: Geometry, *, inner_has_bias: bool) -> Geometry:
    """Geometry of ``outer`` applied to the result of ``inner``.

    Args:
        outer: the map that is applied second.
        inner: the map that is applied first.
        inner_has_bias: whether ``inner`` adds anything; where ``outer`` pads, the border would see it.

    Raises:
        GeometryError: the channels do not fit, or the border of ``outer`` would see more than the zeros that it pads.
    """
    check_chain(outer, inner)
    if outer.has_unknown_pads or inner.has_unknown_pads:
        return _compose_unknown_pads(outer, inner, inner_has_bias)
    if outer.transposed or inner.transposed:
        return _compose_transposed(outer, inner, inner_has_bias)
    _check_border(outer, inner, inner_has_bias)
    axes = zip(outer.lattices, inner.lattices, inner.strides, strict=True)
    lattices = [_compose_lattice(over, under, stride) for over, under, stride in axes]
    slack = [under + stride * over for over, under, stride in zip(outer.slack, inner.slack, inner.strides, strict=True)]
    strides = tuple(over * under for over, under in zip(outer.strides, inner.strides, strict=True))
    group = math.gcd(outer.group, inner.group)
    joined = replace(inner, c_out=outer.c_out, group=group, strides=strides)
    return joined.with_lattices(lattices, slack)


def stack_geometry(parts: Sequence[Geometry], size: Size | None = None) -> Geometry:
    """Geometry of the maps' outputs one after the other on the channel axis, as one dense map.

    Raises:
        GeometryError: input channels, spatial axes, strides or output sizes differ, or are not known to be equal.
    """
    total = sum(part.c_out for part in parts)
    return sum_geometry([replace(part, c_out=total, group=1) for part in parts], size)


def check_chain(outer: Geometry, inner: Geometry) -> None:
    """Makes sure that the result of ``inner`` is what ``outer`` reads.

    Raises:
        GeometryError: the channels or the spatial axes differ.
    """
    if outer.c_in != inner.c_out or outer.rank != inner.rank:
        raise GeometryError("channels-differ", f"{_channels(inner)} channels do not feed {_channels(outer)}")


def _sum_of_unknown_pads(parts: Sequence[Geometry]) -> Geometry:
    """Maps whose pads follow from the same size by the same rule, and whose taps therefore coincide."""
    first = parts[0]
    if any(replace(part, group=first.group) != first for part in parts):
        raise GeometryError(
            "auto-pad-dynamic", "the branches differ in kernel or pads, and auto_pad depends on a size that is dynamic"
        )
    return replace(first, group=math.gcd(*(part.group for part in parts)))


def _compose_unknown_pads(outer: Geometry, inner: Geometry, inner_has_bias: bool) -> Geometry:
    """A convolution with pads that are not known and a pointwise one, in either order."""
    group = math.gcd(outer.group, inner.group)
    if outer.is_pointwise:
        return replace(inner, c_out=outer.c_out, group=group)
    if inner.is_pointwise and inner_has_bias:
        raise GeometryError(
            "border-bias", "pads put zeros where the folded kernel would see the bias of the map before"
        )
    if inner.is_pointwise:
        return replace(outer, c_in=inner.c_in, group=group)
    raise GeometryError(
        "auto-pad-dynamic",
        "auto_pad depends on an input size that is dynamic, and so what would stand at the border is not known",
    )


def _compose_transposed(outer: Geometry, inner: Geometry, inner_has_bias: bool) -> Geometry:
    """A transposed convolution and a pointwise one, in either order."""
    group = math.gcd(outer.group, inner.group)
    if outer.is_pointwise:
        return replace(inner, c_out=outer.c_out, group=group)
    if inner.is_pointwise and not inner_has_bias:
        return replace(outer, c_in=inner.c_in, group=group)
    raise GeometryError(
        "transposed", "a transposed convolution composes only with a pointwise one, without bias before it"
    )


def _compose_lattice(outer: Lattice, inner: Lattice, stride: int) -> Lattice:
    """Positions reached by a tap of ``inner`` around each tap of ``outer``, seen through the inner stride."""
    steps = [part for part, count in ((outer.step * stride, outer.count), (inner.step, inner.count)) if count > 1]
    step = math.gcd(*steps) or 1
    span = outer.span * stride + inner.span
    return Lattice(outer.start * stride + inner.start, step, span // step + 1)


def _check_border(outer: Geometry, inner: Geometry, inner_has_bias: bool) -> None:
    padded = [
        max(begin, end) > 0 for begin, end in zip(outer.pads[: outer.rank], outer.pads[outer.rank :], strict=True)
    ]
    if inner_has_bias and any(padded):
        raise GeometryError(
            "border-bias",
            f"pads {list(outer.pads)} put zeros where the folded kernel would see the bias of the map before",
        )
    if any(pad and count > 1 for pad, count in zip(padded, inner.kernel_shape, strict=True)):
        raise GeometryError(
            "border-taps",
            f"pads {list(outer.pads)} put zeros where the folded kernel would see results of the "
            f"{'x'.join(map(str, inner.kernel_shape))} kernel before",
        )


def _common_slack(parts: Sequence[Geometry], size: Size | None) -> tuple[int, ...]:
    first = parts[0]
    if all(part.slack == first.slack for part in parts):
        return first.slack
    if first.transposed:
        raise GeometryError("sizes-differ", "the transposed branches give different output sizes")
    known = tuple(size) if size is not None else (None,) * first.rank
    for axis, slacks in enumerate(zip(*(part.slack for part in parts), strict=True)):
        _check_axis(known[axis], set(slacks), first.strides[axis])
    return tuple(min(slacks) for slacks in zip(*(part.slack for part in parts), strict=True))


def _check_axis(size: int | None, slacks: set[int], stride: int) -> None:
    if len(slacks) == 1:
        return
    if size is None:
        raise GeometryError(
            "sizes-unknown",
            "the branches pad differently and the input size is dynamic, so their output sizes may differ",
        )
    outputs = {(size + slack - 1) // stride for slack in slacks}
    if len(outputs) > 1:
        raise GeometryError("sizes-differ", f"the branches give different output sizes for an input of {size}")


def _channels(geometry: Geometry) -> str:
    return f"{geometry.c_in} → {geometry.c_out}"
