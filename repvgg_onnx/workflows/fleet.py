"""Many models fused, here or on whatever runs calls: a pool of processes, or a cluster."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.compiler.fuse import Fusion
from repvgg_onnx.compiler.results import Refusal, Region
from repvgg_onnx.errors import CheckError, RepvggOnnxError
from repvgg_onnx.graph.load import open_model
from repvgg_onnx.graph.save import stage_copy, stage_model
from repvgg_onnx.graph.storage.staging import Staging, staging
from repvgg_onnx.workflows.prove import proved
from repvgg_onnx.workflows.request import Keywords, Request, options_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

PathLike = str | os.PathLike[str]
Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class FusedFile:
    """What became of one model of many; it is small, whatever the size of the model.

    Attributes:
        path: the input.
        written: the file that was written; None where the model is not usable.
        regions: what was folded, in graph order.
        refusals: what was not, and why.
        notes: what was taken for granted because the caller said so, in sentences.
        parity: comparison of the outputs; None where nothing was folded or the model is not usable.
        error: why nothing was written, in a sentence; None where something was.
    """

    path: Path
    written: Path | None
    regions: tuple[Region, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()
    parity: Parity | None = None
    error: str | None = None


def fuse_many(
    paths: Iterable[PathLike],
    output: PathLike | None = None,
    *,
    executor: Executor | None = None,
    **options: "Unpack[Keywords]",
) -> tuple[FusedFile, ...]:
    """Every model is fused, its regions and its outputs are checked, and it is written; no latency is measured.

    Paths go to the executor and summaries come back: the models are read and written where the calls are run, which has
    to see the same files. Each model is written whole or not at all, whatever becomes of the others.

    Args:
        paths: the models.
        output: folder to write to, made if it is not there; each file keeps its name. None: ``MODEL.fused.onnx`` beside
            each.
        executor: what runs the calls, such as a ``ProcessPoolExecutor`` or Dask's ``Client.get_executor()``; None runs
            them here, one after the other. It is not shut down.
        **options: the fields of CompileOptions and of CheckOptions, for every model.

    Returns:
        What became of each model, in the order of the paths. Errors of one model are in its summary.

    Raises:
        CheckError: two models would be written to one file, or one over itself.
        TypeError: there is no such option.
    """
    models = [Path(path) for path in paths]
    _require_places(models, output)
    options_of(options)
    work = partial(fuse_into, output=output, **options)
    return tuple(result for result in run_all(work, models, executor, _lost) if result is not None)


def beside(model: Path) -> Path:
    """Where a fused model goes if nobody says where."""
    return model.with_name(f"{model.stem}.fused.onnx")


def fuse_into(path: PathLike, output: PathLike | None, **options: "Unpack[Keywords]") -> FusedFile:
    """One model of ``fuse_many()``, to be sent to whatever is not an ``Executor``.

    Args:
        path: the model.
        output: folder to write to; None for beside the model.
        **options: the fields of CompileOptions and of CheckOptions.
    """
    model = Path(path)
    target = _target(model, output)
    try:
        with ExitStack() as stack:

            def place() -> Staging:
                """A place for a draft, where the one before was."""
                stack.close()
                target.parent.mkdir(parents=True, exist_ok=True)
                return stack.enter_context(staging(target))

            def written(fusion: Fusion) -> Path:
                """The draft of a model, which is compared with the input as it stands in its file."""
                staged.append(place())
                stage_model(fusion.model, staged[-1])
                return staged[-1].file

            staged: list[Staging] = []
            source = open_model(model)
            proof = proved(Request.of(source, options), written)
            fusion = proof.fusion
            if not fusion.regions:  # what was compared last, if anything was, is not kept
                staged.append(place())
                if fusion.notes:
                    stage_model(fusion.model, staged[-1])
                else:
                    stage_copy(source, staged[-1])
            staged[-1].commit()
    except RepvggOnnxError as failure:
        return FusedFile(model, None, error=str(failure))
    except OSError as failure:
        return FusedFile(model, None, error=f"cannot be written: {failure.strerror}")
    return FusedFile(model, target, fusion.regions, fusion.refusals, fusion.notes, proof.parity)


def run_all(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    executor: Executor | None,
    lost: Callable[[Task, Exception], Result],
    *,
    done: Callable[[Result], bool] = lambda _: False,
) -> list[Result | None]:
    """The results of all tasks, in their order.

    Args:
        work: what makes a result of a task.
        tasks: what to call it with.
        executor: what runs the calls; None runs them here, one after the other.
        lost: makes the result of a task whose worker gave none, from what the executor says.
        done: told each result as it arrives; whether no other task is to be begun.

    Returns:
        None for a task that was not begun.
    """
    if executor is None:
        return _run_here(work, tasks, done)
    futures = {executor.submit(work, task): index for index, task in enumerate(tasks)}
    results: list[Result | None] = [None] * len(tasks)
    pending = set(futures)
    try:
        while pending:
            finished, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in sorted(finished, key=futures.__getitem__):
                if not future.cancelled():
                    index = futures[future]
                    results[index] = result = _result(future, tasks[index], lost)
                    if done(result):
                        _cancel(futures)
            pending = {future for future in pending - finished if not future.cancelled()}
    except BaseException:
        _cancel(futures)
        raise
    return results


def _result(future: Future[Result], task: Task, lost: Callable[[Task, Exception], Result]) -> Result:
    try:
        return future.result()
    except Exception as error:
        return lost(task, error)


def _run_here(
    work: Callable[[Task], Result], tasks: Sequence[Task], done: Callable[[Result], bool]
) -> list[Result | None]:
    results: list[Result | None] = []
    for task in tasks:
        result = work(task)
        results.append(result)
        if done(result):
            break
    return [*results, *[None] * (len(tasks) - len(results))]


def _cancel(futures: Iterable[Future[Any]]) -> None:
    for future in futures:
        future.cancel()


def _lost(model: Path, error: Exception) -> FusedFile:
    return FusedFile(model, None, error=f"its worker gave no result: {type(error).__name__}: {error}")


def _target(model: Path, output: PathLike | None) -> Path:
    return beside(model) if output is None else Path(output) / model.name


def _require_places(models: Sequence[Path], output: PathLike | None) -> None:
    taken: dict[Path, Path] = {}
    for model in models:
        target = _target(model, output)
        if os.path.realpath(target) == os.path.realpath(model):
            raise CheckError(f"{model} would be written over itself")
        if target in taken:
            raise CheckError(f"{taken[target]} and {model} would both be written to {target}")
        taken[target] = model
