"""Do two classifiers choose the same classes, and how often are they right?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from repvgg_onnx.checks.precision import FLOATS
from repvgg_onnx.checks.session import Array

TOP = 5
"""How many classes the wider accuracy looks at."""


@dataclass(frozen=True)
class Accuracy:
    """How often one model is right.

    Attributes:
        rows: rows whose class is known.
        top1: rows where that class has the highest score.
        top5: rows where it is among the five highest.
    """

    rows: int = 0
    top1: int = 0
    top5: int = 0

    def __add__(self, other: Accuracy) -> Accuracy:
        return Accuracy(self.rows + other.rows, self.top1 + other.top1, self.top5 + other.top5)


@dataclass(frozen=True)
class Agreement:
    """How the classes that two models choose compare, by one output that looks like logits.

    Attributes:
        output: tensor name.
        rows: rows of scores that were compared.
        same: rows for which both models have the same class on top.
        before: how often the first model is right; of no rows where no labels are known.
        after: the same of the second.
    """

    output: str
    rows: int
    same: int
    before: Accuracy
    after: Accuracy

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.output,
            self.rows + other.rows,
            self.same + other.same,
            self.before + other.before,
            self.after + other.after,
        )


def agreement_of(output: str, before: Any, after: Any, labels: Array | None = None) -> Agreement | None:
    """Agreement on one run; None where the values do not look like logits.

    Logits are floating-point scores of two or more classes for each row: (rows, classes). Of equal scores the class
    with the lower number counts as the higher; a score that is NaN is never right.

    Args:
        output: tensor name.
        before: the first model's value.
        after: the second model's.
        labels: the class of each row; not used where their number is not that of the rows.
    """
    if not (_look_like_logits(before) and _look_like_logits(after)) or before.shape != after.shape:
        return None
    ours, theirs = before.astype(np.float64), after.astype(np.float64)
    same = int(np.count_nonzero(ours.argmax(axis=1) == theirs.argmax(axis=1)))
    known = labels if labels is not None and len(labels) == len(ours) else None
    return Agreement(output, len(ours), same, _accuracy(ours, known), _accuracy(theirs, known))


def total(found: Iterable[Agreement]) -> tuple[Agreement, ...]:
    """One agreement for each output, over all runs."""
    by_output: dict[str, list[Agreement]] = {}
    for agreement in found:
        by_output.setdefault(agreement.output, []).append(agreement)
    return tuple(reduce(Agreement.__add__, group) for group in by_output.values())


def _look_like_logits(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.name in FLOATS and value.ndim == 2 and value.shape[1] >= 2


def _accuracy(scores: Array, labels: Array | None) -> Accuracy:
    if labels is None:
        return Accuracy()
    ranks = _ranks(scores, labels)
    return Accuracy(len(labels), int(np.count_nonzero(ranks < 1)), int(np.count_nonzero(ranks < TOP)))


def _ranks(scores: Array, labels: Array) -> Array:
    """How many classes stand above each row's own; all of them where it has no score."""
    classes = scores.shape[1]
    exists = (labels >= 0) & (labels < classes)
    chosen = np.where(exists, labels, 0).astype(np.intp)
    own = np.take_along_axis(scores, chosen[:, np.newaxis], axis=1)
    ties = (scores == own) & (np.arange(classes) < chosen[:, np.newaxis])
    above = np.count_nonzero((scores > own) | ties, axis=1)
    ranks: Array = np.where(exists & ~np.isnan(own[:, 0]), above, max(classes, TOP))
    return ranks
