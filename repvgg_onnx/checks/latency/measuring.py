"""The latencies of models side by side."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter_ns

import numpy as np
import onnxruntime

from repvgg_onnx.checks.datasets import InputsLike
from repvgg_onnx.checks.inputs import Ranges, Shapes, Specs, build_feeds
from repvgg_onnx.checks.latency.batches import shapes_with_batch, specs_with_batch
from repvgg_onnx.checks.latency.child import Done, Job
from repvgg_onnx.checks.latency.isolation import on_disk, race_isolated, run_alone, values_on_disk
from repvgg_onnx.checks.latency.memory import Footprint
from repvgg_onnx.checks.latency.racing import Run, race
from repvgg_onnx.checks.latency.results import Conditions, Latencies, Latency, ModelLatency
from repvgg_onnx.checks.session import (
    CPU,
    SHIPPED,
    Array,
    ModelLike,
    ProviderLike,
    Session,
    Source,
    common_inputs,
    loadable,
    open_session,
    provider_parts,
)
from repvgg_onnx.checks.sizes import on_runnable_shapes
from repvgg_onnx.checks.statistics import Ratio, Samples, paired_ratio, summarize
from repvgg_onnx.errors import CheckError

LEVEL = SHIPPED


@dataclass(frozen=True)
class _Measured:
    """What racing gave: latencies of each leg, and for each model what opening took and its memory."""

    legs: list[Samples]
    creation_ns: list[list[int]]
    footprints: list[Footprint | None]


@dataclass(frozen=True)
class _Setting:
    """How every session is opened, and what it is fed."""

    provider: ProviderLike
    threads: int
    custom_ops: Sequence[str | os.PathLike[str]]
    values: Mapping[str, Array]

    def opener(self, source: Source) -> Callable[[], Session]:
        return partial(
            open_session,
            source,
            level=LEVEL,
            provider=self.provider,
            threads=self.threads,
            custom_ops=self.custom_ops,
        )

    def job(self, model: str, values: Mapping[str, str]) -> Job:
        libraries = tuple(os.path.abspath(library) for library in self.custom_ops)
        return Job(model, values, LEVEL, *provider_parts(self.provider), self.threads, libraries, samples=0)


def benchmark(
    before: ModelLike,
    after: ModelLike,
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    ranges: Ranges | None = None,
    threads: int = 1,
    provider: ProviderLike = CPU,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
    seconds: float = 5.0,
    seed: int = 0,
) -> Latency:
    """Latencies of two models in one process under ORT_ENABLE_ALL, and what their ratio is.

    Both run in pairs, in random order within each, in up to twenty legs with fresh sessions and a warm-up; from six on
    they end where the interval of the ratio is within 1.5 % of it. Six pairs are always run, the fewest that a 95 %
    interval of a median can rest on.

    Args:
        before: path, bytes or ModelProto of the model to compare with.
        after: the model of interest.
        shapes: input name to shape, for dynamic axes.
        inputs: as for ``verify``; the first batch is used. Drawn by default.
        ranges: as for ``verify``.
        threads: threads inside an operator; 0 lets onnxruntime decide.
        provider: onnxruntime execution provider, or its name and its options.
        custom_ops: as for ``verify``.
        seconds: bound of the whole, opening sessions included, but for a round that has begun and the fewest pairs.
        seed: seed of the values, of the order and of the interval.

    Raises:
        CheckError: the models take different inputs, ``shapes``, ``inputs`` or ``ranges`` do not fit them, the provider
            is not available, ``seconds`` is not positive, or a model cannot be run.
        ModelError: onnxruntime cannot load one of the models.
    """
    return benchmark_models(
        (before, after),
        shapes=shapes,
        inputs=inputs,
        ranges=ranges,
        threads=threads,
        provider=provider,
        custom_ops=custom_ops,
        seconds=seconds,
        seed=seed,
    ).latency()


@on_runnable_shapes
def benchmark_models(
    models: Sequence[ModelLike],
    *,
    shapes: Shapes | None = None,
    inputs: InputsLike | None = None,
    ranges: Ranges | None = None,
    batch: int | None = None,
    threads: int = 1,
    provider: ProviderLike = CPU,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
    seconds: float = 5.0,
    seed: int = 0,
    isolate: bool = False,
    memory: bool = False,
) -> Latencies:
    """Latencies of one or more models under ORT_ENABLE_ALL, and their ratios to the first one's.

    As ``benchmark``, with every model run once in each round; or, isolated, with a fresh process for every model in
    every leg, of which there are at least six.

    Args:
        models: path, bytes or ModelProto of each; ratios refer to the first.
        shapes: as for ``benchmark``.
        inputs: as for ``benchmark``.
        ranges: as for ``benchmark``.
        batch: size of axis 0 of every input; by default that of ``shapes``, of ``inputs`` or of the models.
        threads: as for ``benchmark``.
        provider: as for ``benchmark``.
        custom_ops: as for ``benchmark``.
        seconds: bound of the whole, opening sessions included, but for a round that has begun and the fewest rounds;
            of isolated models, of the measured part alone, and starting processes takes up to as long again.
        seed: as for ``benchmark``.
        isolate: whether every session has a process of its own.
        memory: whether the footprint of every model is measured, in a process of its own; isolated models always have
            one.

    Raises:
        CheckError: as for ``benchmark``; there are no models; ``batch`` does not fit an input whose axis 0 is fixed; or
            a process ended before it was done.
        ModelError: onnxruntime cannot load one of the models.
    """
    if not models:
        raise CheckError("give at least one model to measure")
    if not seconds > 0:
        raise CheckError(f"{seconds} is not a number of seconds to measure for")
    started = perf_counter_ns()
    seeds = (seed,) if inputs is None else ()
    shapes = shapes_with_batch(shapes or {}, batch)
    feed = partial(build_feeds, shapes=shapes, inputs=inputs, ranges=ranges, seeds=seeds)
    with ExitStack() as stack:
        sources = [stack.enter_context(loadable(model)) for model in models]
        setting = _Setting(provider, threads, custom_ops, {})
        values = _values([setting.opener(source)() for source in sources], lambda it: feed(it)[0].values, batch)
        setting = replace(setting, values=values)
        left = max(seconds - (perf_counter_ns() - started) / 1e9, 0.0)
        measured = _isolated(sources, setting, seconds, seed) if isolate else _together(sources, setting, left, seed)
        if memory and not isolate:
            measured = replace(measured, footprints=_footprints(sources, setting))
    return _judged(measured, setting, seed, isolated=isolate)


def require_batches(
    models: Sequence[ModelLike],
    batches: Sequence[int],
    *,
    provider: ProviderLike = CPU,
    custom_ops: Sequence[str | os.PathLike[str]] = (),
) -> None:
    """The models take every one of the batches, as far as what they declare tells.

    Raises:
        CheckError: axis 0 of an input is fixed at another size; or as for ``benchmark``.
        ModelError: onnxruntime cannot load one of the models.
    """
    setting = _Setting(provider, 1, custom_ops, {})
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


def _together(sources: Sequence[Source], setting: _Setting, seconds: float, seed: int) -> _Measured:
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


def _isolated(sources: Sequence[Source], setting: _Setting, seconds: float, seed: int) -> _Measured:
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


def _footprints(sources: Sequence[Source], setting: _Setting) -> list[Footprint | None]:
    with ExitStack() as stack:
        return [run_alone(job).footprint for job in _jobs(sources, setting, stack)]


def _jobs(sources: Sequence[Source], setting: _Setting, stack: ExitStack) -> list[Job]:
    """What to do for each model in a process of its own; the files for it live as long as the stack."""
    values = stack.enter_context(values_on_disk(setting.values))
    return [setting.job(stack.enter_context(on_disk(source)), values) for source in sources]


def _judged(measured: _Measured, setting: _Setting, seed: int, *, isolated: bool) -> Latencies:
    legs = measured.legs
    shapes = {name: value.shape for name, value in setting.values.items()}
    seconds = sum(float(leg.sum()) for leg in legs) / 1e9
    provider, options = provider_parts(setting.provider)
    version = onnxruntime.__version__
    conditions = Conditions(
        version, provider, LEVEL, setting.threads, shapes, len(legs), seconds, options, isolated=isolated
    )
    models = [
        _model(measured, index, conditions.batch, paired_ratio(legs, second=index, seed=seed) if index else _ITSELF)
        for index in range(len(measured.creation_ns))
    ]
    return Latencies(tuple(models), legs, conditions)


_ITSELF = Ratio(1.0, 1.0, 1.0)


def _model(measured: _Measured, index: int, batch: int, ratio: Ratio) -> ModelLatency:
    timing = summarize(np.concatenate(measured.legs)[:, index])
    creation_ns = tuple(measured.creation_ns[index])
    return ModelLatency(timing, batch * 1e9 / timing.median_ns, ratio, creation_ns, measured.footprints[index])
