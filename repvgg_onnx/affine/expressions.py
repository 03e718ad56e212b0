"""Affine convolutions as expressions: what a map is made of is data, and its numbers are one way to read it.

Each operation is stated once, as the steps that read its kernel and its bias. A step asks for an operand by yielding it
and gets an array back, so that whoever reads decides in what order, keeps no more than one operand of a sum at a time,
evaluates an expression that several others share once, and needs no deeper stack for a longer chain.

With ``sizes`` an expression is read as its majorant: the same steps with absolute values, which is what rounding errors
are proportional to, cancellations included.

Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: a running error analysis replaces each term
    by its absolute value.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.affine.kernels import WHOLE, Array, Part, Reader, add_kernels, carry_bias, compose_kernels

KernelSteps: TypeAlias = "Generator[tuple[Expression, slice, bool], Array, Array]"
"""Yields an operand, the rows of its kernel that are wanted, and whether as sizes; returns the rows asked for."""
BiasSteps: TypeAlias = "Generator[tuple[Expression, bool], Array, Array]"
"""Yields an operand whose bias is wanted, and whether as sizes; returns the bias asked for."""


@dataclass(frozen=True, eq=False)
class Expression(ABC):
    """An affine map whose geometry is known and whose numbers are made when they are read.

    Attributes:
        geometry: where the taps sit.
        by_rows: whether reading some rows of the kernel is less work than reading all of them.
        biases: those that have been read, by whether they are sizes.
    """

    geometry: Geometry
    by_rows: bool = field(init=False)
    biases: dict[bool, Array] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_rows", self._is_by_rows())  # now, since expressions may be deep

    @property
    def operands(self) -> "tuple[Expression, ...]":
        """What the map is made of, once for each time that it is read."""
        return ()

    def _is_by_rows(self) -> bool:
        return all(operand.by_rows for operand in self.operands)

    @abstractmethod
    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """Reads rows of the kernel into an array of their own."""

    @abstractmethod
    def bias_steps(self, sizes: bool) -> BiasSteps:
        """Reads the bias."""


@dataclass(frozen=True, eq=False)
class Leaf(Expression):
    """Stored numbers.

    Attributes:
        read: gives rows of the kernel, in an array that is the caller's to change.
        offsets: gives the bias; None for zeros.
        majorant: gives the majorant; None for the map's own with absolute values.
        rows_are_cheap: whether reading some rows is less work than reading all of them.
    """

    read: Reader
    offsets: Callable[[], Array] | None = None
    majorant: Callable[[], Expression] | None = None
    rows_are_cheap: bool = True

    def _is_by_rows(self) -> bool:
        return self.rows_are_cheap

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """Calls the reader."""
        if sizes and self.majorant is not None:
            return (yield self.majorant(), rows, False)
        return np.abs(self.read(rows)) if sizes else self.read(rows)

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """Calls the reader."""
        if sizes and self.majorant is not None:
            return (yield self.majorant(), False)
        offsets = np.zeros(self.geometry.c_out) if self.offsets is None else self.offsets()
        return np.abs(offsets) if sizes else offsets


@dataclass(frozen=True, eq=False)
class After(Expression):
    """Something that is done to one map.

    Attributes:
        inner: the map.
    """

    inner: Expression

    @property
    def operands(self) -> tuple[Expression, ...]:
        """The map."""
        return (self.inner,)

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """The kernel as it is."""
        return (yield self.inner, rows, sizes)


@dataclass(frozen=True, eq=False)
class Scaled(After):
    """A map and then one gain per output channel.

    Attributes:
        gain: c_out.
    """

    gain: Array

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """Multiplies in place."""
        kernel = yield self.inner, rows, sizes
        kernel *= self._gain(sizes).reshape(-1, *(1,) * (self.geometry.rank + 1))[rows]
        return kernel

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """The scaled bias."""
        return (yield self.inner, sizes) * self._gain(sizes)

    def _gain(self, sizes: bool) -> Array:
        return np.abs(self.gain) if sizes else self.gain


@dataclass(frozen=True, eq=False)
class Shifted(After):
    """A map and then one additive term per output channel.

    Attributes:
        offset: c_out.
        magnitude: what the rounding errors of the term are proportional to, c_out.
    """

    offset: Array
    magnitude: Array

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """The sum."""
        return (yield self.inner, sizes) + (self.magnitude if sizes else self.offset)


@dataclass(frozen=True, eq=False)
class Unbiased(After):
    """A map without its additive term."""

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """Zeros."""
        return np.zeros(self.geometry.c_out)
        yield  # a generator, like the others


@dataclass(frozen=True, eq=False)
class Sum(Expression):
    """A sum of maps of one input, whose taps and groups lie among the sum's; of one map, the map on other taps.

    Attributes:
        terms: the maps.
    """

    terms: tuple[Expression, ...]

    @property
    def operands(self) -> tuple[Expression, ...]:
        """The terms."""
        return self.terms

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """Adds one term after the other, into the first one where that sits right."""
        place, first = self.geometry, self.terms[0].geometry
        rest = self.terms
        if (place.group, place.lattices) == (first.group, first.lattices):
            total = yield self.terms[0], rows, sizes
            rest = self.terms[1:]
        else:
            total = np.zeros((len(range(place.c_out)[rows]), *place.kernel_dims[1:]))
        for term in rest:
            kernel = yield term, rows, sizes
            add_kernels(total, place, [_given(term, kernel)], rows)
        return total

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """The sum."""
        total = np.zeros(self.geometry.c_out)
        for term in self.terms:
            total += yield term, sizes
        return total


@dataclass(frozen=True, eq=False)
class Composed(Expression):
    """One map after another.

    Attributes:
        outer: the map that is applied second.
        inner: the map that is applied first.
    """

    outer: Expression
    inner: Expression

    @property
    def operands(self) -> tuple[Expression, ...]:
        """Both maps."""
        return self.outer, self.inner

    def _is_by_rows(self) -> bool:
        return self.outer.by_rows and self.inner.geometry.is_diagonal  # else every row needs all of the inner kernel

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """A product over the channels in between, for each pair of taps."""
        wanted = rows if self.inner.geometry.is_diagonal else WHOLE
        over = yield self.outer, wanted, sizes
        under = yield self.inner, WHOLE, sizes
        return compose_kernels(self.geometry, _given(self.outer, over), _given(self.inner, under), rows)

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """What the outer map makes of the inner bias, and its own."""
        inner = yield self.inner, sizes
        outer = yield self.outer, sizes
        if not np.any(inner != 0):
            return outer
        return outer + carry_bias(_given(self.outer, read_kernel(self.outer, sizes=sizes)), inner)


@dataclass(frozen=True, eq=False)
class Stacked(Sum):
    """The outputs of maps of one input, one after the other on the channel axis.

    The terms are dense and on the same taps.
    """

    def _is_by_rows(self) -> bool:
        return False

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """The kernels below each other."""
        kernels = []
        for term in self.terms:
            kernels.append((yield term, WHOLE, sizes))
        return np.concatenate(kernels)[rows]

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """The biases below each other."""
        biases = []
        for term in self.terms:
            biases.append((yield term, sizes))
        return np.concatenate(biases)


@dataclass(frozen=True, eq=False)
class Selected(After):
    """Some of the output channels of a dense map.

    Attributes:
        channels: which.
    """

    channels: slice

    def _is_by_rows(self) -> bool:
        return False

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """Rows of the whole kernel."""
        kernel = yield self.inner, WHOLE, sizes
        return kernel[self.channels][rows]

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """Elements of the whole bias."""
        return (yield self.inner, sizes)[self.channels]


@dataclass(frozen=True, eq=False)
class Majorant(After):
    """A map read as sizes."""

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """The sizes."""
        return (yield self.inner, rows, True)

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """The sizes."""
        return (yield self.inner, True)


def placed(inner: Expression, geometry: Geometry) -> Expression:
    """The same map on other taps or in fewer groups, which hold its own."""
    return inner if geometry == inner.geometry else Sum(geometry, (inner,))


def dense_term(inner: Expression, whole: Geometry) -> Expression:
    """A term of a stack: dense, and on the taps of the stack."""
    return placed(inner, replace(whole, c_out=inner.geometry.c_out))


def read_kernel(expression: Expression, rows: slice = WHOLE, *, sizes: bool = False) -> Array:
    """Rows of an expression's kernel, in an array of their own.

    An operand that several others read is kept from the first reading to the last, each of the others is gone as soon
    as it has been used.
    """
    shared = _shared(expression)
    kept: dict[tuple[int, int | None, int | None, bool], tuple[Array, int]] = {}
    waiting = [((expression, rows, sizes), expression.kernel_steps(rows, sizes))]
    value: Array | None = None
    while True:
        (current, wanted, as_sizes), steps = waiting[-1]
        try:
            asked, asked_rows, asked_sizes = steps.send(value)  # type: ignore[arg-type]  # None starts it
        except StopIteration as end:
            value = end.value
            waiting.pop()
            if not waiting:
                made: Array = end.value
                return made
            if id(current) in shared:
                kept[id(current), wanted.start, wanted.stop, as_sizes] = (end.value, shared[id(current)] - 1)
                value = end.value.copy()
            continue
        key = (id(asked), asked_rows.start, asked_rows.stop, asked_sizes)
        value, left = kept.pop(key, (None, 0))
        if value is None:
            waiting.append(((asked, asked_rows, asked_sizes), asked.kernel_steps(asked_rows, asked_sizes)))
        elif left > 1:
            kept[key] = (value, left - 1)
            value = value.copy()


def read_bias(expression: Expression, *, sizes: bool = False) -> Array:
    """An expression's bias, which is not to be changed; it is kept with the expression."""
    waiting = [((expression, sizes), expression.bias_steps(sizes))]
    value = expression.biases.get(sizes)
    if value is not None:
        return value
    while waiting:
        (current, as_sizes), steps = waiting[-1]
        try:
            asked, asked_sizes = steps.send(value)  # type: ignore[arg-type]  # None starts it
        except StopIteration as end:
            value = current.biases[as_sizes] = end.value
            waiting.pop()
            continue
        value = asked.biases.get(asked_sizes)
        if value is None:
            waiting.append(((asked, asked_sizes), asked.bias_steps(asked_sizes)))
    assert value is not None
    return value


def _shared(expression: Expression) -> dict[int, int]:
    """How often each operand below an expression is read, if more than once, by identity."""
    if not expression.operands:
        return {}
    counts: Counter[int] = Counter()
    waiting, seen = [expression], {id(expression)}
    while waiting:
        for operand in waiting.pop().operands:
            counts[id(operand)] += 1
            if id(operand) not in seen:
                seen.add(id(operand))
                waiting.append(operand)
    return {identity: count for identity, count in counts.items() if count > 1}


def _given(expression: Expression, kernel: Array) -> Part:
    """A kernel that has been read."""
    return Part(expression.geometry, lambda _: kernel)
