"""fuse() with every doubtful fold measured: the faster form is kept, and the result is not slower than the input."""

import os
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import onnx

from repvgg_onnx.checks.datasets import InputsLike
from repvgg_onnx.checks.inputs import Ranges, Shapes
from repvgg_onnx.checks.latency import Latency, benchmark
from repvgg_onnx.checks.session import CPU, ProviderLike
from repvgg_onnx.checks.sizes import on_runnable_shapes
from repvgg_onnx.compiler.decisions import UNDECIDED, Decisions, Doubt
from repvgg_onnx.compiler.fuse import Fusion, fuse, input_shapes, prepare
from repvgg_onnx.compiler.lifters import WORTH_INLINING
from repvgg_onnx.compiler.results import Region
from repvgg_onnx.errors import CheckError
from repvgg_onnx.graph.budget import DEFAULT_MB
from repvgg_onnx.graph.cut import Cutter
from repvgg_onnx.graph.link import view_model
from repvgg_onnx.graph.load import ModelLike, load_model
from repvgg_onnx.graph.normalize import inline_functions
from repvgg_onnx.workflows.trials import Fuse, Trial, isolate, without_doubtful

DEFAULT_SECONDS = 30.0
"""Longest time to measure for; each pass over the regions and each race of the whole takes half of what is left."""

Outcome = Literal["tuned", "given-back", "input-kept"]


@dataclass(frozen=True)
class Judgement:
    """What became of one choice of the cost rule.

    Attributes:
        regions: one region, or several that are folded together or not at all.
        wanted: whether the cost rule folds them.
        folded: whether they are folded.
        latency: of the folded form, compared with the other; None where it was not measured.
        reason: why, in a few words, such as ``as measured``.
    """

    regions: tuple[Region, ...]
    wanted: bool
    folded: bool
    latency: Latency | None
    reason: str


@dataclass(frozen=True)
class Tuning:
    """What was measured, and the model that follows from it.

    Attributes:
        fusion: the model, as fuse() makes it with the decisions.
        decisions: what to give fuse() for the same model again, on any machine.
        judgements: what was in doubt, in the order of the decisions.
        races: the whole model compared with the input: as tuned, then, if that was slower, with nothing doubtful.
        outcome: ``tuned``; ``given-back`` if nothing doubtful is folded because the whole was slower with it;
            ``input-kept`` if it was slower even so, and nothing is folded.
    """

    fusion: Fusion
    decisions: Decisions
    judgements: tuple[Judgement, ...]
    races: tuple[Latency, ...] = ()
    outcome: Outcome = "tuned"


@on_runnable_shapes
def autotune(
    model: ModelLike,
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    ranges: Ranges | None = None,
    assume_inference: bool = False,
    freeze_initializers: bool = False,
    assume_placeholders: bool = False,
    outputs: Collection[str] = (),
    max_constant_mb: int = DEFAULT_MB,
    provider: ProviderLike = CPU,
    threads: int = 1,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
    seconds: float = DEFAULT_SECONDS,
    seed: int = 0,
) -> Tuning:
    """fuse(), with what is doubtful measured under the conditions that the model is to run under.

    A fold is doubtful if it composes kernels, or if its kernel has more weights than each of those it replaces; and so
    is an exact region that the cost rule turned down. Both forms run on random values in the shapes that arrive there.
    What the cost rule wants is dropped only if it is surely slower, and what it turned down is taken only if it is
    surely faster. In the end the whole model is compared with the input; if it is surely slower, everything doubtful is
    given back, and if it still is, the input is kept.

    Args:
        model: as for fuse().
        shapes: as for fuse(), and what the models are run with.
        inputs: as for benchmark(), for the whole model.
        ranges: as for benchmark(), for the whole model.
        assume_inference: as for fuse().
        freeze_initializers: as for fuse().
        assume_placeholders: as for fuse().
        outputs: as for fuse().
        max_constant_mb: as for fuse().
        provider: as for benchmark().
        threads: as for benchmark().
        custom_ops: as for benchmark().
        seconds: bound of the measured time. Regions that differ in names and weights only are measured once.
        seed: as for benchmark().

    Raises:
        ModelError: the model cannot be read, is not valid, or onnxruntime cannot load it.
        CheckError: ``shapes``, ``inputs`` or ``ranges`` do not fit the model, it cannot be run, the provider is not
            available, or ``seconds`` is not positive.
    """
    if not seconds > 0:
        raise CheckError(f"{seconds} is not a number of seconds to measure for")
    loaded = load_model(model)
    assumptions: dict[str, Any] = {
        "assume_inference": assume_inference,
        "freeze_initializers": freeze_initializers,
        "assume_placeholders": assume_placeholders,
        "outputs": outputs,
    }
    source, _ = prepare(loaded, **assumptions)
    compiled = partial(fuse, max_constant_mb=max_constant_mb)
    assumed = partial(compiled, **assumptions)
    raced = partial(benchmark, provider=provider, threads=threads, custom_ops=custom_ops, seed=seed)
    setting = _Setting(
        source,
        shapes or {},
        lambda decisions: assumed(loaded, shapes=shapes, decisions=decisions),
        lambda part, sizes, decisions: compiled(part, shapes=sizes, decisions=decisions),
        raced,
        partial(raced, source, shapes=shapes, inputs=inputs, ranges=ranges),
        _Budget(seconds),
    )
    return _settled(setting, *_judged(setting))


@dataclass
class _Budget:
    """Seconds to measure for."""

    left: float

    def half(self) -> float:
        """Half of what is left, which is gone then."""
        self.left /= 2
        return self.left


@dataclass(frozen=True)
class _Setting:
    """The model, and what can be done with it.

    Attributes:
        source: the model that every result has to equal.
        shapes: sizes of its inputs.
        compile: fuses it.
        compile_part: fuses a part of it.
        race: compares two models.
        race_whole: compares a result with the source.
        budget: the time there is.
    """

    source: onnx.ModelProto
    shapes: Shapes
    compile: Callable[[Decisions], Fusion]
    compile_part: Fuse
    race: Callable[..., Latency]
    race_whole: Callable[..., Latency]
    budget: _Budget


def _judged(setting: _Setting) -> tuple[Decisions, list[Judgement]]:
    """Every doubt decided; what turns up because of a decision too."""
    flat = inline_functions(setting.source, WORTH_INLINING)
    view, cutter = view_model(flat, input_shapes(setting.source, setting.shapes)), Cutter(flat)
    decisions = UNDECIDED
    judgements: list[Judgement] = []
    known: dict[Hashable, Latency] = {}
    while doubts := _open_doubts(fusion := setting.compile(decisions), decisions):
        fused = Cutter(fusion.model)
        trials = [isolate(view, cutter, fused, doubt, setting.compile_part, decisions) for doubt in doubts]
        _measure(setting, trials, known)
        for doubt, trial in zip(doubts, trials, strict=True):
            judgement = _judge(doubt, None if trial is None else known[trial.key])
            judgements.append(judgement)
            if trial is not None and not judgement.folded:
                decisions = decisions.also(trial.decisions.folds)
            decisions = decisions.also(doubt.decided(fold=judgement.folded))
    return decisions, judgements


def _open_doubts(fusion: Fusion, decisions: Decisions) -> list[Doubt]:
    """What is not decided, those first that the cost rule wants; of several with a common node the first one."""
    undecided = [doubt for doubt in fusion.doubts if not all(end in decisions.folds for end in doubt.ends)]
    chosen: list[Doubt] = []
    touched: set[object] = set()
    for doubt in [doubt for doubt in undecided if doubt.wanted] or undecided:
        members = {member for region in doubt.regions for member in region.members}
        if not members & touched:
            chosen.append(doubt)
            touched |= members
    return chosen


def _measure(setting: _Setting, trials: Sequence[Trial | None], known: dict[Hashable, Latency]) -> None:
    """Races what is not known yet, alike trials once, the time shared evenly."""
    new: dict[Hashable, Trial] = {}
    for trial in trials:
        if trial is not None and trial.key not in known:
            new.setdefault(trial.key, trial)
    share = setting.budget.half() / len(new) if new else 0.0
    for key, trial in new.items():
        known[key] = setting.race(trial.kept, trial.folded, shapes=trial.shapes, seconds=share)


def _judge(doubt: Doubt, latency: Latency | None) -> Judgement:
    """The choice of the cost rule, unless it is surely wrong."""
    folded = doubt.wanted
    if latency is None:
        reason = "as the cost rule says, since it cannot be measured alone"
    elif latency.verdict == "not distinguishable":
        reason = "as the cost rule says"
    else:
        folded = latency.verdict == "faster"
        reason = "as measured"
    return Judgement(doubt.regions, doubt.wanted, folded, latency, reason)


def _settled(setting: _Setting, decisions: Decisions, judgements: Sequence[Judgement]) -> Tuning:
    """The whole raced against the input, and as much taken back as it takes not to be slower."""
    races: list[Latency] = []
    for outcome, given in _ever_less(setting, decisions):
        fusion = setting.compile(given)
        if fusion.regions:
            races.append(setting.race_whole(fusion.model, seconds=setting.budget.half()))
        final = judgements if outcome == "tuned" else [_taken_back(judgement) for judgement in judgements]
        tuning = Tuning(fusion, given, tuple(final), tuple(races), outcome)
        if not fusion.regions or races[-1].verdict != "slower":
            break
    return tuning


def _ever_less(setting: _Setting, decisions: Decisions) -> Iterator[tuple[Outcome, Decisions]]:
    """The decisions, then without anything doubtful if that makes a difference, then nothing folded at all."""
    yield "tuned", decisions
    _, plain = without_doubtful(setting.compile, decisions)
    if plain != decisions:
        yield "given-back", plain
    yield "input-kept", Decisions(keep_all=True)


def _taken_back(judgement: Judgement) -> Judgement:
    if not judgement.folded:
        return judgement
    return replace(judgement, folded=False, reason="because the whole was slower with it")


def replayed(fusion: Fusion, decisions: Decisions) -> Tuning:
    """What decisions that were made elsewhere made of a model."""
    judgements = tuple(
        Judgement(doubt.regions, doubt.wanted, doubt.folded, None, "as decided before")
        for doubt in fusion.doubts
        if all(end in decisions.folds for end in doubt.ends)
    )
    return Tuning(fusion, decisions, judgements)
