"""The latencies of models side by side."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter_ns
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

from repvgg_onnx.checks.inputs import Specs, build_feeds
from repvgg_onnx.checks.latency.batches import shapes_with_batch, specs_with_batch
from repvgg_onnx.checks.latency.child import Done, Job
from repvgg_onnx.checks.latency.isolation import on_disk, race_isolated, run_alone, values_on_disk
from repvgg_onnx.checks.latency.memory import Footprint
from repvgg_onnx.checks.latency.racing import Run, race
from repvgg_onnx.checks.latency.results import Conditions, Latencies, Latency, ModelLatency
from repvgg_onnx.checks.options import RunKeywords, RunOptions
from repvgg_onnx.checks.session import (
    SHIPPED,
    Array,
    Loadable,
    ModelLike,
    Session,
    common_inputs,
    loadable,
    provider_parts,
)
from repvgg_onnx.checks.sizes import on_runnable_shapes
from repvgg_onnx.checks.statistics import Ratio, Samples, paired_ratio, summarize
from repvgg_onnx.errors import CheckError

if TYPE_CHECKING:
    from typing_extensions import Unpack

LEVEL = SHIPPED


@dataclass(frozen=True)
class _Measured:
    """What racing gave: latencies of each leg, and for each model what opening took and its memory."""

    legs: list[Samples]
    creation_ns: list[list[int]]
    footprints: list[Footprint | None]


@dataclass(frozen=True)
class Race:
    """How latencies are measured.

    Attributes:
        seconds: bound of the whole, opening sessions included, but for a round that has begun and the fewest rounds;
            of isolated models, of the measured part alone, and starting processes takes up to as long again.
        seed: seed of the values, of the order and of the interval.
        batch: size of axis 0 of every input; None for that of the shapes, of the inputs or of the models.
        isolate: whether every session has a process of its own.
        memory: whether the footprint of every model is measured, in a process of its own; isolated models always have
            one.
    """

    seconds: float = 5.0
    seed: int = 0
    batch: int | None = None
    isolate: bool = False
    memory: bool = False


@dataclass(frozen=True)
class _Setting:
    """How every session is opened, and what it is fed."""

    run: RunOptions
    values: Mapping[str, Array]

    def opener(self, source: Loadable) -> Callable[[], Session]:
        return partial(self.run.open, source, LEVEL)

    def job(self, model: str, values: Mapping[str, str]) -> Job:
        libraries = tuple(os.path.abspath(library) for library in self.run.custom_ops)
        return Job(model, values, LEVEL, *provider_parts(self.run.provider), self.run.threads, libraries, samples=0)


def benchmark(
    before: ModelLike, after: ModelLike, *, seconds: float = 5.0, seed: int = 0, **options: "Unpack[RunKeywords]"
) -> Latency:
    """Latencies of two models in one process under ORT_ENABLE_ALL, and what their ratio is.

    Both run in pairs, in random order within each, in up to twenty legs with fresh sessions and a warm-up; from six on
    they end where the interval of the ratio is within 1.5 % of it. Six pairs are always run, the fewest that a 95 %
    interval of a median can rest on.

    Args:
        before: path, bytes or ModelProto of the model to compare with.
        after: the model of interest.
        seconds: bound of the whole, opening sessions included, but for a round that has begun and the fewest pairs.
        seed: seed of the values, of the order and of the interval.
        **options: the fields of RunOptions: ``shapes``, ``inputs``, of which the first batch is used, ``ranges``,
            ``provider``, ``threads``, which is 1 by default, ``custom_ops``.

    Raises:
        CheckError: the models take different inputs, ``shapes``, ``inputs`` or ``ranges`` do not fit them, the provider
            is not available, ``seconds`` is not positive, or a model cannot be run.
        ModelError: onnxruntime cannot load one of the models.
    """
    return measure((before, after), Race(seconds, seed), RunOptions(**_on_one_thread(options))).latency()


def benchmark_models(
    models: Sequence[ModelLike],
    *,
    seconds: float = 5.0,
    seed: int = 0,
    batch: int | None = None,
    isolate: bool = False,
    memory: bool = False,
    **options: "Unpack[RunKeywords]",
) -> Latencies:
    """Latencies of one or more models under ORT_ENABLE_ALL, and their ratios to the first one's.

    Like ``benchmark``, with every model run once in each round; or, isolated, with a fresh process for every model in
    every leg, of which there are at least six.

    Args:
        models: path, bytes or ModelProto of each; ratios refer to the first.
        seconds: a field of Race, like the next four.
        seed: seed of the values, of the order and of the interval.
        batch: size of axis 0 of every input.
        isolate: whether every session has a process of its own.
        memory: whether the footprint of every model is measured.
        **options: the fields of RunOptions; ``threads`` is 1 by default.

    Raises:
        CheckError: there are no models; ``batch`` does not fit an input whose axis 0 is fixed; a process ended before
            it was done; the models take different inputs, or an option does not fit them.
        ModelError: onnxruntime cannot load one of the models.
    """
    return measure(models, Race(seconds, seed, batch, isolate, memory), RunOptions(**_on_one_thread(options)))


def _on_one_thread(options: RunKeywords) -> RunKeywords:
    return {"threads": 1, **options}


def measure(models: Sequence[ModelLike], how: Race, run: RunOptions) -> Latencies:
    """``benchmark_models`` with its options as values."""
    if not models:
        raise CheckError("give at least one model to measure")
    if not how.seconds > 0:
        raise CheckError(f"{how.seconds} is not a number of seconds to measure for")
    return on_runnable_shapes(partial(_raced, models, how), models[0], run)


def _raced(models: Sequence[ModelLike], how: Race, run: RunOptions) -> Latencies:
    started = perf_counter_ns()
    seeds = (how.seed,) if run.inputs is None else ()
    shapes = shapes_with_batch(run.shapes or {}, how.batch)
    feed = partial(build_feeds, shapes=shapes, inputs=run.inputs, ranges=run.ranges, seeds=seeds)
    with ExitStack() as stack:
        sources = [stack.enter_context(loadable(model)) for model in models]
        setting = _Setting(run, {})
        values = _values([setting.opener(source)() for source in sources], lambda it: feed(it)[0].values, how.batch)
        setting = replace(setting, values=values)
        left = max(how.seconds - (perf_counter_ns() - started) / 1e9, 0.0)
        if how.isolate:
            measured = _isolated(sources, setting, how.seconds, how.seed)
        else:
            measured = _together(sources, setting, left, how.seed)
        if how.memory and not how.isolate:
            measured = replace(
                measured, footprints=[run_alone(job).footprint for job in _jobs(sources, setting, stack)]
            )
    return _judged(measured, setting, how.seed, isolated=how.isolate)


def require_batches(models: Sequence[ModelLike], batches: Sequence[int], run: RunOptions) -> None:
    """The models take every one of the batches, as far as what they declare tells.

    Raises:
        CheckError: axis 0 of an input is fixed at another size, or the provider is not available.
        ModelError: onnxruntime cannot load one of the models.
    """
    setting = _Setting(run, {})
    with ExitStack() as stack:
        sources = [stack.enter_context(loadable(model)) for model in models]
        specs = common_inputs(*(setting.opener(source)() for source in sources))
    for batch in batches:
        specs_with_batch(specs, batch)


def _values(
    sessions: Sequence[Session], feed: Callable[[Specs], dict[str, Array]], batch: int | None
) -> dict[str, Array]:
    """What every run is fed; the sessions are run on it once, so that what cannot run fails with a sentence."""
    values = feed(specs_with_batch(common_inputs(*sessions), batch))
    for session in sessions:
        session.run(values)
    return values


def _together(sources: Sequence[Loadable], setting: _Setting, seconds: float, seed: int) -> _Measured:
    """All models interleaved in this process."""
    creation_ns: list[list[int]] = [[] for _ in sources]
    makers = [
        partial(_ready, setting.opener(source), setting.values, times)
        for source, times in zip(sources, creation_ns, strict=True)
    ]
    legs = race(makers, seconds=seconds, seed=seed)
    # Sessions that were opened when the time ran out were never timed.
    return _Measured(legs, [times[: len(legs)] for times in creation_ns], [None] * len(sources))


def _ready(opener: Callable[[], Session], values: Mapping[str, Array], creation_ns: list[int]) -> Run:
    """The call to time; what opening its session took is added to ``creation_ns``."""
    started = perf_counter_ns()
    session = opener()
    creation_ns.append(perf_counter_ns() - started)
    return session.prepare(values)


def _isolated(sources: Sequence[Loadable], setting: _Setting, seconds: float, seed: int) -> _Measured:
    """Every model in processes of its own."""
    with ExitStack() as stack:
        legs, answers = race_isolated(_jobs(sources, setting, stack), seconds=seconds, seed=seed)
    of_models: list[list[Done]] = [list(done) for done in zip(*answers, strict=True)]
    creation_ns = [[done.creation_ns for done in of_model] for of_model in of_models]
    return _Measured(legs, creation_ns, [_median_footprint(of_model) for of_model in of_models])


def _median_footprint(answers: Sequence[Done]) -> Footprint | None:
    """Memory of the process that lies in the middle; allocators and caches make them differ."""
    known = [done.footprint for done in answers if done.footprint is not None]
    return sorted(known, key=lambda footprint: footprint.added_bytes)[len(known) // 2] if known else None


def _jobs(sources: Sequence[Loadable], setting: _Setting, stack: ExitStack) -> list[Job]:
    """What to do for each model in a process of its own; the files for it live as long as the stack."""
    values = stack.enter_context(values_on_disk(setting.values))
    return [setting.job(stack.enter_context(on_disk(source)), values) for source in sources]


def _judged(measured: _Measured, setting: _Setting, seed: int, *, isolated: bool) -> Latencies:
    legs = measured.legs
    shapes = {name: value.shape for name, value in setting.values.items()}
    seconds = sum(float(leg.sum()) for leg in legs) / 1e9
    provider, options = provider_parts(setting.run.provider)
    version = onnxruntime.__version__
    conditions = Conditions(
        version, provider, LEVEL, setting.run.threads, shapes, len(legs), seconds, options, isolated=isolated
    )
    models = []
    for index, creation_ns in enumerate(measured.creation_ns):
        timing = summarize(np.concatenate(legs)[:, index])
        ratio = paired_ratio(legs, second=index, seed=seed) if index else Ratio(1.0, 1.0, 1.0)
        throughput = conditions.batch * 1e9 / timing.median_ns
        models.append(ModelLatency(timing, throughput, ratio, tuple(creation_ns), measured.footprints[index]))
    return Latencies(tuple(models), legs, conditions)
