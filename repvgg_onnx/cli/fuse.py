"""What ``fuse`` and ``inspect`` do: every stage in order, and nothing is written before every check has passed."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.text import Text

from repvgg_onnx import __version__
from repvgg_onnx.checks.environment import describe_environment
from repvgg_onnx.checks.latency import Latency, obstacles
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.cli.boundary import BadInputError, CheckFailedError, about
from repvgg_onnx.cli.candidates import Candidate, candidate_of, folded, opened_file
from repvgg_onnx.cli.options import FuseOptions, InspectOptions, Output
from repvgg_onnx.cli.output import prepared, show
from repvgg_onnx.cli.places import protect_models, require_distinct
from repvgg_onnx.cli.reports import failed_outcome
from repvgg_onnx.cli.tasks import FuseTask
from repvgg_onnx.cli.triton import check_target, fit
from repvgg_onnx.cli.tuning import require_decisions_file, save_decisions
from repvgg_onnx.cli.verify import compare, compare_latency
from repvgg_onnx.cli.writing import Draft, Drafts, target_of
from repvgg_onnx.compiler.fuse import prepare
from repvgg_onnx.compiler.options import CompileOptions
from repvgg_onnx.compiler.results import Region
from repvgg_onnx.compiler.stages import STAGES, Stopwatch
from repvgg_onnx.errors import LoadError, RunError
from repvgg_onnx.graph.budget import DEFAULT_MB
from repvgg_onnx.graph.load import open_model
from repvgg_onnx.report.machine import fuse_json, many_json
from repvgg_onnx.report.model import FuseReport, Outcome, Tuned, Verdict
from repvgg_onnx.report.remedy import remedy
from repvgg_onnx.report.terminal import fuse_report, inspect_report, parity_failure
from repvgg_onnx.report.units import plural
from repvgg_onnx.serving.tensorrt import TensorRTCheck


def run_fuse(task: FuseTask, output: Output) -> None:
    """Fold, check, write and report, in this order.

    Raises:
        BadInputError: the model cannot be used.
        CheckFailedError: a check failed.
        UsageError: a file would be written where it cannot or must not be.
    """
    options = task.options
    with ExitStack() as stack:
        try:
            task = replace(task, warnings=machine_warnings(task))
            made = stack.enter_context(fused_file(task, output))
        except BadInputError as error:
            outcomes = (failed_outcome(options.model, error),)
            show(replace(output, json_path=None, quiet=True), Text(), many_json(__version__, outcomes), outcomes)
            raise
        report = made.report
        sentence = failure(options, report)
        outcome = Outcome(str(options.model), report, CheckFailedError.exit_code if sentence else 0, sentence)
        text = fuse_report(report, every=output.every)
        ready = stack.enter_context(prepared(output, text, fuse_json(report), (outcome,)))
        made.commit()
        ready.publish()
    if sentence:
        raise CheckFailedError(f"{options.model}: {told(outcome, output)}")


def told(outcome: Outcome, output: Output) -> str:
    """Why a model failed; where no report for people says what mends it, that too."""
    mended = outcome.report is not None and outcome.report.verdict is Verdict.FOLDABLE and output.quiet
    return f"{outcome.error}; {remedy(outcome.report)}" if mended and outcome.report else str(outcome.error)


@dataclass(frozen=True)
class Made:
    """One model folded and checked, and nothing in its place yet.

    Attributes:
        report: what was found, as if the model had been committed.
        commit: puts the model and the decisions that were measured in their places, if every check has passed.
    """

    report: FuseReport
    commit: Callable[[], None]


@contextmanager
def fused_file(task: FuseTask, output: Output) -> Iterator[Made]:
    """One model folded, checked, and written beside its place; nothing is printed but progress.

    The block makes its reports, and then commits: what cannot be reported is not written.

    Args:
        task: what to do with which model.
        output: where reports go.

    Raises:
        BadInputError: the model cannot be used.
        UsageError: a file would be written where it cannot or must not be.
    """
    options = task.options
    with ExitStack() as stack:
        with Stopwatch().running() as stopwatch:
            target = target_of(options, output)
            _protect(options, output, target, options.model)
            with about(options.model):
                opened = opened_file(options.model)
            _protect(options, output, target, *opened.sides)
            drafts = stack.enter_context(Drafts.open(target))
            with about(options.model), _with_a_way_out(options):
                candidate = candidate_of(task, opened, output, drafts)
            task = task.on(candidate.sizes)
            draft = drafts.draft(candidate.fusion, candidate.before, opened)
            with about(options.model), _with_a_way_out(options):
                fitness = _fitness(candidate, draft, task)
                parity, latency = _check(candidate, draft, task, output)
        took = stopwatch.seconds
        verdict = fit(judge(options, candidate.regions, parity, latency, candidate.failed), fitness)
        written = draft if verdict in (Verdict.FUSED, Verdict.NOTHING_TO_FOLD) else None
        report = _report(candidate, verdict, written=written, parity=parity, latency=latency, gate=options.min_speedup)
        report = replace(
            report,
            target=fitness,
            max_foldable=options.max_foldable if options.check else None,
            warnings=(*task.warnings, *latency.warnings) if latency else (),
            seconds={} if options.check else {name: took[name] for name in STAGES if name in took},
            options=_deciding(task),
        )

        def commit() -> None:
            if written is not None:
                save_decisions(task, candidate.tuning, opened.model)
                written.commit()

        yield Made(without_codes(report, options.ignore), commit)


def _protect(options: FuseOptions, output: Output, target: Path | None, *inputs: Path) -> None:
    """Nothing is written over one of the inputs, but the model itself with ``--in-place``, or over something else.

    Raises:
        UsageError: something would be.
    """
    if target is not None and not options.in_place:
        require_distinct(target, *inputs)
    protect_models(output, *inputs, target)
    require_decisions_file(options, output, *inputs, target)


def machine_warnings(task: FuseTask) -> tuple[str, ...]:
    """What speaks against measuring on this machine before any work, which loads it; nothing if nothing is measured."""
    if not task.options.bench or task.options.check:
        return ()
    return obstacles(describe_environment(), task.runtime.threads or 1)


def _deciding(task: FuseTask) -> tuple[str, ...]:
    """The options that decide what is folded, as one gives them."""
    compiling, options = task.compiling, task.options
    given: list[str] = []
    for name in ("assume_inference", "freeze_initializers", "assume_placeholders"):
        if getattr(compiling, name):
            given.append(f"--{name.replace('_', '-')}")
    given += [word for name in compiling.outputs for word in ("--outputs", name)]
    if compiling.max_constant_mb != DEFAULT_MB:
        given += ["--max-constant-mb", str(compiling.max_constant_mb)]
    if not compiling.below and not options.check:
        given.append("--no-below")
    for name, shape in task.runtime.shapes.items():
        given += ["--shape", f"{name}={','.join(map(str, shape))}"]
    return (*given, *(("--decisions", str(options.decisions)) if options.decisions and not options.autotune else ()))


@contextmanager
def _with_a_way_out(options: FuseOptions) -> Iterator[None]:
    """Where onnxruntime does not take the model, the error names the options that do without running it."""
    try:
        yield
    except (LoadError, RunError) as error:
        ways = [("--no-verify", options.verify), ("--no-bench", options.bench)]
        without = " ".join(name for name, is_on in ways if is_on)
        if not without or options.autotune:
            raise
        raise type(error)(f"{error}; {without} folds the model without running it") from error


def run_inspect(model: Path, compiling: CompileOptions, view: InspectOptions, output: Output) -> None:
    """Fold and report, and write nothing.

    Raises:
        BadInputError: the model cannot be used.
        UsageError: the JSON report would be written where it cannot or must not be.
    """
    protect_models(output, model)
    with about(model):
        opened = opened_file(model)
        protect_models(output, *opened.sides)
        candidate = folded(opened, compiling, output)
    verdict = Verdict.FOLDABLE if candidate.regions else Verdict.NOTHING_TO_FOLD
    report = without_codes(_report(candidate, verdict), view.ignore)
    show(output, inspect_report(report, every=view.every, per_layer=view.per_layer), fuse_json(report))


def _check(
    candidate: Candidate, draft: Draft | None, task: FuseTask, output: Output
) -> tuple[Parity | None, Latency | None]:
    """The comparisons that were asked for; none where nothing was folded, no latency of a wrong model.

    A model whose regions were not checked one by one, because it is too large, is compared here.
    """
    if draft is None or not candidate.regions:
        return None, None
    options, runtime = task.options, task.runtime
    parity, latency = candidate.parity, None
    # What is taken for granted, a fold must not change.
    baseline = prepare(candidate.opened.whole, task.compiling).model if candidate.notes else options.model
    if options.verify and parity is None:
        parity = compare(baseline, draft.file, runtime.options(threads=0, tolerance=options.tolerance), output)
    if options.bench and (parity is None or parity.passed):
        latency = compare_latency(baseline, draft.file, options.bench_seconds, runtime.options(threads=1), output)
    return parity, latency


def _fitness(candidate: Candidate, draft: Draft | None, task: FuseTask) -> TensorRTCheck | None:
    """What the target is known to say of what is written, or would be if anything were; None without a target."""
    if task.options.target is None:
        return None
    path = task.options.model if draft is None else draft.target
    if candidate.fusion is None:
        return check_target(candidate.opened, path, task.runtime)
    if draft is None:
        unwritten = replace(candidate.opened, model=candidate.fusion.model, sides=frozenset())
        return check_target(unwritten, path, task.runtime)
    return check_target(open_model(draft.file), path, task.runtime)


def _report(
    candidate: Candidate,
    verdict: Verdict,
    *,
    written: Draft | None = None,
    parity: Parity | None = None,
    latency: Latency | None = None,
    gate: float | None = None,
) -> FuseReport:
    """Everything about a run, for the renderers."""
    after = candidate.after if written is None else replace(written.described, profile=candidate.after.profile)
    return FuseReport(
        version=__version__,
        before=candidate.before,
        after=after,
        regions=candidate.regions,
        refusals=candidate.refusals,
        parity=parity,
        latency=latency,
        min_speedup=gate,
        verdict=verdict,
        notes=candidate.notes,
        remarks=candidate.remarks,
        region_parities=candidate.checked,
        rolled_back=candidate.failed,
        tuning=None if candidate.tuning is None else Tuned.of(candidate.tuning),
        overridable=candidate.overridable,
        sizes=candidate.sizes,
    )


def judge(
    options: FuseOptions,
    regions: Sequence[Region],
    parity: Parity | None,
    latency: Latency | None,
    failed: Sequence[RegionParity] = (),
) -> Verdict:
    """How a run ends, from what was found and measured.

    A gate on the speedup fails only where the whole confidence interval is below it. The speedup of a copy of the input
    is exactly 1.
    """
    if failed and options.strict:
        return Verdict.REGION_FAILED
    if not regions:
        missed = options.min_speedup is not None and options.min_speedup > 1
        return Verdict.TOO_SLOW if missed else Verdict.NOTHING_TO_FOLD
    if options.check:
        return Verdict.FOLDABLE
    if parity is not None and not parity.passed:
        return Verdict.PARITY_FAILED
    if options.min_speedup is not None and latency is not None and latency.high < options.min_speedup:
        return Verdict.TOO_SLOW
    return Verdict.FUSED


def failure(options: FuseOptions, report: FuseReport) -> str | None:
    """Why a run ends with exit code 1, in a sentence; None where it does not."""
    if report.verdict is Verdict.PARITY_FAILED and report.parity is not None:
        return f"the fused model differs, {parity_failure(report.parity)}; nothing was written"
    if report.verdict is Verdict.TOO_SLOW:
        missed = "nothing was folded, so that the speedup is 1,"
        if latency := report.latency:
            interval = f"{latency.low:.3g}-{latency.high:.3g}"
            missed = f"the speedup is {latency.speedup:.3g}, and its 95% interval, {interval}, ends"
        return f"{missed} below --min-speedup {options.min_speedup:g}; nothing was written"
    if report.verdict is Verdict.REGION_FAILED:
        counted = plural(len(report.rolled_back), "region")
        return f"{counted} failed a check; nothing was written"
    if report.verdict is Verdict.UNFIT and report.target is not None:
        return f"the parser of {report.target.release} would refuse the model; nothing was written"
    if report.verdict is Verdict.FOLDABLE and len(report.regions) > options.max_foldable:
        allowed = f", and --max-foldable is {options.max_foldable}" if options.max_foldable else ""
        return f"{plural(len(report.regions), 'region')} can be folded{allowed}"
    return None


def without_codes(report: FuseReport, codes: Collection[str]) -> FuseReport:
    """The report without the refusals of these codes, which the user wants to hear nothing of."""
    return replace(report, refusals=tuple(refusal for refusal in report.refusals if refusal.code not in codes))
