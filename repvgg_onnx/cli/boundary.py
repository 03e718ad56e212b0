"""Where exceptions become one line on stderr and an exit code."""

import contextlib
import io
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from typing import Any

import click

from repvgg_onnx.errors import CheckError, ExtraMissingError, RepvggOnnxError, RunError

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells report it."""
BROKEN_PIPE = 141
"""Exit code when the reader of stdout has gone away, as shells report it."""

_DEBUG = "repvgg_onnx.debug"
_ARGUMENTS = "repvgg_onnx.arguments"


class CheckFailedError(click.ClickException):
    """Outputs differ, a gate of the user's was not met, or foldable regions are left."""

    exit_code = 1


class MisuseError(click.ClickException):
    """The command cannot be carried out as it was given."""

    exit_code = 2


class BadInputError(click.ClickException):
    """The input cannot be used, or the output not be written."""

    exit_code = 3


class Boundary(click.Group):
    """A group of commands that return exit codes and whose errors are one line."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line and exit; see ``click.Command.main`` for the arguments."""
        _never_fail_to_print()
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except click.ClickException as error:
            click.echo(error_line(error), err=True)
            code = error.exit_code
        except click.Abort:
            code = INTERRUPTED
        sys.exit(code)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments for ``command_line``, and parse them."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, _with_json_separate(args))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command, or an error that knows what to do about a model in its place."""
        name = args[0]
        if name not in self.commands and (name.endswith(".onnx") or os.path.exists(name)):
            meant = shlex.join(("repvgg-onnx", "fuse", *args))
            raise click.UsageError(f"{name} is not a command; for a model, run '{meant}'", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for; whatever it raises is a ``ClickException`` from here on."""
        try:
            code = super().invoke(ctx)
            if sys.stdout is not None:  # it is where the caller has closed it
                sys.stdout.flush()
        except BrokenPipeError:
            return _hang_up()
        except (click.exceptions.Exit, click.Abort, click.UsageError, CheckFailedError):
            raise
        except Exception as error:
            if is_debugging(ctx):
                traceback.print_exception(error)
            raise as_click_exception(error) from error
        return code


@contextlib.contextmanager
def about(subject: str | os.PathLike[str]) -> Iterator[None]:
    """Errors of the package that leave the block name the file that they are about."""
    try:
        yield
    except RepvggOnnxError as error:
        raise _explained(error, f"{os.fspath(subject)}: ") from error


def remember_debug(ctx: click.Context, _parameter: click.Parameter, debug: bool) -> None:
    """Callback of ``--debug``: the boundary shows tracebacks, and so do faults that cost no more than a region."""
    ctx.meta[_DEBUG] = debug
    if debug:
        log, handler = logging.getLogger("repvgg_onnx"), logging.StreamHandler()
        level = log.level
        log.addHandler(handler)
        log.setLevel(logging.DEBUG)
        ctx.call_on_close(lambda: log.removeHandler(handler))
        ctx.call_on_close(lambda: log.setLevel(level))


def is_debugging(ctx: click.Context) -> bool:
    """Whether ``--debug`` was given."""
    return bool(ctx.meta.get(_DEBUG))


def command_line() -> tuple[str, ...]:
    """The command that runs, as the user gave it; without arguments in a process that was started to help with it."""
    ctx = click.get_current_context(silent=True)
    return ("repvgg-onnx", *(ctx.meta[_ARGUMENTS] if ctx else ()))


def as_click_exception(error: Exception) -> click.ClickException:
    """Any exception as one that the user can read."""
    if isinstance(error, click.ClickException):
        return error
    if isinstance(error, RepvggOnnxError):
        return _explained(error)
    if isinstance(error, OSError) and error.filename is not None:
        return MisuseError(f"{os.fsdecode(error.filename)}: {error.strerror}")
    if isinstance(error, OSError) and error.strerror:
        return BadInputError(f"the output cannot be written: {error.strerror}")
    if isinstance(error, MemoryError):
        return BadInputError("not enough memory")
    return BadInputError(f"internal error: {type(error).__name__}: {error} (run with --debug)")


def _with_json_separate(args: Sequence[str]) -> list[str]:
    """The arguments with a bare ``--json`` written as ``--json=-``, so that it takes nothing from what follows.

    An option with an optional value would take the next argument, which may be a model: ``check --json *.onnx``.

    Raises:
        UsageError: a path follows that is surely meant as the file to write to.
    """
    end = args.index("--") if "--" in args else len(args)
    bare = [index for index in range(end) if args[index] == "--json"]
    for index in bare:
        path = next(iter(args[index + 1 : end]), "")
        if path.lower().endswith(".json"):
            raise click.UsageError(f"write --json={path}: without '=', --json goes to stdout and takes no path")
    dropped = {index + 1 for index in bare if args[index + 1 : index + 2] == ["-"]}  # --json - says the same
    return [f"{arg}=-" if index in bare else arg for index, arg in enumerate(args) if index not in dropped]


def _explained(error: RepvggOnnxError, prefix: str = "") -> click.ClickException:
    """An error of the package as one that has its exit code."""
    misused = isinstance(error, CheckError | ExtraMissingError) and not isinstance(error, RunError)
    kind = MisuseError if misused else BadInputError
    return kind(f"{prefix}{error}")


def error_line(error: click.ClickException) -> str:
    """The one line that a user sees."""
    sentence = "".join(char if char.isprintable() else " " for char in error.format_message())
    line = f"error: {' '.join(sentence.split()).rstrip('.')}"
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{line} (see '{error.ctx.command_path} --help')"
    return line


def _never_fail_to_print() -> None:
    """Characters that stdout and stderr cannot encode are written as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _hang_up() -> int:
    """Nothing more is written to a stdout that nobody reads, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
