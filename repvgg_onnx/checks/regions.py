"""Does each rewritten piece of a model compute what the model did there, on the values that really arrive?

The original runs once with the pieces' roots and sinks among its outputs. Each piece then runs on the recorded root,
and its result is held against the recorded sink: element by element under an a-priori bound on rounding errors, and
altogether under the tolerance of the model's type.
"""

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx

from repvgg_onnx.checks.datasets import InputsLike
from repvgg_onnx.checks.inputs import Feed, Ranges, Shapes, build_feeds
from repvgg_onnx.checks.parity import normalized_error
from repvgg_onnx.checks.precision import UNIT_ROUNDOFF, tolerance_of
from repvgg_onnx.checks.session import CPU, Array, ProviderLike, Session, loadable, open_session
from repvgg_onnx.stages import timed

LEVEL = "ORT_DISABLE_ALL"
AT_ONCE = 16  # pieces whose roots and sinks are kept in memory together


@dataclass(frozen=True, eq=False)
class Piece:
    """A rewritten part of a model.

    Attributes:
        name: of the node that stands for it.
        root: tensor of the original that it reads.
        sink: tensor of the original that it computes.
        model: from the root to the sink.
        majorant: the same with absolute values in float32, from ``|root|`` to what rounding errors are proportional
            to; None where it is not known.
        roundings: how many rounding errors a result can have gathered, in the original and in the piece together.
    """

    name: str
    root: str
    sink: str
    model: onnx.ModelProto
    majorant: onnx.ModelProto | None
    roundings: int


@dataclass(frozen=True)
class RegionParity:
    """How one piece compares with the original, worst over the feeds.

    Attributes:
        name: of the node that stands for it.
        sink: tensor that was compared.
        error: normalized error.
        bound: a-priori bound on the error, normalized alike; infinite where there is none.
        used: largest share of its bound that an element's error takes; 0 where there is no bound.
        tolerance: largest normalized error that passes.
        feed: label of the feed with the worst error.
    """

    name: str
    sink: str
    error: float
    bound: float
    used: float
    tolerance: float
    feed: str

    @property
    def passed(self) -> bool:
        """Whether every element is within its bound and the whole within the tolerance."""
        return self.error <= self.tolerance and self.used <= 1.0


@timed("check")
def check_regions(
    before: onnx.ModelProto,
    pieces: Sequence[Piece],
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    ranges: Ranges | None = None,
    seeds: Sequence[int] = (0,),
    provider: ProviderLike = CPU,
    threads: int = 0,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
) -> tuple[RegionParity, ...]:
    """Comparison of every piece with the original at ORT_DISABLE_ALL, in the order of the pieces.

    Args:
        before: the original, whose tensors the pieces' roots and sinks are.
        pieces: parts of the rewritten model.
        shapes: input name to shape, for dynamic axes.
        inputs: further values to feed, as for verify().
        ranges: smallest and largest values of inputs that are drawn, as for verify().
        seeds: one standard-normal feed each.
        provider: onnxruntime execution provider, or its name and its options.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        custom_ops: as for verify().

    Raises:
        CheckError: ``shapes`` or ``inputs`` do not fit the model, or the original cannot be run on a feed.
        ModelError: onnxruntime cannot load the original or a piece.
    """
    found: list[RegionParity] = []
    for start in range(0, len(pieces), AT_ONCE):
        some = pieces[start : start + AT_ONCE]
        exposed = _with_outputs(before, [name for piece in some for name in (piece.root, piece.sink)])
        with loadable(exposed) as source:
            tolerance, _ = tolerance_of(source)
            session = open_session(source, level=LEVEL, provider=provider, threads=threads, custom_ops=custom_ops)
            feeds = build_feeds(session.inputs, shapes=shapes, inputs=inputs, ranges=ranges, seeds=seeds)
            recorded = [(feed, _record(session, feed)) for feed in feeds]
        found += [_compare(piece, recorded, tolerance, provider, threads) for piece in some]
    return tuple(found)


def _with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with these tensors among its outputs."""
    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    given = {value.name for value in (*exposed.graph.output, *exposed.graph.input)}
    for name in dict.fromkeys(names):
        if name not in given:
            exposed.graph.output.add(name=name)
    return exposed


def _record(session: Session, feed: Feed) -> Mapping[str, Array]:
    """Everything that is an output now, and the inputs themselves."""
    return {**feed.values, **session.run(feed.values)}


def _compare(
    piece: Piece,
    recorded: Sequence[tuple[Feed, Mapping[str, Array]]],
    tolerance: float,
    provider: ProviderLike,
    threads: int,
) -> RegionParity:
    with loadable(piece.model) as source:
        session = open_session(source, level=LEVEL, provider=provider, threads=threads)
        results = [session.run({piece.root: values[piece.root]})[piece.sink] for _, values in recorded]
    bounds = list(_bounds(piece, [values[piece.root] for _, values in recorded], threads))
    worst: RegionParity | None = None
    for (feed, values), result, bound in zip(recorded, results, bounds, strict=True):
        parity = _judged(piece, values[piece.sink], result, bound, tolerance, feed.label)
        if worst is None or (parity.passed, -parity.error) < (worst.passed, -worst.error):
            worst = parity
    assert worst is not None  # there is at least one feed
    return worst


def _bounds(piece: Piece, roots: Sequence[Array], threads: int) -> Iterator[Array | None]:
    """For each recorded root a bound on the error of each element of the sink; None where there is none.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1: n roundings change a sum by at most
        n·u / (1 − n·u) times the sum of the absolute values of its terms.
    """
    unit = piece.roundings * UNIT_ROUNDOFF.get(roots[0].dtype.name, 1.0)
    if piece.majorant is None or unit >= 1.0:
        yield from [None] * len(roots)
        return
    with loadable(piece.majorant) as source:
        session = open_session(source, level=LEVEL, threads=threads)
        for root in roots:
            magnitude = np.abs(root.astype(np.float32))
            yield session.run({piece.root: magnitude})[piece.sink].astype(np.float64) * (unit / (1.0 - unit))


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
