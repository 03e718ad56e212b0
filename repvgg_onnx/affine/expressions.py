"""Affine convolutions as expressions: what a map is made of is data, and its numbers are one way to read it.

Each operation is stated once, as the steps that read its kernel and its bias. A step asks for an operand by yielding it
and gets an array back, so that whoever reads decides in what order, keeps no more than one operand of a sum at a time,
evaluates an expression that several others share once, and needs no deeper stack for a longer chain
(``affine/interpreters.py``).

With ``sizes`` an expression is read as its majorant: the same steps with absolute values, which is what rounding errors
are proportional to, cancellations included.

Source: Higham, Accuracy and Stability of Numerical Algorithms, section 3.1: a running error analysis replaces each term
    by its absolute value.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.affine.interpreters import evaluated, recalled
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
        answers: what has been read of it and is kept, by what was asked.
    """

    geometry: Geometry
    by_rows: bool = field(init=False)
    answers: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

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
        origin: what the numbers were rounded from, whose sizes are the leaf's; None for the numbers' own.
        rows_are_cheap: whether reading some rows is less work than reading all of them.
        word: what a report calls it; empty for nothing worth a word.
    """

    read: Reader
    offsets: Callable[[], Array] | None = None
    origin: Expression | None = None
    rows_are_cheap: bool = True
    word: str = ""

    @property
    def operands(self) -> tuple[Expression, ...]:
        """What the numbers were rounded from, which is read for its sizes."""
        return () if self.origin is None else (self.origin,)

    def _is_by_rows(self) -> bool:
        return self.rows_are_cheap

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """Calls the reader."""
        if sizes and self.origin is not None:
            kernel = yield self.origin, rows, True
            return kernel.reshape(len(kernel), *self.geometry.kernel_dims[1:])
        return np.abs(self.read(rows)) if sizes else self.read(rows)

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """Calls the reader."""
        if sizes and self.origin is not None:
            return (yield self.origin, True)
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
        magnitude: what the rounding errors of the gain are proportional to, c_out.
    """

    gain: Array
    magnitude: Array

    def kernel_steps(self, rows: slice, sizes: bool) -> KernelSteps:
        """Multiplies in place."""
        kernel = yield self.inner, rows, sizes
        kernel *= self._by(sizes).reshape(-1, *(1,) * (self.geometry.rank + 1))[rows]
        return kernel

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """The scaled bias."""
        return (yield self.inner, sizes) * self._by(sizes)

    def _by(self, sizes: bool) -> Array:
        return self.magnitude if sizes else self.gain


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
class Named(After):
    """A map that a report has a word for.

    Attributes:
        word: what was done last.
        follows: whether it is said after what was done before; otherwise only where there is nothing else to say.
    """

    word: str
    follows: bool

    def bias_steps(self, sizes: bool) -> BiasSteps:
        """The bias as it is."""
        return (yield self.inner, sizes)


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
    """Rows of an expression's kernel, in an array of their own."""
    return evaluated(_kernel_steps, (expression, rows, sizes))


def read_bias(expression: Expression, *, sizes: bool = False) -> Array:
    """An expression's bias, which is not to be changed; it is kept with the expression."""
    bias: Array = recalled(_bias_steps, (expression, sizes))
    return bias


def _kernel_steps(expression: Expression, rows: slice, sizes: bool) -> KernelSteps:
    return expression.kernel_steps(rows, sizes)


def _bias_steps(expression: Expression, sizes: bool) -> BiasSteps:
    return expression.bias_steps(sizes)


def _given(expression: Expression, kernel: Array) -> Part:
    """A kernel that has been read."""
    return Part(expression.geometry, lambda _: kernel)
