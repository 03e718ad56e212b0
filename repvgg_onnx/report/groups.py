"""Alike regions and alike refusals gathered, so that a network of a hundred blocks fits on a screen."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from repvgg_onnx.compiler.codes import Code
from repvgg_onnx.compiler.results import Cost, Refusal, Region

Item = TypeVar("Item")


@dataclass(frozen=True)
class RegionGroup:
    """Regions that are the same but for their channels and place.

    Attributes:
        branches: what each of them sums, such as ``3x3 Conv + 1x1 Conv + identity``.
        folded: the node that each became, such as ``3x3 Conv, group 4``.
        regions: the regions, in graph order.
    """

    branches: str
    folded: str
    regions: tuple[Region, ...]

    @property
    def members(self) -> int:
        """Number of nodes that the regions stand for."""
        return sum(len(region.members) for region in self.regions)

    @property
    def cost_before(self) -> Cost:
        """Cost of what the folds remove."""
        return sum((region.cost_before for region in self.regions), Cost(0, 0))

    @property
    def cost_after(self) -> Cost:
        """Cost of the nodes in their place."""
        return sum((region.cost_after for region in self.regions), Cost(0, 0))


@dataclass(frozen=True)
class RefusalGroup:
    """Refusals of one code.

    Attributes:
        code: the code that they share.
        refusals: the refusals, in graph order.
    """

    code: str
    refusals: tuple[Refusal, ...]

    @property
    def sentence(self) -> str:
        """The sentence of the first one."""
        return self.refusals[0].sentence

    @property
    def long_form(self) -> Code:
        """What the code means, and what a user can do."""
        return self.refusals[0].long_form

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that they are about."""
        return tuple(refusal.node for refusal in self.refusals)


def group_regions(regions: Iterable[Region]) -> tuple[RegionGroup, ...]:
    """Regions gathered by branches (in any order), kernel, group and operator; groups in order of first appearance."""
    alike = gather(regions, lambda region: (tuple(sorted(region.branches)), folded_node(region)))
    return tuple(map(region_group, alike))


def region_group(alike: Sequence[Region]) -> RegionGroup:
    """Regions that are the same but for their channels and place, as one group."""
    return RegionGroup(branch_sum(alike[0]), folded_node(alike[0]), tuple(alike))


def group_refusals(refusals: Iterable[Refusal]) -> tuple[RefusalGroup, ...]:
    """Refusals gathered by code, the most frequent first."""
    alike = sorted(gather(refusals, lambda refusal: refusal.code), key=len, reverse=True)
    return tuple(RefusalGroup(same[0].code, tuple(same)) for same in alike)


def group_advice(advice: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """For each advice the codes that it is given for."""
    return {codes[0][1]: tuple(code for code, _ in codes) for codes in gather(advice.items(), lambda item: item[1])}


def branch_sum(region: Region) -> str:
    """What a region sums in words, equal branches counted: ``4 x 3x3 Conv + identity``."""
    counts = Counter(region.branches)
    return " + ".join(f"{count} x {branch}" if count > 1 else branch for branch, count in counts.items())


def folded_node(region: Region) -> str:
    """The emitted node in words: ``3x3 Conv``, ``5x5 Conv, depthwise``, ``1x1 Conv, group 4``, ``Gemm``."""
    kernel = "x".join(map(str, region.kernel_shape))
    node = f"{kernel} {region.op_type}".strip()
    if region.group == 1:
        return node
    return f"{node}, {'depthwise' if region.group == region.c_in else f'group {region.group}'}"


def gather(items: Iterable[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """Items with equal keys together, in order of first appearance."""
    gathered: dict[Hashable, list[Item]] = {}
    for item in items:
        gathered.setdefault(key(item), []).append(item)
    return list(gathered.values())
