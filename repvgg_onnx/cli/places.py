"""Places that a command may write to: no model, nothing that is read, and no file that this tool has not written."""

import contextlib
import os
import stat
import sys
from pathlib import Path

import click

from repvgg_onnx.cli.options import Output
from repvgg_onnx.cli.reports import SUMMARY, require_renderers
from repvgg_onnx.report.marks import ENDINGS, ends_as, is_own

LARGEST_REPORT = 2**28
"""Bytes above which no file is read to see whether it is a report; no report is nearly as large."""

_WORDS = {"json": "a JSON report", "junit": "a JUnit report", "md": "a Markdown report", "html": "an HTML report"}
_WORDS |= {"sarif": "a SARIF report", "plot": "a picture", "decisions": "a file of decisions"}


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
        if other is not None and same_file(path, other):
            raise click.UsageError(f"{path} would overwrite {other}")


def require_report_file(kind: str, path: Path, *others: Path | None) -> None:
    """A report can be written to ``path``, and nothing is lost by it.

    It is none of the other files, ends as files of its kind do, and is not there yet, is empty, or holds what this
    tool has written. Devices and pipes hold nothing, so any will do.

    Args:
        kind: a key of ``ENDINGS``.
        path: where the report is to be written.
        others: files that the run reads, or writes besides.

    Raises:
        UsageError: one of this does not hold.
    """
    require_folder(path)
    require_distinct(path, *others)
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        regular = None
    if regular is False:
        return
    # A link is judged by what it leads to as well: report.json may be a link to model.onnx.
    for name in (path, Path(os.path.realpath(path))):
        if not ends_as(kind, name):
            raise click.UsageError(f"{name} does not end in {' or '.join(ENDINGS[kind])}, as {_WORDS[kind]} must")
    if regular and path.stat().st_size and not _is_own(kind, path):
        hint = "delete it first, or choose another name"
        raise click.UsageError(f"{path} exists and is not {_WORDS[kind]} of this program, so it is kept: {hint}")


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


def protect_models(output: Output, *files: Path | None) -> None:
    """Every report can be made and written, and overwrites nothing but an older report.

    Args:
        output: the reports.
        files: the models that are read and written, and their external data.

    Raises:
        ExtraMissingError: what a report is made with is not installed.
        UsageError: its folder does not exist, it would overwrite a file, or two reports go to stdout.
    """
    if len(output.on_stdout) > 1:
        first, second = output.on_stdout[:2]
        raise click.UsageError(f"{first} and {second} both go to stdout; give one of them a file")
    summary = _summary(output)
    if output.files or summary:
        for number, (kind, file) in enumerate(output.files):
            require_report_file(kind, file, *files, *(other for _, other in output.files[:number]))
        if summary:
            require_distinct(summary, *files)
    require_renderers(output.reports)


def written_by(output: Output) -> list[Path]:
    """The files that reports are written to."""
    summary = _summary(output)
    return [*(file for _, file in output.files), *([] if summary is None else [summary])]


def _summary(output: Output) -> Path | None:
    """The file that GitHub shows as the summary of a job, where something is appended to it."""
    named = os.environ.get(SUMMARY) if output.annotates else None
    return Path(named) if named else None


def same_file(one: Path, other: Path) -> bool:
    """Whether two names lead to one file, which need not be there yet.

    Where neither is there, names that differ in case alone are one, as they would be on some file systems.
    """
    if one.exists() and other.exists():
        return one.samefile(other)
    paths = os.path.realpath(one), os.path.realpath(other)
    if not (one.exists() or other.exists()):
        return paths[0].casefold() == paths[1].casefold()
    return paths[0] == paths[1]


def _is_own(kind: str, path: Path) -> bool:
    try:
        return path.stat().st_size <= LARGEST_REPORT and is_own(kind, path.read_bytes())
    except OSError as error:
        raise click.UsageError(f"{path} exists and cannot be read: {error.strerror}") from error
