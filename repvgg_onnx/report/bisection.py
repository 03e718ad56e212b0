"""Where two models begin to differ, as text."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from repvgg_onnx.checks.bisection import Bisection, TensorParity
from repvgg_onnx.report.layout import BAD, GOOD, HEAD, ROWS_SHOWN, dim
from repvgg_onnx.report.units import names, plural, printable


def bisection_report(bisection: Bisection) -> Group:
    """The tensors at which errors arise, the first in full, then the worst of all."""
    return Group(*_lines(bisection))


def _lines(bisection: Bisection) -> Iterator[RenderableType]:
    if bisection.obstacle:
        yield Text(printable(bisection.obstacle), style=BAD)
        return
    compared = f"{plural(len(bisection.tensors), 'shared tensor')} compared at {bisection.level}"
    yield Text(f"{compared}, tolerance {bisection.tolerance:g}")
    yield from _origin_lines(bisection)
    yield Text()
    yield _table(bisection.worst[:ROWS_SHOWN])
    left = len(bisection.tensors) - ROWS_SHOWN
    if left > 0:
        yield dim(f"and {plural(left, 'tensor')} more, see --json")


def _origin_lines(bisection: Bisection) -> Iterator[Text]:
    """Where to look."""
    if not bisection.origins:
        yield Text("no tensor differs", style=GOOD)
        return
    first, *others = bisection.origins
    computed_by = f"{printable(first.op_type)} {printable(first.node)}"
    how = printable(first.reason) or f"error {first.error:.2g}"
    yield Text(f"first difference: tensor {printable(first.name)} of {computed_by}: {how}", style=BAD)
    yield dim(f"the tensors that it is computed from agree to {first.error_of_inputs:.2g}; seen on {first.feed}")
    if len(first.members) > 1:
        yield dim(f"{plural(len(first.members), 'node')} between them: {names(first.members)}")
    if others:
        yield Text(f"errors also arise at {names([tensor.name for tensor in others])}", style=BAD)


def _table(tensors: tuple[TensorParity, ...]) -> Table:
    """Tensors with their errors, and those of what they are computed from."""
    table = Table(box=None, pad_edge=False, header_style=HEAD)
    table.add_column("worst tensors", overflow="fold")
    table.add_column("operator", overflow="fold")
    table.add_column("error", justify="right", no_wrap=True)
    table.add_column("inputs", justify="right", no_wrap=True)
    for tensor in tensors:
        name, op_type = names([tensor.name]), printable(tensor.op_type)
        table.add_row(name, op_type, f"{tensor.error:.2g}", f"{tensor.error_of_inputs:.2g}")
    return table
