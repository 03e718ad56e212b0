"""Refusal codes as text for one screen of 80 columns."""

from collections.abc import Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from repvgg_onnx.report.layout import HEAD, section


def explanation(code: str, meaning: str, advice: str) -> Group:
    """One code: what it means and what a user can do."""
    return Group(Text(code, style=HEAD), Text(), Text(meaning), *section("What to do", Text(advice)))


def overview(meanings: Mapping[str, str]) -> Table:
    """One line for each code; meanings are cut where the screen ends."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    for code, meaning in meanings.items():
        table.add_row(Text(code, style=HEAD), Text(meaning, no_wrap=True, overflow="ellipsis"))
    return table
