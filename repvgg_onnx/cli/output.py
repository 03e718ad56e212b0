"""Where output goes: reports to stdout and files, progress to stderr.

Every report is made, and written beside its place, before anything of a run takes its place. What needs onnx is
imported where a file is written, so that ``doctor`` can print where onnx does not work.
"""

import contextlib
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from repvgg_onnx.cli.boundary import about
from repvgg_onnx.cli.options import Output
from repvgg_onnx.cli.reports import STDOUT, append_summary, made_reports

if TYPE_CHECKING:
    from repvgg_onnx.graph.storage.staging import Staging
    from repvgg_onnx.report.run import Subject

COLUMNS = 80
"""Widest line; a narrower terminal narrows it."""


@dataclass(frozen=True)
class Prepared:
    """Everything that a run has to say, made and written beside its place, where nothing has changed yet.

    Attributes:
        printed: what goes to stdout.
        summary: what is appended to the summary of a step of GitHub; empty for nothing.
        staged: the files, with the names that the user gave them.
    """

    printed: str
    summary: str
    staged: "tuple[tuple[Path, Staging], ...]"

    def publish(self) -> None:
        """The files stand in their places, and the rest is printed.

        Raises:
            BadInputError: a file cannot be put there.
        """
        for path, place in self.staged:
            with about(path):
                place.commit()
        if self.summary:
            append_summary(self.summary)
        if self.printed:
            click.echo(self.printed, nl=False)


def show(
    output: Output,
    report: RenderableType,
    document: str,
    subject: "Subject | None" = None,
    *,
    pictures: Mapping[Path, bytes] | None = None,
) -> None:
    """Print the report and write the JSON document and all other reports, each where the user wants it.

    Args:
        output: where.
        report: for people; left out where another report goes to stdout.
        document: JSON text.
        subject: what other reports are about; None for a command that has none.
        pictures: further files.

    Raises:
        BadInputError: a file cannot be written.
    """
    with prepared(output, report, document, subject, pictures=pictures) as ready:
        ready.publish()


@contextlib.contextmanager
def prepared(
    output: Output,
    report: RenderableType,
    document: str,
    subject: "Subject | None" = None,
    *,
    pictures: Mapping[Path, bytes] | None = None,
) -> Iterator[Prepared]:
    """What ``show`` shows, ready to be published, and gone after the block unless it was.

    Raises:
        BadInputError: a file cannot be written.
    """
    printed = "" if output.quiet or output.replaces_text else rendered(report, sys.stdout)
    files = {} if pictures is None else dict(pictures)
    if output.json_path == STDOUT:
        printed = document
    elif output.json_path is not None:
        files[Path(output.json_path)] = document.encode()
    summary = ""
    if subject is not None:
        made = made_reports(output.reports, document, subject)
        files |= made.files
        printed, summary = printed + made.printed, made.summary
    with ExitStack() as stack:
        yield Prepared(printed, summary, tuple((path, _staged(data, path, stack)) for path, data in files.items()))


def _staged(data: bytes, path: Path, stack: ExitStack) -> "Staging":
    """A file that is written beside its place, as long as the stack lives."""
    from repvgg_onnx.graph.storage.staging import staging

    with about(path):
        place = stack.enter_context(staging(path))
        with place.create(place.file.name) as stream:
            stream.write(data)
    return place


def rendered(report: RenderableType, stream: TextIO) -> str:
    """The report as text for ``stream``, without the blanks that fill lines up."""
    screen = console(stream)
    with screen.capture() as capture:
        screen.print(report)
    return re.sub(r" +$", "", capture.get(), flags=re.MULTILINE)


@contextlib.contextmanager
def stage(doing: str, *, quiet: bool) -> Iterator[None]:
    """While the block runs, a terminal on stderr says what is being done.

    The line is drawn once and not by a thread, which would disturb what is measured meanwhile.
    """
    screen = console(sys.stderr)
    if quiet or not screen.is_terminal:
        yield
        return
    with Live(Text(f"{doing} ..."), console=screen, auto_refresh=False, transient=True):
        yield


def console(stream: TextIO) -> Console:
    """A console on ``stream``; colours only on a terminal without ``NO_COLOR``, at most 80 columns."""
    width = min(COLUMNS, shutil.get_terminal_size((COLUMNS, 24)).columns)
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
