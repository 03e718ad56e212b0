"""What one run of a model takes, as text: the figures of ``inspect`` and ``fuse``, and a table of layers."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from repvgg_onnx.census import Census, Layer, Profile
from repvgg_onnx.report.layout import HEAD, dim, grid, section
from repvgg_onnx.report.units import count, names, plural, printable, size

_NAME_WIDTH, _OPERATOR_WIDTH, _SHAPE_WIDTH = 24, 11, 13
_OPERATORS_SHOWN = 12
_COUNT_UNITS = ("", "k", "M", "B", "T")
_SIZE_UNITS = ("B", "kB", "MB", "GB", "TB")


def profile_rows(before: Profile, after: Profile) -> Iterator[tuple[str, str, str]]:
    """How a fold changes what one run takes: rows of a table."""
    yield "MACs", count(before.macs), count(after.macs)
    yield "Winograd multiplications", count(before.winograd_multiplications), count(after.winograd_multiplications)
    yield "activation traffic", size(_traffic(before)), size(_traffic(after))
    yield "peak live activations", size(before.peak_activation_bytes), size(after.peak_activation_bytes)


def census_section(census: Census, profile: Profile) -> Iterator[RenderableType]:
    """What a model is made of, what one run of it takes, and what that holds for."""
    read, written = size(profile.activation_bytes_read), size(profile.activation_bytes_written)
    rows = [
        ("nodes", _operators(census)),
        ("parameters", count(census.parameters)),
        ("MACs", f"{count(profile.macs)}; Winograd F(2x2, 3x3): {count(profile.winograd_multiplications)}"),
        ("activations", f"{read} read, {written} written; {size(profile.peak_activation_bytes)} live at the peak"),
        ("weights", f"{size(profile.weight_bytes)} read"),
        ("intensity", f"{profile.intensity:.3g} MACs per byte moved"),
    ]
    yield from section("Census", grid([(Text(label, style=HEAD), Text(value)) for label, value in rows]))
    yield from (dim(f"  {line}") for line in condition_lines(profile))


def condition_lines(profile: Profile) -> Iterator[str]:
    """What the figures hold for, and what they leave out."""
    if profile.assumed:
        sizes = names([f"{name}={_shape(profile.inputs[name])}" for name in profile.assumed])
        yield f"dynamic axes counted at {sizes}; --shape sets others"
    if profile.subgraphs:
        yield f"{plural(profile.subgraphs, 'graph')} inside nodes counted once each, however often they run"
    if profile.unknown:
        yield f"left out, since what they take is not known: {names(profile.unknown)}"


def layer_section(layers: Sequence[Layer]) -> Iterator[RenderableType]:
    """One line for each layer, in the order in which they run."""
    table = Table(box=None, pad_edge=False, header_style=HEAD, padding=(0, 1, 0, 0))
    for title in ("layer", "operator", "output"):
        table.add_column(title, overflow="fold")
    for title in ("params", "MACs", "moved", "live"):
        table.add_column(title, justify="right", no_wrap=True)
    for layer in layers:
        table.add_row(*_layer_row(layer))
    yield Text()
    yield table


def _layer_row(layer: Layer) -> Iterator[Text]:
    """The cells of one layer; what is not known is a question mark.

    Of a name the end stays, which tells layers apart, without the operator that some exporters put there.
    """
    shape = "?" if layer.output_shape is None else _shape(layer.output_shape)
    moved = layer.activation_bytes_read + layer.activation_bytes_written + layer.weight_bytes
    yield Text(_cut(printable(layer.name.removesuffix(f"/{layer.op_type}")), _NAME_WIDTH, head=0))
    yield Text(_cut(printable(layer.op_type), _OPERATOR_WIDTH, head=5))
    yield Text(_cut(shape, _SHAPE_WIDTH, head=5))
    yield Text(_brief(layer.parameters, _COUNT_UNITS))
    yield Text(_brief(layer.macs, _COUNT_UNITS) if layer.known else "?")
    yield Text(_brief(moved, _SIZE_UNITS) if layer.known else "?")
    yield Text(_brief(layer.live_bytes, _SIZE_UNITS))


def _operators(census: Census) -> str:
    """The number of nodes, and of each operator, the most frequent first."""
    ordered = sorted(census.nodes_by_op.items(), key=lambda item: -item[1])
    parts = [f"{number:,} {printable(op_type)}" for op_type, number in ordered[:_OPERATORS_SHOWN]]
    if left := sum(number for _, number in ordered[_OPERATORS_SHOWN:]):
        parts.append(f"{left:,} others")
    return f"{census.nodes:,} ({', '.join(parts)})" if parts else "0"


def _traffic(profile: Profile) -> int:
    """Bytes of activations that are read or written."""
    return profile.activation_bytes_read + profile.activation_bytes_written


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes)) or "scalar"


def _cut(text: str, width: int, *, head: int) -> str:
    """Text of bounded length: its first ``head`` characters and as much of its end as fits."""
    return text if len(text) <= width else text[:head] + "..." + text[head + 3 - width :]


def _brief(number: float, units: Sequence[str]) -> str:
    """Three digits and a unit, for a narrow column."""
    step = 0
    while number >= 999.5 and step < len(units) - 1:
        number, step = number / 1000, step + 1
    digits = 0 if not step or number >= 99.95 else 1 if number >= 9.995 else 2
    return f"{number:.{digits}f} {units[step]}".rstrip()
