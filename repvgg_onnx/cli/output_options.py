"""Options about what a command says, and where."""

import click

from repvgg_onnx.cli.boundary import remember_debug
from repvgg_onnx.cli.options import together


class JsonOption(click.Option):
    """``--json`` or ``--json=PATH``; ``boundary`` has written the first as ``--json=-`` before click reads it."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option with its value behind an equals sign, the only place where it can stand."""
        record = super().get_help_record(ctx)
        return record and ("--json[=PATH]", record[1])


json_option = click.option(
    "--json", "json_path", cls=JsonOption, metavar="PATH", help="Write the report as JSON, to stdout without =PATH."
)
"""``--json`` and ``--json=PATH``."""
quiet_option = click.option("--quiet", is_flag=True, help="Print nothing but errors.")
"""``--quiet``."""
debug_option = click.option(
    "--debug", is_flag=True, is_eager=True, expose_value=False, callback=remember_debug, help="Show tracebacks."
)
"""``--debug``, which the boundary acts on."""
output_options = together(json_option, quiet_option, debug_option)
"""The options that make an ``Output``, and ``--debug``."""

all_option = click.option(
    "--all", "every", is_flag=True, help="List every refusal, also those for which nothing can be done."
)
"""``--all`` of commands that list refusals briefly."""
