"""Refusal codes as text for one screen of 80 columns."""

from collections.abc import Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from repvgg_onnx.compiler.codes import Code
from repvgg_onnx.report.layout import HEAD, section


def explanation(code: str, long_form: Code) -> Group:
    """One code: what it means and what a user can do."""
    return Group(
        Text(code, style=HEAD), Text(), Text(long_form.meaning), *section("What to do", Text(long_form.advice))
    )


def overview(codes: Mapping[str, Code]) -> Table:
    """One line for each code; meanings are cut where the screen ends."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for code, long_form in codes.items():
        table.add_row(Text(code, style=HEAD), Text(long_form.meaning, no_wrap=True, overflow="ellipsis"))
    return table
