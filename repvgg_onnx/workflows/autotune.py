"""fuse() with every doubtful fold measured: the faster form is kept, and the result is not slower than the input."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import onnx

from repvgg_onnx.checks.inputs import Shapes
from repvgg_onnx.checks.latency import Latency, Race, measure
from repvgg_onnx.checks.options import CheckOptions, RunKeywords
from repvgg_onnx.checks.sizes import on_runnable_shapes
from repvgg_onnx.compiler.decisions import UNDECIDED, Decisions, Doubt
from repvgg_onnx.compiler.fuse import Fusion, Prepared, compiled, prepare
from repvgg_onnx.compiler.options import CompileKeywords, CompileOptions
from repvgg_onnx.compiler.results import Region
from repvgg_onnx.errors import CheckError
from repvgg_onnx.graph.cut import Cutter
from repvgg_onnx.graph.link import view_model
from repvgg_onnx.graph.load import ModelLike, Source
from repvgg_onnx.workflows.request import Request
from repvgg_onnx.workflows.trials import Trial, isolate, without_doubtful

if TYPE_CHECKING:
    from typing_extensions import Unpack

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


class TuneKeywords(CompileKeywords, RunKeywords, total=False):
    """The fields of CompileOptions and of RunOptions as keyword arguments."""


def autotune(
    model: ModelLike, *, seconds: float = DEFAULT_SECONDS, seed: int = 0, **options: "Unpack[TuneKeywords]"
) -> Tuning:
    """fuse(), with what is doubtful measured under the conditions that the model is to run under.

    A fold is doubtful if it composes kernels, or if its kernel has more weights than each of those it replaces; and so
    is an exact region that the cost rule turned down. Both forms run on random values in the shapes that arrive there.
    What the cost rule wants is dropped only if it is surely slower, and what it turned down is taken only if it is
    surely faster. In the end the whole model is compared with the input; if it is surely slower, everything doubtful is
    given back, and if it still is, the input is kept.

    Args:
        model: a path, the bytes of a file, or a model.
        seconds: bound of the measured time. Regions that differ in names and weights only are measured once.
        seed: seed of the values, of the order and of the intervals.
        **options: the fields of CompileOptions and of RunOptions; ``shapes`` are those of both, ``inputs`` and
            ``ranges`` are for the whole model, and ``threads`` is 1 by default.

    Raises:
        ModelError: the model cannot be read, is not valid, or onnxruntime cannot load it.
        CheckError: ``shapes``, ``inputs`` or ``ranges`` do not fit the model, it cannot be run, the provider is not
            available, or ``seconds`` is not positive.
    """
    return tuned(Request.of(model, {"threads": 1, **options}), Race(seconds, seed))


def tuned(request: Request, race: Race) -> Tuning:
    """``autotune`` of a request; what it returns and raises are the same."""
    if not race.seconds > 0:
        raise CheckError(f"{race.seconds} is not a number of seconds to measure for")

    def on(running: CheckOptions) -> Tuning:
        wanted = request.on(running.shapes or {})
        setting = _Setting(wanted, wanted.prepared(), race.seed, _Budget(race.seconds))
        return _settled(setting, *_judged(setting))

    return on_runnable_shapes(on, request.source.origin, request.running)


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
        request: what was asked for.
        prepared: the model that every result has to equal.
        seed: of the races.
        budget: the time there is.
    """

    request: Request
    prepared: Prepared
    seed: int
    budget: _Budget

    def compile(self, decisions: Decisions) -> Fusion:
        """The model compiled."""
        return compiled(self.prepared, decisions, {})

    def compile_part(self, part: onnx.ModelProto, shapes: Shapes, decisions: Decisions) -> Fusion:
        """A part of it compiled, which has been checked with the whole and takes nothing for granted any more."""
        options = CompileOptions(shapes, max_constant_mb=self.prepared.options.max_constant_mb)
        return compiled(prepare(Source(part), options), decisions, {})

    def race(self, kept: onnx.ModelProto, folded: onnx.ModelProto, *, shapes: Shapes, seconds: float) -> Latency:
        """Two forms of a part compared, on values that are drawn."""
        running = replace(self.request.running, shapes=shapes, inputs=None, ranges=None)
        return measure((kept, folded), Race(seconds, self.seed), running).latency()

    def race_whole(self, fused: onnx.ModelProto, *, seconds: float) -> Latency:
        """A result compared with the model."""
        return measure((self.prepared.model, fused), Race(seconds, self.seed), self.request.running).latency()


def _judged(setting: _Setting) -> tuple[Decisions, list[Judgement]]:
    """Every doubt decided; what turns up because of a decision too."""
    flat = setting.prepared.flat
    view, cutter = view_model(flat, setting.prepared.skeletons), Cutter(flat)
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
