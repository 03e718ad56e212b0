"""Expressions in words, for a report: what was summed, and what was done one after the other."""

from collections.abc import Generator, Iterable
from itertools import islice
from typing import TypeAlias

from repvgg_onnx.affine.expressions import After, Composed, Expression, Leaf, Named, Stacked, Sum
from repvgg_onnx.affine.interpreters import recalled

Words: TypeAlias = tuple[str, ...]
WordSteps: TypeAlias = Generator[tuple[Expression], Words, Words]

IDENTITY: Words = ("identity",)
MOST_TERMS = 100  # that are put into words
LONGEST_WORDS = 200  # characters of what is behind one step: a ladder of sums would double it at each rung


def words_of(expression: Expression) -> Words:
    """The terms of a sum, such as ``("3x3 Conv", "1x1 Conv → BN", "identity")``; one where nothing was summed."""
    words: Words = recalled(_word_steps, (expression,))
    return words


def _word_steps(expression: Expression) -> WordSteps:
    """Yields operands, as the steps for numbers do; gives the words for an expression."""
    match expression:
        case Leaf():
            return (expression.word,) if expression.word else IDENTITY
        case Composed():
            before = yield (expression.inner,)
            return _followed(before, (yield (expression.outer,)))
        case Named():
            before = yield (expression.inner,)
            return _followed(before, (expression.word,)) if expression.follows or before == IDENTITY else before
        case Stacked():
            parts = []
            for term in expression.terms:
                parts.append(_shortened(" + ".join((yield (term,)))))
            return (f"[{' | '.join(parts)}]",)
        case Sum():
            terms = []
            for term in expression.terms:
                terms.append((yield (term,)))
            return _joined(terms)
        case After():
            return (yield (expression.inner,))
    raise TypeError(f"{type(expression).__name__} has no words")


def _followed(before: Words, step: Words) -> Words:
    """What was done, and what was done then."""
    if IDENTITY in (before, step):
        return before if step == IDENTITY else step
    done = _shortened(before[0] if len(before) == 1 else f"({' + '.join(before)})")
    return (f"{done} → {' + '.join(step)}",)


def _joined(sums: Iterable[Words]) -> Words:
    """The terms of all sums, as many as are worth words."""
    terms = tuple(islice((term for terms in sums for term in terms), MOST_TERMS + 1))
    return terms if len(terms) <= MOST_TERMS else (*terms[: MOST_TERMS - 1], "…")


def _shortened(words: str) -> str:
    return words if len(words) <= LONGEST_WORDS else "…"
