"""Where ``fuse`` writes: to a private folder first, and to the output itself when every check has passed."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click

from repvgg_onnx.cli.boundary import about
from repvgg_onnx.cli.files import describe
from repvgg_onnx.cli.options import FuseOptions, Output
from repvgg_onnx.cli.places import require_clean_stdout, require_folder, same_file
from repvgg_onnx.compiler.fuse import Fusion
from repvgg_onnx.compiler.stages import timed
from repvgg_onnx.graph.load import OpenModel
from repvgg_onnx.graph.save import stage_copy, stage_model
from repvgg_onnx.graph.storage.staging import Staging, staging, tidy
from repvgg_onnx.report.model import ModelFile
from repvgg_onnx.workflows.fleet import beside


@dataclass(frozen=True)
class Draft:
    """A model that is written, and does not stand in its place yet.

    Attributes:
        target: the place, as the user named it.
        described: the model, under that name.
    """

    target: Path
    described: ModelFile
    _place: Staging

    @property
    def file(self) -> Path:
        """Where it can be read meanwhile."""
        return self._place.file

    def commit(self) -> None:
        """The model stands in its place.

        Raises:
            BadInputError: it cannot be put there; what was there before still is.
        """
        with about(self.target):
            self._place.commit()


def target_of(options: FuseOptions, output: Output) -> Path | None:
    """The file to write, which is the input only if the user said so; None where nothing is to be written.

    Raises:
        UsageError: it cannot or must not be written.
    """
    if options.check:
        return None
    if options.in_place:
        return options.model
    if options.output is not None:
        if options.output.is_dir():
            raise click.UsageError(
                f"{options.output} is a folder; write {options.output}{os.sep} to put the model into it"
            )
        if same_file(options.output, options.model):
            raise click.UsageError(f"{options.output} is the input; give --in-place instead of -o to overwrite it")
        require_folder(options.output)
        require_clean_stdout(options.output, quiet=output.silent)
    return options.output or beside(options.model)


class Drafts:
    """What is to stand at a target: one draft at a time, gone in the end unless it was committed.

    Args:
        target: the file to write, if any.
        stack: closes the draft in the end.
    """

    def __init__(self, target: Path | None, stack: ExitStack) -> None:
        self._target, self._stack = target, stack
        self._fusion: Fusion | None = None
        self._draft: Draft | None = None

    @classmethod
    @contextmanager
    def open(cls, target: Path | None) -> Iterator["Drafts"]:
        """Drafts of a file, inside the block."""
        with ExitStack() as stack:
            yield cls(target, stack)

    def draft(self, fusion: Fusion | None, source: ModelFile, opened: OpenModel) -> Draft | None:
        """The draft of a model, in the place of the one before; the arguments and the errors are those of ``drafted``.

        A model that stands as the draft already is not written again.
        """
        if self._draft is None or fusion is None or self._fusion is None or fusion.model is not self._fusion.model:
            self._stack.close()
            with timed("write"):
                self._draft = self._stack.enter_context(drafted(fusion, source, opened, self._target))
            self._fusion = fusion
        return self._draft

    def file(self, fusion: Fusion, source: ModelFile, opened: OpenModel) -> Path:
        """The file of a model's draft; there must be a target."""
        draft = self.draft(fusion, source, opened)
        assert draft is not None  # something is written, to another place than the input or over it
        return draft.file


@contextmanager
def drafted(fusion: Fusion | None, source: ModelFile, opened: OpenModel, target: Path | None) -> Iterator[Draft | None]:
    """What is to stand at the target, written beside it, and gone after the block unless it was committed.

    It is None where there is nothing to write: without a target, or where the input would be written over itself.

    Args:
        fusion: what was made of the input; None for the input as it is.
        source: the input.
        opened: the input, open.
        target: the file to write, if any.

    Raises:
        BadInputError: it cannot be written.
    """
    if target is None:
        yield None
        return
    if fusion is None and target == opened.path:
        tidy(target)
        yield None
        return
    with ExitStack() as stack:
        with about(target):
            place = stack.enter_context(staging(target))
            if fusion is not None:
                stage_model(fusion.model, place, fusion.files)
                described = describe(place.file)
            else:
                described = source if stage_copy(opened, place) else describe(place.file)
        yield Draft(target, replace(described, path=str(target)), place)
