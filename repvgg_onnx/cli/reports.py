"""``--report FORMAT:PATH``: any number of files that a run is written to besides what it prints."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from repvgg_onnx.cli.boundary import BadInputError, about, as_click_exception, command_line, error_line
from repvgg_onnx.extras import import_extra

if TYPE_CHECKING:
    from repvgg_onnx.report.model import Outcome
    from repvgg_onnx.report.run import Run, Subject

Command = TypeVar("Command", bound=Callable[..., Any])

ANNOTATIONS = "github"
"""The format that goes to stdout, and whose summary goes to the file that GITHUB_STEP_SUMMARY names."""
FORMATS = ("json", "junit", "md", "html", "sarif", ANNOTATIONS)
"""Every format; ``junit``, ``sarif`` and ``github`` are about checks."""
MEASURED = ("json", "md", "html")
"""The formats of a command that checks nothing."""

_SUMMARY = "GITHUB_STEP_SUMMARY"
_EXTRAS = {"html": ("jinja2", "matplotlib")}


@dataclass(frozen=True)
class Destination:
    """One report to write.

    Attributes:
        format: one of FORMATS.
        path: the file; None for ``github``.
    """

    format: str
    path: Path | None


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
    return tuple(map(_destination, texts))


def relocated(text: str, folder: Path) -> str:
    """The text of a report of a file of settings: its path is relative to that file's folder."""
    name, colon, path = text.partition(":")
    return f"{name}:{folder / path}" if colon and path else text


def require_renderers(reports: Sequence[Destination]) -> None:
    """What the reports are made with is installed.

    Raises:
        ExtraMissingError: it is not.
    """
    for report in reports:
        for package in _EXTRAS.get(report.format, ()):
            import_extra(package, extra="report")


def write_reports(reports: Sequence[Destination], document: str, subject: "Subject") -> None:
    """Every report stands in its file, whole.

    Args:
        reports: what to write.
        document: the report for programs.
        subject: what was found.

    Raises:
        BadInputError: a file cannot be written.
        ExtraMissingError: what a report is made with is not installed.
    """
    if not reports:
        return
    from repvgg_onnx.graph.save import write_bytes
    from repvgg_onnx.report.formats import render

    run = _run(document, subject)
    for report in reports:
        if report.path is None:
            click.echo(render(report.format, run), nl=False)
            _append_summary(run)
            continue
        with about(report.path):
            write_bytes(render(report.format, run).encode(), report.path)


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
        raise click.BadParameter(f"{name!r} is none of {', '.join(formats)}")
    if name == ANNOTATIONS and path:
        raise click.BadParameter(f"{ANNOTATIONS} goes to stdout and takes no path")
    if name != ANNOTATIONS and path in ("", "-"):
        raise click.BadParameter(f"{text!r} names no file; write {name}:PATH")


def _destination(text: str) -> Destination:
    name, _, path = text.partition(":")
    return Destination(name, Path(path) if path else None)


def _run(document: str, subject: "Subject") -> "Run":
    from repvgg_onnx import __version__
    from repvgg_onnx.report.run import Rule, Run

    rules = {name: Rule(*entry) for name, entry in _codes()}
    return Run(__version__, shlex.join(command_line()), document, subject, rules)


def _codes() -> Iterator[tuple[str, tuple[str, str, bool]]]:
    from repvgg_onnx.fusion.codes import CODES

    yield from ((name, (code.meaning, code.advice, code.actionable)) for name, code in CODES.items())


def _append_summary(run: "Run") -> None:
    """The Markdown is at the end of the step's summary, where a runner of GitHub has one.

    Raises:
        BadInputError: it cannot be written there.
    """
    from repvgg_onnx.report.formats import render

    place = os.environ.get(_SUMMARY)
    if place:
        try:
            with open(place, "a", encoding="utf-8") as stream:
                stream.write(render("md", run))
        except OSError as error:
            raise BadInputError(f"{place}: {error.strerror}") from error
