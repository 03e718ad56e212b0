"""Where output goes: reports to stdout, progress to stderr, JSON to its file.

What needs onnx is imported where a file is written, so that ``doctor`` can print where onnx does not work.
"""

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from repvgg_onnx.cli.boundary import about
from repvgg_onnx.cli.options import STDOUT, Output
from repvgg_onnx.cli.reports import require_renderers, write_reports

if TYPE_CHECKING:
    from repvgg_onnx.report.run import Subject

COLUMNS = 80
"""Widest line; a narrower terminal narrows it."""


def show(output: Output, report: RenderableType, document: str, subject: "Subject | None" = None) -> None:
    """Print the report and write the JSON document and all other reports, each where the user wants it.

    Args:
        output: where.
        report: for people; left out where the document goes to stdout.
        document: JSON text.
        subject: what other reports are about; None for a command that has none.

    Raises:
        BadInputError: a file cannot be written.
    """
    _print(output, report, document)
    if subject is not None:
        write_reports(output.reports, document, subject)


def _print(output: Output, report: RenderableType, document: str) -> None:
    """What the user wants on stdout, and the JSON document in its file."""
    if output.json_path == STDOUT:
        click.echo(document, nl=False)
        return
    if output.json_path is not None:
        from repvgg_onnx.graph.save import write_bytes

        with about(output.json_path):
            write_bytes(document.encode(), output.json_path)
    if not output.quiet:
        click.echo(rendered(report, sys.stdout), nl=False)


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


def require_folder(path: Path) -> None:
    """The folder that ``path`` is to be written to exists.

    Raises:
        UsageError: it does not, or ``path`` itself is a folder.
    """
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder")
    if not path.parent.is_dir():
        raise click.UsageError(f"folder {path.parent} does not exist")


def require_distinct(path: Path, *others: Path | None) -> None:
    """``path`` is none of the other files, not by another name or link either.

    Raises:
        UsageError: it is one of them.
    """
    for other in others:
        if other is not None and _same_file(path, other):
            raise click.UsageError(f"{path} would overwrite {other}")


def require_clean_stdout(path: Path, *, quiet: bool) -> None:
    """Nothing but the file goes to stdout, where ``path`` is what stdout leads to.

    Args:
        path: file to write.
        quiet: whether nothing else is printed.

    Raises:
        UsageError: something else would be.
    """
    with contextlib.suppress(OSError, ValueError):
        same = os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
        if same and not quiet and not path.samefile(os.devnull):
            raise click.UsageError(f"{path} is where the report goes too; add --quiet")


def protect_models(output: Output, *models: Path | None) -> None:
    """Every report can be made and written, and is no other report, none of the models, nor a side file of one.

    Raises:
        ExtraMissingError: what a report is made with is not installed.
        UsageError: its folder does not exist, it is one of them, or two reports go to stdout.
    """
    if output.annotates and output.json_path == STDOUT:
        raise click.UsageError("--report github and --json both go to stdout; give --json a file")
    if output.files:
        from repvgg_onnx.cli.files import sides_of

        sides = frozenset(side for model in models if model is not None for side in sides_of(model))
        for number, file in enumerate(output.files):
            require_folder(file)
            require_distinct(file, *models, *sides, *output.files[:number])
    require_renderers(output.reports)


def _same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, which need not be there yet."""
    if one.exists() and other.exists():
        return one.samefile(other)
    return os.path.realpath(one) == os.path.realpath(other)
