"""Options about what a command says, and where."""

import click

from repvgg_onnx.cli.boundary import remember_debug
from repvgg_onnx.cli.options import Command


def output_options(command: Command) -> Command:
    """The options that make an ``Output``, and ``--debug``."""
    return json_option(quiet_option(debug_option(command)))


class JsonOption(click.Option):
    """``--json`` or ``--json=PATH``; ``boundary`` has written the first as ``--json=-`` before click reads it."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option with its value behind an equals sign, the only place where it can stand."""
        record = super().get_help_record(ctx)
        return record and ("--json[=PATH]", record[1])


def json_option(command: Command) -> Command:
    """``--json`` and ``--json=PATH``."""
    return click.option(
        "--json",
        "json_path",
        cls=JsonOption,
        metavar="PATH",
        help="Write the report as JSON, to stdout without =PATH.",
    )(command)


def quiet_option(command: Command) -> Command:
    """``--quiet``."""
    return click.option("--quiet", is_flag=True, help="Print nothing but errors.")(command)


def debug_option(command: Command) -> Command:
    """``--debug``, which the boundary acts on."""
    return click.option(
        "--debug",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=remember_debug,
        help="Show tracebacks.",
    )(command)


def all_option(command: Command) -> Command:
    """``--all`` of commands that list refusals briefly."""
    return click.option(
        "--all", "every", is_flag=True, help="List every refusal, also those for which nothing can be done."
    )(command)
