"""Does each rewritten piece of a model compute what the model did there, on the values that really arrive?

The original runs once with the pieces' roots and sinks among its outputs. Each piece then runs on the recorded root,
and its result is held against the recorded sink: element by element under an a-priori bound on rounding errors, and
altogether under the tolerance of the model's type.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from repvgg_onnx.checks.comparison import normalized_error
from repvgg_onnx.checks.exposure import parsed
from repvgg_onnx.checks.inputs import Feed
from repvgg_onnx.checks.options import CheckOptions
from repvgg_onnx.checks.precision import UNIT_ROUNDOFF, tolerance_of
from repvgg_onnx.checks.reference import OF_NOISE, PATTERNS, Reference, few, moved_by
from repvgg_onnx.checks.session import CPU, PLAIN, SHIPPED, Array, loadable
from repvgg_onnx.errors import LoadError, RunError

AT_ONCE = 16  # pieces whose roots and sinks are kept in memory together


@dataclass(frozen=True, eq=False)
class Piece:
    """A rewritten part of a model.

    Attributes:
        name: of the node that stands for it.
        roots: tensors of the original that it reads.
        sink: tensor of the original that it computes.
        model: from the root to the sink.
        majorant: the same with absolute values in float32, from ``|root|`` to what rounding errors are proportional
            to; None where it is not known.
        roundings: how many rounding errors a result can have gathered, in the original and in the piece together.
        original: makes the same part of the original.
    """

    name: str
    roots: tuple[str, ...]
    sink: str
    model: onnx.ModelProto
    majorant: onnx.ModelProto | None
    roundings: int
    original: Callable[[], onnx.ModelProto]


@dataclass(frozen=True)
class RegionParity:
    """How one piece compares with the original, worst over the feeds.

    Attributes:
        name: of the node that stands for it.
        sink: tensor that was compared.
        error: normalized error; infinite where it cannot be run, has another shape, or NaN in other places.
        bound: a-priori bound on the error, normalized alike; infinite where there is none.
        used: largest share of its bound that an element's error takes; 0 where there is no bound.
        tolerance: normalized error that passes whatever the noise.
        feed: label of the feed with the worst error.
        noise: how far the original differs from itself there; measured where the error is above the tolerance, 0
            elsewhere.
    """

    name: str
    sink: str
    error: float
    bound: float
    used: float
    tolerance: float
    feed: str
    noise: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether every element is within its bound, and the whole within the tolerance or a few times the noise."""
        return self.used <= 1.0 and self.error <= max(self.tolerance, OF_NOISE * self.noise)


def check_regions(known: Reference, pieces: Sequence[Piece]) -> tuple[RegionParity, ...]:
    """Comparison of every piece with the original at ORT_DISABLE_ALL, in the order of the pieces.

    Args:
        known: the original, with the pieces' roots and sinks exposed.
        pieces: parts of the rewritten model.

    Raises:
        CheckError: the original cannot be run on a feed.
        ModelError: onnxruntime cannot load the original, or a part of it.
    """
    feeds = few(known.feeds)
    tolerance, _ = tolerance_of(parsed(known.model))
    found: list[RegionParity] = []
    for start in range(0, len(pieces), AT_ONCE):
        some = pieces[start : start + AT_ONCE]
        names = list(dict.fromkeys(name for piece in some for name in (*piece.roots, piece.sink)))
        recorded = [(feed, known.inner(feed, names)) for feed in feeds]
        found += [_compare(piece, recorded, tolerance, known.conditions) for piece in some]
    return tuple(found)


def _compare(
    piece: Piece,
    recorded: Sequence[tuple[Feed, Mapping[str, Array]]],
    tolerance: float,
    conditions: CheckOptions,
) -> RegionParity:
    try:
        with loadable(piece.model) as source:
            session = conditions.open(source, PLAIN)
            read = list(session.inputs)  # the root, and inputs of the model that a shape inside is computed from
            results = [session.run({name: values[name] for name in read})[piece.sink] for _, values in recorded]
    except (LoadError, RunError):
        return RegionParity(piece.name, piece.sink, math.inf, math.inf, 0.0, tolerance, recorded[0][0].label)
    bounds = list(_bounds(piece, [values for _, values in recorded], conditions))
    worst: RegionParity | None = None
    for (feed, values), result, bound in zip(recorded, results, bounds, strict=True):
        parity = _judged(piece, values[piece.sink], result, bound, tolerance, feed.label)
        if tolerance < parity.error < math.inf and parity.used <= 1.0:
            parity = replace(parity, noise=_noise(piece, values, conditions))
        if worst is None or (parity.passed, -parity.error) < (worst.passed, -worst.error):
            worst = parity
    assert worst is not None  # there is at least one feed
    return worst


def _noise(piece: Piece, values: Mapping[str, Array], conditions: CheckOptions) -> float:
    """How far the original's part differs from itself, at another level and where its root moves by one unit."""
    with loadable(piece.original()) as source:
        session, shipped = (conditions.open(source, level) for level in (PLAIN, SHIPPED))
    given = {name: values[name] for name in session.inputs}
    others = [session.run(moved_by(given, seed, 1))[piece.sink] for seed in PATTERNS]
    others.append(shipped.run(given)[piece.sink])
    return max(normalized_error(values[piece.sink], other) for other in others)


def _bounds(piece: Piece, recorded: Sequence[Mapping[str, Array]], conditions: CheckOptions) -> Iterator[Array | None]:
    """For each recorded feed a bound on the error of each element of the sink; None where there is none.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1: n roundings change a sum by at most
        n·u / (1 − n·u) times the sum of the absolute values of its terms.
    """
    unit = piece.roundings * UNIT_ROUNDOFF.get(recorded[0][piece.roots[0]].dtype.name, 1.0)
    if piece.majorant is None or unit >= 1.0:
        yield from [None] * len(recorded)
        return
    try:
        with loadable(piece.majorant) as source:
            session = replace(conditions, provider=CPU).open(source, PLAIN)
            given = [{name: _magnitude(values[name]) for name in session.inputs} for values in recorded]
            sizes = [session.run(each)[piece.sink].astype(np.float64) for each in given]
    except (LoadError, RunError):  # then the tolerance judges
        yield from [None] * len(recorded)
        return
    yield from (size * (unit / (1.0 - unit)) for size in sizes)


def _magnitude(value: Array) -> Array:
    """Absolute values of a floating-point tensor; what is none, such as a shape, stays as it is."""
    return np.abs(value.astype(np.float32)) if value.dtype.name in UNIT_ROUNDOFF else value


def _judged(
    piece: Piece, expected: Array, result: Array, bound: Array | None, tolerance: float, label: str
) -> RegionParity:
    error = normalized_error(expected, result) if expected.shape == result.shape else math.inf
    if bound is None or not math.isfinite(error):
        return RegionParity(piece.name, piece.sink, error, math.inf, 0.0, tolerance, label)
    difference = np.abs(expected.astype(np.float64) - result.astype(np.float64))
    largest = float(np.max(np.abs(expected.astype(np.float64)), initial=0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(difference > 0, difference / bound, 0.0)
    relative = float(np.max(bound, initial=0.0)) / largest if largest > 0 else math.inf
    return RegionParity(piece.name, piece.sink, error, relative, float(np.max(shares, initial=0.0)), tolerance, label)
