"""``--report FORMAT:PATH``: any number of files that a run is written to besides what it prints."""

import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from repvgg_onnx.cli.boundary import BadInputError, as_click_exception, command_line, error_line
from repvgg_onnx.extras import import_extra

if TYPE_CHECKING:
    from repvgg_onnx.report.model import Outcome
    from repvgg_onnx.report.run import Subject

Command = TypeVar("Command", bound=Callable[..., Any])

STDOUT = "-"
"""The path that stands for stdout."""
ANNOTATIONS = "github"
"""The format that goes to stdout, and whose summary goes to the file that GITHUB_STEP_SUMMARY names."""
FORMATS = ("json", "junit", "md", "html", "sarif", ANNOTATIONS)
"""Every format; ``junit``, ``sarif`` and ``github`` are about checks."""
MEASURED = ("json", "md", "html")
"""The formats of a command that checks nothing."""

SUMMARY = "GITHUB_STEP_SUMMARY"
"""The variable that names the file of the summary of a step."""

_EXTRAS = {"html": ("jinja2", "matplotlib")}


@dataclass(frozen=True)
class Destination:
    """One report to write.

    Attributes:
        format: one of FORMATS.
        path: the file; None for stdout.
    """

    format: str
    path: Path | None

    @property
    def named(self) -> str:
        """As the user writes it."""
        return self.format if self.format == ANNOTATIONS else f"{self.format}:{self.path or STDOUT}"


def report_option(formats: Sequence[str] = FORMATS) -> Callable[[Command], Command]:
    """``--report FORMAT:PATH``, repeatable; the command gets what the user wrote.

    Args:
        formats: those that the command has something to say in.
    """

    def parse(_ctx: click.Context, _parameter: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
        for text in texts:
            _require_form(text, formats)
        return texts

    return click.option(
        "--report",
        "reports",
        multiple=True,
        metavar="FORMAT:PATH",
        callback=parse,
        help=f"Write a report too: {', '.join(formats)}; repeatable.",
    )


def destinations(texts: Sequence[str]) -> tuple[Destination, ...]:
    """What ``--report`` was set to as values."""
    parts = (text.partition(":") for text in texts)
    return tuple(Destination(name, None if path in ("", STDOUT) else Path(path)) for name, _, path in parts)


def relocated(text: str, folder: Path) -> str:
    """The text of a report of a file of settings: its path is relative to that file's folder."""
    name, _, path = text.partition(":")
    return text if path in ("", STDOUT) else f"{name}:{folder / path}"


def require_renderers(reports: Sequence[Destination]) -> None:
    """What the reports are made with is installed.

    Raises:
        ExtraMissingError: it is not.
    """
    for report in reports:
        for package in _EXTRAS.get(report.format, ()):
            import_extra(package, extra="report")


@dataclass(frozen=True)
class Made:
    """Reports that are made, and stand nowhere yet.

    Attributes:
        files: what each file is to hold.
        printed: what is to go to stdout.
        summary: what is to be appended to the summary of a step of GitHub.
    """

    files: dict[Path, bytes]
    printed: str = ""
    summary: str = ""


def made_reports(reports: Sequence[Destination], document: str, subject: "Subject") -> Made:
    """Every report of a run.

    Args:
        reports: what to make.
        document: the report for programs.
        subject: what was found.

    Raises:
        ExtraMissingError: what a report is made with is not installed.
    """
    if not reports:
        return Made({})
    from repvgg_onnx import __version__
    from repvgg_onnx.report.formats import render
    from repvgg_onnx.report.run import Run

    run = Run(__version__, shlex.join(command_line()), document, subject)
    files = {report.path: render(report.format, run).encode() for report in reports if report.path is not None}
    printed = "".join(render(report.format, run) for report in reports if report.path is None)
    annotates = any(report.format == ANNOTATIONS for report in reports)
    return Made(files, printed, render("md", run) if annotates and os.environ.get(SUMMARY) else "")


def append_summary(text: str) -> None:
    """The text is at the end of the step's summary, where a runner of GitHub has one.

    Raises:
        BadInputError: it cannot be written there.
    """
    place = os.environ.get(SUMMARY)
    if place:
        try:
            with open(place, "a", encoding="utf-8") as stream:
                stream.write(text)
        except OSError as error:
            raise BadInputError(f"{place}: {error.strerror}") from error


def failed_outcome(path: Path, error: Exception) -> "Outcome":
    """A model that is not usable, and why in a sentence."""
    from repvgg_onnx.report.model import Outcome

    shown = as_click_exception(error)
    sentence = error_line(click.ClickException(shown.message)).removeprefix("error: ")
    return Outcome(str(path), None, shown.exit_code, sentence.removeprefix(f"{path}: "))


def _require_form(text: str, formats: Sequence[str]) -> None:
    """Makes sure that a report has a format that is known, and a file unless it goes to stdout anyway."""
    name, _, path = text.partition(":")
    if name not in formats:
        raise click.BadParameter(f"{name!r} must be one of {', '.join(formats)}")
    if name == ANNOTATIONS and path:
        raise click.BadParameter(f"{ANNOTATIONS} goes to stdout and takes no path")
    if name != ANNOTATIONS and not path:
        raise click.BadParameter(f"{text!r} lacks a file; write {name}:PATH, or {name}:- for stdout")
