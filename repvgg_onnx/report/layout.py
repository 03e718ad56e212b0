"""What the reports for a terminal are built from."""

from collections.abc import Iterable, Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from repvgg_onnx.report.units import plural

GOOD, BAD, WARNING, QUIET, HEAD = "green", "bold red", "yellow", "dim", "bold"
"""Styles, which only add to the text."""

ROWS_SHOWN = 10
"""Most rows of one kind on a screen."""


def section(title: str, body: RenderableType) -> Iterator[RenderableType]:
    """A title and, indented under it, a body."""
    yield Text()
    yield Text(title, style=HEAD)
    yield Padding(body, (0, 0, 0, 2), expand=False)


def grid(rows: list[tuple[Text, Text]]) -> Table:
    """Counts and texts in two columns."""
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def shortened(rows: list[tuple[Text, Text]], noun: str, *, see: str) -> list[tuple[Text, Text]]:
    """The first rows, and how many more there are and which option shows them."""
    left = len(rows) - ROWS_SHOWN
    return [*rows[:ROWS_SHOWN], (Text(), dim(f"and {plural(left, noun)} more, see {see}"))] if left > 0 else rows


def dim(text: str) -> Text:
    """Text of lesser weight."""
    return Text(text, style=QUIET)


def noisy_lines(sentences: Iterable[str]) -> Iterator[Text]:
    """What speaks against figures that were measured."""
    for sentence in sentences:
        yield Text(f"noisy: {sentence}", style=WARNING)
