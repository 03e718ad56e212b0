"""What ``check`` does, and ``fuse`` with several models: each by itself, in one table, with one exit code."""

import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from repvgg_onnx import __version__
from repvgg_onnx.cli.boundary import (
    BadInputError,
    CheckFailedError,
    about,
    error_line,
    is_debugging,
)
from repvgg_onnx.cli.files import sides_of
from repvgg_onnx.cli.fuse import failure, fused_file, machine_warnings, run_fuse, told
from repvgg_onnx.cli.options import Output
from repvgg_onnx.cli.output import console, rendered, show
from repvgg_onnx.cli.places import protect_models, written_by
from repvgg_onnx.cli.reports import destinations, failed_outcome, made_reports
from repvgg_onnx.cli.settings import settings_of
from repvgg_onnx.cli.tasks import FuseTask, check_task, expand, fuse_task, is_folder
from repvgg_onnx.report.machine import many_json
from repvgg_onnx.report.model import Outcome
from repvgg_onnx.report.summary import check_report, summary
from repvgg_onnx.workflows.fleet import beside, run_all
from repvgg_onnx.workflows.turns import Turns, begin, working

Result = TypeVar("Result")

PATIENCE_S = 3.0
"""Time that the processes of a pool have to end in good order."""


def fuse_models(ctx: click.Context) -> int:
    """What ``fuse`` does: one model with a report of its own, several in one table.

    Returns:
        The exit code.

    Raises:
        ClickException: the model is not usable, a check failed, or the usage is wrong.
    """
    params = ctx.params
    models, output = list(expand(params["models"])), _output(ctx)
    if len(models) == 1 and not is_folder(params["output"]):
        task = fuse_task(models[0], settings_of(ctx, models[0]).params)
        run_fuse(task, output)
        return 0
    folder = None if params["output"] is None else Path(params["output"])
    tasks = [fuse_task(model, settings_of(ctx, model).params) for model in models]
    return run_fuse_many(tasks, folder, _plan(ctx), output)


def check_models(ctx: click.Context) -> int:
    """What ``check`` does.

    Returns:
        The exit code.

    Raises:
        ClickException: the usage is wrong.
    """
    params = ctx.params
    models = list(expand(params["models"]))
    tasks = [check_task(model, settings_of(ctx, model).params) for model in models]
    return run_check(tasks, _plan(ctx), _output(ctx))


@dataclass(frozen=True)
class Plan:
    """How several models are worked on.

    Attributes:
        jobs: how many at once.
        fail_fast: whether none is begun after one that failed.
        debug: whether errors show where they come from.
    """

    jobs: int
    fail_fast: bool
    debug: bool

    def stops(self, outcome: Outcome) -> bool:
        """Whether no other model is begun after one that ended so."""
        return self.fail_fast and outcome.error is not None


def run_fuse_many(tasks: Sequence[FuseTask], folder: Path | None, plan: Plan, output: Output) -> int:
    """Fuse every model, report, and say why some failed.

    Args:
        tasks: what to do with each model.
        folder: where to write to, under the names that the models have; None is the default of each task.
        plan: how.
        output: where the reports go.

    Returns:
        The exit code: the largest one of all models.

    Raises:
        UsageError: a file would be written where it cannot or must not be, or one file by two models.
    """
    if len(tasks) > 1 and any(task.options.decisions for task in tasks):
        raise click.UsageError("--decisions is about one model")
    if folder is not None:
        _require_folder_of_many(folder)
        tasks = [task.to(folder / task.options.model.name) for task in tasks]
    _require_places(tasks, output)
    tasks = [replace(task, warnings=machine_warnings(task)) for task in tasks]
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    return _report(_outcomes(tasks, plan, output), summary, output)


def run_check(tasks: Sequence[FuseTask], plan: Plan, output: Output) -> int:
    """Say what can be folded in every model, and write none.

    Returns:
        The exit code: the largest one of all models.
    """
    models = [task.options.model for task in tasks]
    protect_models(output, *models, *_sides(models, written_by(output)))
    return _report(_outcomes(tasks, plan, output), partial(check_report, every=output.every), output)


def _plan(ctx: click.Context) -> Plan:
    return Plan(ctx.params["jobs"], ctx.params["fail_fast"], is_debugging(ctx))


def _output(ctx: click.Context) -> Output:
    params = ctx.params
    return Output(params["json_path"], params["quiet"], destinations(params["reports"]), params["every"])


def work(task: FuseTask, output: Output, *, debug: bool) -> Outcome:
    """One model by itself; whatever goes wrong with it is in its outcome.

    Args:
        task: what to do.
        output: where the reports of the whole run go.
        debug: whether errors show where they come from.
    """
    path = task.options.model
    try:
        with (
            working(),
            about(path),
            fused_file(task, Output(None, output.quiet)) as made,
        ):
            sentence = failure(task.options, made.report)
            exit_code = 0 if sentence is None else CheckFailedError.exit_code
            outcome = Outcome(str(path), made.report, exit_code, sentence)
            # Reports are about all models and made at the end: one about this model alone shows whether they can be.
            made_reports(output.reports, many_json(__version__, [outcome]), (outcome,))
            rendered(summary((outcome,)), sys.stdout)
            made.commit()
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        return failed_outcome(path, error)
    return outcome


def _require_folder_of_many(folder: Path) -> None:
    """What ``-o`` names can be a folder.

    Raises:
        UsageError: it is a file, or is called as one.
    """
    if folder.is_dir():
        return
    if folder.exists() or folder.suffix.lower() == ".onnx":
        what = "is a file" if folder.exists() else "ends as a file does"
        raise click.UsageError(f"-o {folder} {what}; for several models it has to name a folder")


def _require_places(tasks: Sequence[FuseTask], output: Output) -> None:
    """No file is written by two models, and none that is read is written but by ``--in-place``.

    Raises:
        UsageError: one would be.
    """
    models, targets = [task.options.model for task in tasks], [_target(task) for task in tasks]
    sides = _sides(models, [*targets, *written_by(output)])
    read = {os.path.realpath(file): file for file in (*sides, *models)}
    written: dict[str, Path] = {}
    for task, model, target in zip(tasks, models, targets, strict=True):
        place = os.path.realpath(target)
        if place in written:
            raise click.UsageError(f"{written[place]} and {model} would both be written to {target}")
        if place in read and not task.options.in_place:
            hint = "; give --in-place instead of -o to overwrite the inputs" if read[place] == model else ""
            raise click.UsageError(f"{target} would overwrite {read[place]}{hint}")
        written[place] = model
    protect_models(output, *models, *sides, *targets)


def _sides(models: Sequence[Path], written: Sequence[Path]) -> list[Path]:
    """External data files of models, as far as one of the files to write may be one: what is not there yet is none."""
    if not any(os.path.lexists(file) for file in written):
        return []
    return [side for model in models for side in sides_of(model)]


def _target(task: FuseTask) -> Path:
    options = task.options
    if options.in_place:
        return options.model
    return options.output or beside(options.model)


def _outcomes(tasks: Sequence[FuseTask], plan: Plan, output: Output) -> list[Outcome]:
    """What became of each model, in order."""
    workers = min(plan.jobs, len(tasks))
    if workers == 1:
        each = partial(work, output=output, debug=plan.debug)
        results = run_all(each, tasks, None, _lost, done=lambda outcome: plan.stops(outcome))
    else:
        each = partial(work, output=replace(output, quiet=True), debug=plan.debug)
        with _pool(workers) as pool, _progress(len(tasks), quiet=output.quiet) as advance:
            results = run_all(each, tasks, pool, _lost, done=lambda outcome: advance() or plan.stops(outcome))
    paths = [str(task.options.model) for task in tasks]
    return [result or Outcome(path, None, None, None) for path, result in zip(paths, results, strict=True)]


def _lost(task: FuseTask, error: Exception) -> Outcome:
    sentence = "the worker process died, possibly out of memory or because onnx did not come to an end"
    cause = BadInputError(sentence) if isinstance(error, BrokenExecutor) else error
    return failed_outcome(task.options.model, cause)


class _Pool(ProcessPoolExecutor):
    """Processes that Ctrl-C does not reach, not even while they start."""

    def submit(self, function: Callable[..., Result], /, *args: Any, **keywords: Any) -> Future[Result]:
        """As ``Executor.submit``; this is where processes are started, and they inherit what is blocked."""
        if sys.platform == "win32":
            return super().submit(function, *args, **keywords)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(function, *args, **keywords)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _pool(workers: int) -> Iterator[_Pool]:
    """Processes that take turns at measuring; if the block does not end well, what they do is undone."""
    context = multiprocessing.get_context("spawn")
    turns = Turns.among(workers, context)
    pool = _Pool(workers, mp_context=context, initializer=begin, initargs=(turns,))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        _end_all(multiprocessing.active_children())
        raise
    finally:
        pool.shutdown()


def _end_all(children: Sequence[BaseProcess]) -> None:
    """The processes undo what they do and end; those that cannot, because onnx holds Python's lock, are killed."""
    for child in children:
        child.terminate()
    end = time.monotonic() + PATIENCE_S
    for child in children:
        child.join(max(end - time.monotonic(), 0.0))
        if child.is_alive():
            child.kill()


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Callable[[], None]]:
    """A terminal on stderr shows how many models are done; it is drawn when one is, and disturbs no measurement."""
    screen = console(sys.stderr)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if quiet or not screen.is_terminal:
        yield lambda: None
        return
    with Progress(*columns, console=screen, auto_refresh=False, transient=True) as progress:
        task = progress.add_task("Models", total=total)
        progress.refresh()

        def advance() -> None:
            progress.update(task, advance=1, refresh=True)

        yield advance


def _report(outcomes: Sequence[Outcome], render: Callable[[Sequence[Outcome]], RenderableType], output: Output) -> int:
    """Show every outcome, and the errors on stderr; the exit code."""
    show(output, render(outcomes), many_json(__version__, outcomes), tuple(outcomes))
    for outcome in outcomes:
        if outcome.error is not None:
            click.echo(error_line(click.ClickException(f"{outcome.path}: {told(outcome, output)}")), err=True)
    return max((outcome.exit_code or 0 for outcome in outcomes), default=0)
