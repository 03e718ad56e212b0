"""Small directed graphs laid out in layers, from the root at the top to the sink at the bottom.

Source: Sugiyama, Tagawa and Toda, Methods for Visual Understanding of Hierarchical System Structures (1981): layers by
longest path, edges over several layers cut by waypoints, orders by barycentre.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from repvgg_onnx.report.groups import gather

Edge = tuple[str, str]
SWEEPS = 4
_GAP, _WAYPOINT = 16.0, 12.0


@dataclass(frozen=True)
class Placed:
    """Where the nodes and edges of a graph are.

    Attributes:
        centres: middle of each node, x and layer.
        paths: for each edge the points that it runs through, x and layer.
        width: extent of all nodes.
        layers: number of layers.
    """

    centres: Mapping[str, tuple[float, int]]
    paths: tuple[tuple[tuple[float, int], ...], ...]
    width: float
    layers: int


def place(widths: Mapping[str, float], edges: Sequence[Edge]) -> Placed:
    """A layout in which every edge leads down.

    Args:
        widths: width of each node; every node stands after those that lead to it.
        edges: pairs of nodes.
    """
    layer = _layers(list(widths), edges)
    chains = [_chain(number, edge, layer) for number, edge in enumerate(edges)]
    level = layer | {point: at for chain in chains for at, point in enumerate(chain, layer[chain[0]])}
    rows = gather(level, lambda name: level[name])
    rows.sort(key=lambda row: level[row[0]])
    links = [link for chain in chains for link in pairwise(chain)]
    for _ in range(SWEEPS):
        _order(rows, links)
        _order(rows[::-1], [(below, above) for above, below in links])
    across = _spread(rows, {name: widths.get(name, _WAYPOINT) for name in level})
    total = max((across[row[-1]] + widths.get(row[-1], _WAYPOINT) / 2 for row in rows), default=0.0)
    points = {name: (across[name], level[name]) for name in level}
    paths = tuple(tuple(points[name] for name in chain) for chain in chains)
    return Placed({name: points[name] for name in widths}, paths, total, len(rows))


def _layers(names: Sequence[str], edges: Sequence[Edge]) -> dict[str, int]:
    """The longest path from the top to each node."""
    layer: dict[str, int] = {}
    for name in names:
        layer[name] = max((layer[above] + 1 for above, below in edges if below == name), default=0)
    return layer


def _chain(number: int, edge: Edge, layer: Mapping[str, int]) -> list[str]:
    """An edge with a waypoint in each layer that it crosses."""
    above, below = edge
    return [above, *(f"\0{number} {at}" for at in range(layer[above] + 1, layer[below])), below]


def _order(rows: Sequence[list[str]], links: Sequence[Edge]) -> None:
    """Puts each row in the order of the middles of what leads to its nodes."""
    for previous, row in pairwise(rows):
        place_of = {name: index - (len(previous) - 1) / 2 for index, name in enumerate(previous)}
        own = {name: index - (len(row) - 1) / 2 for index, name in enumerate(row)}
        leading = {name: [place_of[above] for above, below in links if below == name] for name in row}
        row.sort(key=lambda name: sum(leading[name]) / len(leading[name]) if leading[name] else own[name])


def _spread(rows: Sequence[Sequence[str]], widths: Mapping[str, float]) -> dict[str, float]:
    """Middles of the nodes of every row, side by side, each row in the middle of the widest one."""
    extents = [sum(widths[name] for name in row) + _GAP * (len(row) - 1) for row in rows]
    across: dict[str, float] = {}
    for row, extent in zip(rows, extents, strict=True):
        left = (max(extents) - extent) / 2
        for name in row:
            across[name] = left + widths[name] / 2
            left += widths[name] + _GAP
    return across
