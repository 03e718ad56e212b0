"""A region before and after as a small picture: boxes and lines for the template to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from repvgg_onnx.fusion.results import Region
from repvgg_onnx.report.html.layering import Edge, Placed, place
from repvgg_onnx.report.topology import Operation, conv_detail
from repvgg_onnx.report.units import printable

LARGEST = 60
"""Most nodes of a picture; of larger regions the branches are drawn, each as one box."""

_HEIGHT, _LAYER, _MARGIN = 38.0, 64.0, 6.0
_CHARACTER, _BOLD = 6.2, 7.6  # widths of a character in the labels
_NAME = 22  # most characters of a tensor's name


@dataclass(frozen=True)
class Box:
    """One node or tensor of a picture.

    Attributes:
        kind: ``tensor``, ``conv`` or ``op``.
        title: what stands in it.
        detail: what stands under that; may be empty.
        name: its whole name, for those who point at it.
    """

    kind: str
    title: str
    detail: str
    name: str

    @property
    def width(self) -> float:
        """Room for the longer line."""
        wide = _BOLD if self.kind != "tensor" else _CHARACTER
        return max(56.0, wide * len(self.title) + 20, _CHARACTER * len(self.detail) + 20)


@dataclass(frozen=True)
class PlacedBox:
    """A box with its left upper corner and its size."""

    box: Box
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Picture:
    """A drawing.

    Attributes:
        label: what it shows, for those who do not see it.
        boxes: nodes and tensors.
        lines: edges, as the paths of SVG.
        width: of the whole.
        height: of the whole.
    """

    label: str
    boxes: tuple[PlacedBox, ...]
    lines: tuple[str, ...]
    width: float
    height: float


def before_picture(region: Region, topology: Mapping[str, Operation] | None) -> Picture:
    """The nodes that the region was, with their edges where the model's own nodes are known."""
    members = {member.name: (topology or {}).get(member.name) for member in region.members}
    known = {name: operation for name, operation in members.items() if operation is not None}
    if len(known) < len(members) or len(known) > LARGEST:
        return _picture(*_branches(region), f"Before: {' + '.join(region.branches)}")
    operators = ", ".join(operation.op_type for operation in known.values())
    return _picture(*_members(region, known), f"Before: {operators}")


def after_picture(region: Region) -> Picture:
    """The node that the region became."""
    detail = conv_detail(region.kernel_shape, strides=region.strides, dilations=region.dilations, group=region.group)
    node = Box(_kind(region.op_type), region.op_type, detail, region.name)
    boxes = {"root": _tensor(region.root), "node": node, "sink": _tensor(region.sink)}
    label = f"After: one {region.op_type} {detail}, {region.c_in} to {region.c_out} channels"
    return _picture(boxes, [("root", "node"), ("node", "sink")], label)


def _members(region: Region, known: Mapping[str, Operation]) -> tuple[dict[str, Box], list[Edge]]:
    """A box for each node; one that reads nothing of the region reads its root."""
    boxes = {"root": _tensor(region.root)}
    makers: dict[str, str] = {region.root: "root"}
    edges: list[Edge] = []
    for name, operation in known.items():
        own = f"node {name}"
        above = [makers[tensor] for tensor in operation.inputs if tensor in makers]
        boxes[own] = Box(_kind(operation.op_type), printable(operation.op_type), operation.detail, name)
        edges += [(maker, own) for maker in dict.fromkeys(above or ["root"])]
        makers |= dict.fromkeys(operation.outputs, own)
    boxes["sink"] = _tensor(region.sink)
    leading = {above for above, _ in edges}
    return boxes, edges + [(own, "sink") for own in boxes if own not in leading and own != "sink"]


def _branches(region: Region) -> tuple[dict[str, Box], list[Edge]]:
    """A box for each branch, and their sum."""
    boxes, edges = {"root": _tensor(region.root)}, list[Edge]()
    last = "sum" if len(region.branches) > 1 else "sink"
    for index, branch in enumerate(region.branches):
        boxes[f"branch {index}"] = Box("conv" if "Conv" in branch else "op", printable(branch), "", branch)
        edges += [("root", f"branch {index}"), (f"branch {index}", last)]
    if last == "sum":
        boxes["sum"] = Box("op", "Sum", "", region.name)
        edges.append(("sum", "sink"))
    return boxes | {"sink": _tensor(region.sink)}, edges


def _picture(boxes: Mapping[str, Box], edges: Sequence[Edge], label: str) -> Picture:
    placed = place({key: box.width for key, box in boxes.items()}, edges)
    return Picture(
        label=printable(label),
        boxes=tuple(_placed(box, *placed.centres[key]) for key, box in boxes.items()),
        lines=tuple(map(_line, placed.paths)),
        width=placed.width + 2 * _MARGIN,
        height=_bottom(placed) + _MARGIN,
    )


def _bottom(placed: Placed) -> float:
    return _MARGIN + (placed.layers - 1) * _LAYER + _HEIGHT


def _placed(box: Box, x: float, layer: int) -> PlacedBox:
    height = _HEIGHT if box.kind != "tensor" else _HEIGHT - 12
    y = _MARGIN + layer * _LAYER + (_HEIGHT - height) / 2
    return PlacedBox(box, round(_MARGIN + x - box.width / 2, 1), round(y, 1), round(box.width, 1), height)


def _line(points: Sequence[tuple[float, int]]) -> str:
    """From box to box, vertical at both ends of every stretch."""
    path = ""
    for number, ((x, layer), (next_x, next_layer)) in enumerate(pairwise(points)):
        start = _middle(layer) if number else _middle(layer) + _HEIGHT / 2 - 1
        last = number == len(points) - 2
        end = _middle(next_layer) - (_HEIGHT / 2 + 1 if last else 0)
        half = (start + end) / 2
        path += f"M{_MARGIN + x:.1f},{start:.1f}" if not path else ""
        path += f"C{_MARGIN + x:.1f},{half:.1f} {_MARGIN + next_x:.1f},{half:.1f} {_MARGIN + next_x:.1f},{end:.1f}"
    return path


def _middle(layer: int) -> float:
    return _MARGIN + layer * _LAYER + _HEIGHT / 2


def _tensor(name: str) -> Box:
    shown = printable(name)
    return Box("tensor", shown if len(shown) <= _NAME else "…" + shown[1 - _NAME :], "", name)


def _kind(op_type: str) -> str:
    return "conv" if op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") else "op"
