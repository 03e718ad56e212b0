"""The model that is right, run on every feed, and how far it differs from itself.

A network in floating point does not determine its outputs better than its own rounding noise, which on published
networks is anywhere from 1e-7 to 1. What the noise is shows when the same model runs in another order of summation, at
another optimization level of onnxruntime, and when its inputs move by one unit in the last place.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from repvgg_onnx.checks.comparison import compare_values, is_finite
from repvgg_onnx.checks.exposure import parsed, with_outputs
from repvgg_onnx.checks.inputs import Feed, Specs
from repvgg_onnx.checks.kinds import Kind, kinds_of
from repvgg_onnx.checks.options import CheckOptions
from repvgg_onnx.checks.pictures import whites_of
from repvgg_onnx.checks.precision import FLOATS, UNIT_ROUNDOFF, least_precise
from repvgg_onnx.checks.session import PLAIN, SHIPPED, Array, Loadable, ModelLike, Session, merged_inputs

OF_NOISE = 8.0
"""How many times a model's own noise an error may be. Measured on 14 networks whose noise is 1e-7 to 1, the error of a
right fold is 0.6 to 2.6 times it."""
LOUD = 1e-3
"""A feed on which an output's own noise is above this, and above the tolerance, decides nothing about the output."""
PATTERNS = (11, 12)
"""Seeds of the two sign patterns in which inputs are moved."""


@dataclass(eq=False)
class Reference:
    """A model and what it gives on its feeds, which is kept, so that any number of others can be judged by it.

    Attributes:
        model: as it was given.
        source: the same for onnxruntime.
        conditions: what it is run with.
        feeds: what it is fed.
        kinds: what is known of its tensors from their operators.
        coarse: the least precise floating-point type in it, whose units inputs are moved by; None without any.
    """

    model: ModelLike
    source: Loadable
    conditions: CheckOptions
    feeds: tuple[Feed, ...]
    kinds: Mapping[str, Kind]
    coarse: str | None
    _own: frozenset[str]
    _exposed: frozenset[str]
    _sessions: dict[str, Session]
    _outputs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _noise: dict[int, dict[str, float]] = field(default_factory=dict)
    _moves: dict[tuple[int, int], dict[str, float]] = field(default_factory=dict)

    def outputs(self, level: str) -> Sequence[Mapping[str, Any]]:
        """What the model gives at an optimization level, one entry a feed; it is run once.

        Raises:
            ModelError: onnxruntime cannot load the model.
            CheckError: it cannot be run on a feed.
        """
        if level not in self._outputs:
            session = self._session(level)
            own = [name for name in session.outputs if name in self._own]
            self._outputs[level] = [session.run(feed.values, own) for feed in self.feeds]
        return self._outputs[level]

    def noise(self, index: int) -> Mapping[str, float]:
        """How far each output differs from itself on a feed, measured as errors are; infinite if in where it is finite.

        Measured when it is asked for, since it takes two more runs.

        Args:
            index: of the feed.
        """
        if index not in self._noise:
            self._noise[index] = self._noise_on(index)
        return self._noise[index]

    def noise_of_moves(self, index: int, units: int) -> Mapping[str, float]:
        """How far each output differs from itself where the inputs move by several units in the last place."""
        if (index, units) not in self._moves:
            self._moves[index, units] = self._moved(self._session(SHIPPED), SHIPPED, index, units)
        return self._moves[index, units]

    def distance(self, name: str, one: Any, two: Any) -> float:
        """The error of one value of a tensor against another."""
        return compare_values(one, two, self.scale(name)).error

    def scale(self, name: str) -> float | None:
        """What errors of a tensor are measured against: the range that it lies in; None for its largest value."""
        return self.kinds[name].range if name in self.kinds else None

    def jumps(self, name: str) -> bool:
        """Whether a tensor can change by a step."""
        return name in self.kinds and self.kinds[name].jumps

    def inner(self, feed: Feed, names: Sequence[str]) -> dict[str, Array]:
        """Values of tensors inside on a feed at ORT_DISABLE_ALL, those that are inputs of the model among them."""
        made = [name for name in names if name not in feed.values]
        missing = set(made) - self._exposed - self._own
        if missing or PLAIN not in self._sessions:
            self._exposed |= missing
            self._sessions[PLAIN] = self.conditions.open(with_outputs(self.source, sorted(self._exposed)), PLAIN)
        return {**feed.values, **self._session(PLAIN).run(feed.values, made)}

    def release(self, level: str) -> None:
        """Closes the session at a level, after the outputs are known; it is opened again if anything else is asked."""
        self.outputs(level)
        self._sessions.pop(level, None)

    def _session(self, level: str) -> Session:
        if level not in self._sessions:
            self._sessions[level] = self.conditions.open(self.source, level)
        return self._sessions[level]

    def _noise_on(self, index: int) -> dict[str, float]:
        """The largest of three differences; where a level is not finite, what the other one says."""
        plain, shipped = self.outputs(PLAIN)[index], self.outputs(SHIPPED)[index]
        noise = self._moved(self._session(SHIPPED), SHIPPED, index, 1)
        infinite = [name for name in shipped if not is_finite(shipped[name]) and is_finite(plain[name])]
        if infinite:
            moved = self._moved(self._session(PLAIN), PLAIN, index, 1)
            noise |= {name: moved[name] for name in infinite}
        for name in shipped.keys() - infinite:
            if is_finite(plain[name]) or not is_finite(shipped[name]):
                noise[name] = max(noise[name], self.distance(name, plain[name], shipped[name]))
        return noise

    def _moved(self, session: Session, level: str, index: int, units: int) -> dict[str, float]:
        """The largest difference that moving the inputs makes, for each output."""
        feed, still = self.feeds[index], self._outputs[level][index]
        worst = dict.fromkeys(still, 0.0)
        for seed in PATTERNS:
            moved = session.run(moved_by(feed.values, seed, units, self.coarse), list(still))
            worst = {name: max(worst[name], self.distance(name, still[name], moved[name])) for name in still}
        return worst


def reference(
    model: ModelLike,
    source: Loadable,
    conditions: CheckOptions,
    *,
    others: Sequence[Specs] = (),
    exposed: Sequence[str] = (),
) -> Reference:
    """A model ready to be run on its feeds.

    Args:
        model: the model.
        source: the same for onnxruntime.
        conditions: what it is run with.
        others: inputs that other models take, which fix axes.
        exposed: tensors inside that will be looked at; the source is what ``loadable`` makes of a ModelProto then.

    Raises:
        CheckError: the models take different inputs, or the conditions do not fit them.
        ModelError: onnxruntime cannot load the model.
    """
    proto = parsed(model)
    own = frozenset(value.name for value in proto.graph.output)
    inner = frozenset(exposed) - own - {value.name for value in proto.graph.input}
    plain = conditions.open(with_outputs(source, sorted(inner)) if inner else source, PLAIN)
    folder = "" if isinstance(source, bytes) else os.path.dirname(source)
    feeds = conditions.feeds(merged_inputs(plain.inputs, *others), whites_of(proto, folder))
    return Reference(
        model, source, conditions, feeds, kinds_of(proto.graph), least_precise(proto), own, inner, {PLAIN: plain}
    )


def few(feeds: Sequence[Feed]) -> tuple[Feed, ...]:
    """A feed of each sort: normal, border, picture, and the user's."""
    sorts: dict[str, Feed] = {}
    for feed in feeds:
        sorts.setdefault("given" if feed.given else feed.label.split(" ")[0], feed)
    return tuple(sorts.values())


def moved_by(values: Mapping[str, Array], seed: int, units: int, coarse: str | None = None) -> dict[str, Array]:
    """The values with every floating-point number moved by some units in the last place, up or down at random.

    Zeros stay, since what is next to zero is not a rounding of it.

    Args:
        values: input name to array.
        seed: of the signs.
        units: how many.
        coarse: a type whose units are taken for those that are more precise: where a model computes in float16, a unit
            of float32 in its input is rounded away.
    """
    rng = np.random.default_rng(seed)
    return {name: _moved_array(array, rng, units, coarse) for name, array in values.items()}


def _moved_array(array: Array, rng: np.random.Generator, units: int, coarse: str | None) -> Array:
    if array.dtype.name not in FLOATS:
        return array
    units *= max(int(UNIT_ROUNDOFF[coarse or array.dtype.name] / UNIT_ROUNDOFF[array.dtype.name]), 1)
    words = array.view(f"i{array.dtype.itemsize}")
    # The numbers of one sign are in the order of their words, so that a step of a word is a step of the number.
    steps = units * (2 * rng.integers(0, 2, array.shape, dtype=np.int8) - 1).astype(words.dtype)
    moved: Array = np.asarray(words + steps, words.dtype).view(array.dtype)  # numpy 1 widens scalars
    with np.errstate(all="ignore"):
        usual = np.isfinite(array) & np.isfinite(moved) & (np.abs(array) >= np.finfo(np.float32).tiny)
    return np.where(usual, moved, array)
