"""A region before and after as what it is, a sum of chains: nested boxes, which the browser lays out in any width."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import takewhile

from repvgg_onnx.census.topology import Operation, conv_detail
from repvgg_onnx.compiler.results import Region
from repvgg_onnx.report.groups import gather
from repvgg_onnx.report.units import printable

LARGEST = 60
"""Most nodes of a picture; of larger regions the branches are drawn, each as one box."""

_NAME = 22  # most characters of a tensor's name
_SUMS = ("Add", "Sum")


@dataclass(frozen=True)
class Box:
    """One node or tensor of a picture.

    Attributes:
        kind: ``tensor``, ``conv``, ``op`` or ``identity``.
        title: what stands in it.
        detail: what stands under that; may be empty.
        name: its whole name, for those who point at it.
        times: how many nodes it stands for.
    """

    kind: str
    title: str
    detail: str = ""
    name: str = ""
    times: int = 1


@dataclass(frozen=True)
class Fork:
    """Chains side by side, which begin with the same tensor and end in the box after the fork.

    Attributes:
        chains: each kind of chain once, with how many there are.
        summed: whether that box adds them up.
    """

    chains: "tuple[tuple[int, Chain], ...]"
    summed: bool


Chain = tuple[Box | Fork, ...]


@dataclass(frozen=True)
class Picture:
    """A drawing.

    Attributes:
        label: what it shows, for those who do not see it.
        chain: from the root to the sink.
    """

    label: str
    chain: Chain


def before_picture(region: Region, topology: Mapping[str, Operation] | None) -> Picture:
    """The nodes that the region was, as they hang together where the model's own nodes are known."""
    members = {member.name: (topology or {}).get(member.name) for member in region.members}
    known = {name: operation for name, operation in members.items() if operation is not None}
    makers = {tensor: name for name, operation in known.items() for tensor in operation.outputs}
    drawn = len(known) == len(members) <= LARGEST and region.sink in makers
    if not drawn or _unfolded(region.sink, known, makers) > LARGEST:
        boxes = [Box("conv" if "Conv" in branch else "op", printable(branch), "", branch) for branch in region.branches]
        whole = Box("op", "Sum", "", region.name)
        chain = tuple(boxes) if len(boxes) == 1 else _joined([(box,) for box in boxes], whole)
        return _picture(region, chain, f"Before: {' + '.join(region.branches)}")
    operators = ", ".join(operation.op_type for operation in known.values())
    return _picture(region, _chain(region.sink, region.root, known, makers), f"Before: {operators}")


def after_picture(region: Region) -> Picture:
    """The node that the region became."""
    detail = conv_detail(region.kernel_shape, strides=region.strides, dilations=region.dilations, group=region.group)
    node = Box(_kind(region.op_type), printable(region.op_type), detail, region.name)
    label = f"After: one {region.op_type} {detail}, {region.c_in} to {region.c_out} channels"
    return _picture(region, (node,), label)


def _picture(region: Region, chain: Chain, label: str) -> Picture:
    return Picture(printable(label), (_tensor(region.root), *chain, _tensor(region.sink)))


def _unfolded(tensor: str, known: Mapping[str, Operation], makers: Mapping[str, str]) -> int:
    """How many boxes lead to a tensor, where a node stands in every chain that it is part of."""

    @cache
    def boxes(tensor: str) -> int:
        return 1 + sum(map(boxes, known[makers[tensor]].inputs)) if tensor in makers else 0

    return boxes(tensor)


def _chain(tensor: str, root: str, known: Mapping[str, Operation], makers: Mapping[str, str]) -> Chain:
    """What leads from the root to a tensor; a node that reads nothing of the region reads its root."""
    if tensor not in makers:
        return ()
    name = makers[tensor]
    operation = known[name]
    box = Box(_kind(operation.op_type), printable(operation.op_type), operation.detail, name)
    reads = [read for read in operation.inputs if read in makers or read == root] or [root]
    ways = [_chain(read, root, known, makers) for read in reads]
    if len(ways) == 1:
        return (*ways[0], box)
    # What all chains begin with stands before the fork, so that a node is drawn once wherever that can be.
    shared = sum(1 for _ in takewhile(lambda steps: len(set(steps)) == 1, zip(*ways, strict=False)))
    return (*ways[0][:shared], *_joined([way[shared:] for way in ways], box))


def _joined(ways: Sequence[Chain], box: Box) -> Chain:
    """Chains and the box that joins them; a sum of a sum and something else is one sum."""
    summed, chains = box.title in _SUMS, list[Chain]()
    for way in ways:
        match way:
            case (Fork(inner, True), Box() as last) if summed and last.title == box.title:
                chains += [chain for times, chain in inner for _ in range(times)]
                box = replace(box, times=box.times + last.times)
            case _:
                chains.append(way or (Box("identity", "identity"),))
    alike = gather(chains, _looks)
    return Fork(tuple((len(same), same[0]) for same in alike), summed), box


def _looks(chain: Chain) -> tuple[object, ...]:
    """What alike chains have in common: everything but names."""
    return tuple(
        replace(step, name="") if isinstance(step, Box) else tuple((times, _looks(each)) for times, each in step.chains)
        for step in chain
    )


def _tensor(name: str) -> Box:
    shown = printable(name)
    return Box("tensor", shown if len(shown) <= _NAME else "…" + shown[1 - _NAME :], "", name)


def _kind(op_type: str) -> str:
    return "conv" if op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") else "op"
