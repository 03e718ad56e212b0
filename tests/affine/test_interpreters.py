"""Every reading of an expression says what its operations do, and one that forgot something would be found out."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from repvgg_onnx.affine import expressions, field, roundings, words
from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.expressions import Composed, Leaf, Majorant, Scaled, Selected, Shifted, Stacked, Sum
from repvgg_onnx.affine.field import Convolved, Field, Offsets, Part, Stored, field_of
from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.affine.roundings import roundings_of
from repvgg_onnx.affine.words import words_of
from tests.affine.programs import SIZE, Programs, applied, convolved

PROGRAMS = 40
LENGTH = 5
CLOSE = 1e-9
SINGLE = 1e-5  # where numbers were rounded on the way


def near(expected: np.ndarray, found: np.ndarray, worst: float) -> bool:
    return bool(np.max(np.abs(expected - found)) <= worst * max(np.max(np.abs(expected)), 1.0))


def assert_numbers() -> None:
    """Kernels and biases, whole and by rows, as numbers and as sizes, are those of the functions."""
    for seed in range(PROGRAMS):
        twin = Programs(seed).program(1 + seed % LENGTH)
        x = np.random.default_rng(seed).normal(size=(4, *SIZE))
        conv, majorant = twin.conv, twin.conv.majorant
        assert near(twin.function(x, False), applied(conv, x), SINGLE)
        assert near(twin.function(np.abs(x), True), applied(majorant, np.abs(x)), CLOSE)
        for each in (conv, majorant):
            assert np.array_equal(np.concatenate([each.rows(slice(0, 1)), each.rows(slice(1, None))]), each.kernel)


def assert_fields() -> None:
    """Fields, as numbers and as sizes, are what their operations do."""
    rng = np.random.default_rng(0)
    kernel, values, gain = rng.normal(size=(4, 3, 3, 3)), rng.normal(size=(3, *SIZE)), rng.normal(size=4)
    outer, inner = (
        AffineConv(kernel, rng.normal(size=4), pads=(1, 1, 1, 1)),
        AffineConv(np.ones((3, 2, 1, 1)), -values[:, 0, 0]),
    )
    stored = field_of(SIZE, Stored(values))
    behind = field_of(SIZE, Convolved(outer, Offsets(inner, stored.scaled(gain[:3]), SIZE)))
    total = behind.scaled(gain).plus(behind, field_of(SIZE, Stored(kernel[:, :1, :1, 0] + np.zeros((4, *SIZE)))))
    part = total.select(slice(1, 3))

    def expected(change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        added = change(inner.bias)[:, None, None] + change(values) * change(gain)[:3, None, None]
        made = convolved(change(kernel), np.zeros(4), outer.geometry, added)
        return (made * change(gain)[:, None, None] + made + change(kernel[:, :1, :1, 0]))[1:3]

    assert near(expected(np.asarray), part.read(), CLOSE)
    assert near(expected(np.abs), part.read(sizes=True), CLOSE)


def leaf(word: str = "", kernel: int = 1, c_out: int = 2) -> AffineConv:
    """A map of 2 channels with a word."""
    geometry = Geometry(c_out, 2, 1, (kernel,), (1,), (0, 0), (1,))
    return AffineConv.read_by_rows(geometry, lambda rows: np.ones(geometry.kernel_dims)[rows], word=word)


def assert_words() -> None:
    """What was summed and what followed what, in the words of the report."""
    one, two, skip = leaf("1 Conv"), leaf("A"), AffineConv.identity(2, 1)
    gain = AffineConv.deferred(skip.geometry, lambda: np.ones((2, 1, 1)), word="G")
    said = {
        ("identity",): skip.scale(2.0).shift(1.0),
        ("BN",): skip.scale(2.0).named("BN"),
        ("1 Conv",): one.scale(2.0).named("BN").without_bias().select(slice(0, 1)),
        ("1 Conv → A",): two.compose(one),
        ("1 Conv → G",): gain.compose(one),
        ("A",): two.compose(leaf()),
        ("1 Conv", "A", "identity"): one.add(two, skip),
        ("(1 Conv + A) → A",): two.compose(one.add(two)),
        ("[1 Conv + identity | A]",): one.add(skip).stack(two),
    }
    for expected, conv in said.items():
        assert words_of(conv.expression) == expected
    many = one.add(*[two] * 100)
    assert words_of(many.expression) == ("1 Conv", *["A"] * 98, "…")
    assert words_of(two.compose(many).expression) == ("… → A",)


def assert_roundings() -> None:
    """Each operation is counted, each shared one once, and what numbers were rounded from as well."""
    wide, skip = leaf(kernel=5, c_out=3), AffineConv.identity(3, 1)
    assert roundings_of(skip.expression) == 0
    assert roundings_of(wide.expression) == 5 * 3 + 3
    assert roundings_of(wide.scale(2.0).expression) == 18 + 4
    assert roundings_of(wide.shift(2.0).named("BN").without_bias().expression) == 18 + 4
    assert roundings_of(wide.add(wide.scale(2.0)).expression) == 18 + 4 + 4
    assert roundings_of(wide.add(*[wide] * 8).expression) == 18 + 9
    assert roundings_of(wide.stack(wide).select(slice(0, 2)).expression) == 18 + 4 + 4
    inner = leaf(kernel=2)
    assert roundings_of(wide.compose(inner).expression) == 18 + 2 * 2 + 3
    rounded = AffineConv.deferred(wide.geometry, lambda: wide.kernel, origin=wide.scale(2.0))
    assert roundings_of(rounded.expression) == 18 + 18 + 4


ORACLES = [assert_numbers, assert_fields, assert_words, assert_roundings]


@pytest.mark.parametrize("oracle", ORACLES)
def test_a_reading_says_what_the_operations_do(oracle):
    oracle()


# What could be forgotten

Mutation = Callable[[pytest.MonkeyPatch], None]


def instead(owner: type, method: str, make: Callable) -> Mutation:
    """The method gives what ``make`` makes of the right one."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(owner, method, make(getattr(owner, method)))

    return mutate


def changed(owner: type, method: str, change: Callable, *, sizes: bool | None = None) -> Mutation:
    """What the method's steps return is changed, for numbers or sizes only if ``sizes`` says so."""

    def make(right):
        def steps(self, *how):
            made = yield from right(self, *how)
            return change(self, made) if sizes in (None, how[-1]) else made

        return steps

    return instead(owner, method, make)


def as_numbers(owner: type, method: str) -> Mutation:
    """Operands are read as numbers where their sizes are wanted."""

    def make(right):
        def steps(self, *how):
            running, given = right(self, *how), None
            while True:
                try:
                    asked = running.send(given)
                except StopIteration as end:
                    return end.value
                given = yield (*asked[:-1], False)

        return steps

    return instead(owner, method, make)


def other(owner: type, method: str, change: Callable, *, sizes: bool | None = None) -> Mutation:
    """The steps are those of an expression with other attributes, for numbers or sizes only if ``sizes`` says so."""

    def make(right):
        def steps(self, *how):
            return (yield from right(replace(self, **change(self)) if sizes in (None, how[-1]) else self, *how))

        return steps

    return instead(owner, method, make)


def shifted(selected: Selected) -> slice:
    """As many channels, one further on or back."""
    start, stop, _ = selected.channels.indices(selected.inner.geometry.c_out)
    return slice(start - 1, stop - 1) if start else slice(1, stop + 1)


class Never:
    """What nothing is an instance of."""


def never(module: object, name: str) -> Mutation:
    """The interpreter does not know a kind of expression."""
    return lambda patch: patch.setattr(module, name, Never)


def forgetful(shares_by: Callable[[tuple], object], *, copies: bool = True) -> Callable:
    """Reads arrays with every operand shared by a key of its question."""

    def evaluated(steps, question):
        kept = {}

        def ask(asked):
            key = shares_by(asked)
            if key not in kept:
                running, given = steps(*asked), None
                while True:
                    try:
                        given = ask(running.send(given))
                    except StopIteration as end:
                        kept[key] = end.value
                        break
            return kept[key].copy() if copies else kept[key]

        return ask(question)

    return evaluated


def rows_of(asked):
    return None if asked[1] is None else (asked[1].start, asked[1].stop)


def known_by_steps(steps, question):
    """Answers are kept whether they were wanted as numbers or as sizes."""
    item = question[0]
    if steps not in item.answers:
        running, given = steps(*question), None
        while True:
            try:
                given = known_by_steps(steps, running.send(given))
            except StopIteration as end:
                item.answers[steps] = end.value
                break
    return item.answers[steps]


NUMBERS: dict[str, Mutation] = {
    "a gain twice": other(Scaled, "kernel_steps", lambda self: {"gain": self.gain * 2}, sizes=False),
    "a gain with its sign in a majorant": other(Scaled, "kernel_steps", lambda self: {"magnitude": self.gain}),
    "a gain's own size is forgotten": other(Scaled, "kernel_steps", lambda self: {"magnitude": np.abs(self.gain)}),
    "no gain on a bias": other(Scaled, "bias_steps", lambda self: {"gain": np.ones_like(self.gain)}),
    "a gain with its sign on a bias's size": other(Scaled, "bias_steps", lambda self: {"magnitude": self.gain}),
    "no offset": other(Shifted, "bias_steps", lambda self: {"offset": np.zeros_like(self.offset)}),
    "an offset with its sign in a majorant": other(Shifted, "bias_steps", lambda self: {"magnitude": self.offset}),
    "an offset's own size is forgotten": other(Shifted, "bias_steps", lambda self: {"magnitude": np.abs(self.offset)}),
    "a bias that stays": changed(expressions.Unbiased, "bias_steps", lambda self, made: made + 1.0),
    "sizes of a sum without absolute values": as_numbers(Sum, "kernel_steps"),
    "sizes of a sum's bias without absolute values": as_numbers(Sum, "bias_steps"),
    "a term that is dropped": other(Sum, "kernel_steps", lambda self: {"terms": self.terms[:2]}),
    "a term's bias that is dropped": other(Sum, "bias_steps", lambda self: {"terms": self.terms[:2]}),
    "sizes of a product without absolute values": as_numbers(Composed, "kernel_steps"),
    "sizes of a carried bias without absolute values": as_numbers(Composed, "bias_steps"),
    "no bias through a product": instead(
        Composed, "bias_steps", lambda right: lambda self, sizes: (yield self.outer, sizes)
    ),
    "no bias of the second map": instead(
        Composed,
        "bias_steps",
        lambda right: lambda self, sizes: (yield from right(self, sizes)) - (yield self.outer, sizes),
    ),
    "a stack upside down": changed(Stacked, "kernel_steps", lambda self, made: made[::-1]),
    "a stack's bias upside down": changed(Stacked, "bias_steps", lambda self, made: made[::-1]),
    "sizes of a stack without absolute values": as_numbers(Stacked, "kernel_steps"),
    "sizes of a stack's bias without absolute values": as_numbers(Stacked, "bias_steps"),
    "other channels": other(Selected, "kernel_steps", lambda self: {"channels": shifted(self)}),
    "other channels' biases": other(Selected, "bias_steps", lambda self: {"channels": shifted(self)}),
    "sizes of channels without absolute values": as_numbers(Selected, "kernel_steps"),
    "sizes of channels' biases without absolute values": as_numbers(Selected, "bias_steps"),
    "a majorant that is the map": as_numbers(Majorant, "kernel_steps"),
    "a majorant that has the map's bias": as_numbers(Majorant, "bias_steps"),
    "a stored kernel with its signs": instead(
        Leaf, "kernel_steps", lambda right: lambda self, rows, sizes: (yield from right(self, rows, False))
    ),
    "a stored bias with its signs": instead(
        Leaf, "bias_steps", lambda right: lambda self, sizes: (yield from right(self, False))
    ),
    "sizes of rounded numbers": other(Leaf, "kernel_steps", lambda self: {"origin": None}),
    "sizes of rounded biases": other(Leaf, "bias_steps", lambda self: {"origin": None}),
    "shared operands in any rows": lambda patch: patch.setattr(
        expressions, "evaluated", forgetful(lambda asked: (id(asked[0]), asked[2]))
    ),
    "shared operands as numbers or sizes": lambda patch: patch.setattr(
        expressions, "evaluated", forgetful(lambda asked: (id(asked[0]), rows_of(asked)))
    ),
    "shared operands that are changed": lambda patch: patch.setattr(
        expressions, "evaluated", forgetful(lambda asked: (id(asked[0]), rows_of(asked), asked[2]), copies=False)
    ),
    "biases kept as numbers or sizes": lambda patch: patch.setattr(expressions, "recalled", known_by_steps),
}
FIELDS: dict[str, Mutation] = {
    "stored numbers with their signs": changed(Stored, "steps", lambda self, made: self.values, sizes=True),
    "no bias": changed(Offsets, "steps", lambda self, made: made - self.conv.bias[:, None, None], sizes=False),
    "a bias with its sign": changed(
        Offsets, "steps", lambda self, made: made + (self.conv.bias - np.abs(self.conv.bias))[:, None, None], sizes=True
    ),
    "sizes of a field below without absolute values": as_numbers(Offsets, "steps"),
    "sizes of a convolved field without absolute values": as_numbers(Convolved, "steps"),
    "a kernel with its signs": instead(
        Convolved,
        "steps",
        lambda right: lambda self, sizes: field.convolve(self.conv, (yield self.term, sizes)),
    ),
    "other channels": changed(Part, "steps", lambda self, made: np.roll(made, 1, axis=0)),
    "sizes of channels without absolute values": as_numbers(Part, "steps"),
    "sizes of a sum without absolute values": as_numbers(Field, "steps"),
    "a gain that is not applied": lambda patch: patch.setattr(Field, "scaled", lambda self, factors: self),
    "a term that is dropped": lambda patch: patch.setattr(Field, "plus", lambda self, *fields: self),
}
WORDS: dict[str, Mutation] = {
    **{
        f"no words for a {name}": never(words, name)
        for name in ("Leaf", "Composed", "Named", "Stacked", "Sum", "After")
    },
    "more terms of a sum": lambda patch: patch.setattr(words, "MOST_TERMS", 101),
    "longer words": lambda patch: patch.setattr(words, "LONGEST_WORDS", 2000),
}
ROUNDINGS: dict[str, Mutation] = {
    **{
        f"no roundings of a {name}": never(roundings, name) for name in ("Leaf", "Scaled", "Shifted", "Sum", "Selected")
    },
    "shared ones as often as they are read": lambda patch: patch.setattr(roundings, "parts_of", each_time),
    "nothing of what was rounded": lambda patch: patch.setattr(Leaf, "operands", ()),
}


def each_time(root):
    return [root, *(part for operand in root.operands for part in each_time(operand))]


CASES = [
    (oracle, mutations[name], name)
    for oracle, mutations in zip(ORACLES, (NUMBERS, FIELDS, WORDS, ROUNDINGS), strict=True)
    for name in mutations
]


@pytest.mark.parametrize(
    ("oracle", "mutate"), [case[:2] for case in CASES], ids=[f"{case[0].__name__[7:]}: {case[2]}" for case in CASES]
)
def test_a_reading_that_forgets_something_is_found_out(oracle, mutate, monkeypatch):
    mutate(monkeypatch)
    with pytest.raises((AssertionError, TypeError, ValueError)):
        oracle()


# Long expressions


@contextmanager
def shallow() -> Iterator[None]:
    """Python's stack has little room left."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 60)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def test_a_long_chain_needs_no_deep_stack():
    conv = leaf("1 Conv")
    made = conv
    for _ in range(3000):
        made = made.scale([1.0, -1.0]).shift(1.0)
    behind = field_of((3,), Stored(np.ones((2, 3))))
    for _ in range(300):
        behind = field_of((3,), Convolved(AffineConv(np.ones((2, 1, 1)), group=2), Offsets(conv, behind, (3,))))
    with shallow():
        assert np.array_equal(made.kernel, conv.kernel)
        assert made.majorant.bias.tolist() == [3000.0, 3000.0]
        assert words_of(made.expression) == ("1 Conv",)
        assert roundings_of(made.expression) == 2 + 3 + 3000 * 8
        assert behind.read(sizes=True).tolist() == [[1.0] * 3] * 2


def test_what_is_shared_is_read_once():
    """Otherwise fifty diamonds would be read 2**50 times."""
    reads = []
    made = AffineConv.deferred(leaf().geometry, lambda: reads.append("kernel") or np.ones((2, 2, 1)))
    ones = np.ones((2, 3))
    diamond = field_of((3,), Stored(ones))
    for _ in range(50):
        made = made.scale(0.5).add(made.scale(0.5))
        halved = field_of((3,), Convolved(AffineConv(np.full((2, 1, 1), 0.5), group=2), diamond))
        diamond = halved.plus(halved)
    assert np.array_equal(made.kernel, np.ones((2, 2, 1)))
    assert len(reads) == 1
    assert np.array_equal(diamond.read(), ones)
