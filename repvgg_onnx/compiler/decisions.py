"""Which regions are to be one node where somebody knows better than the cost rule: plain values, no graph."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from repvgg_onnx.compiler.results import Region


class Ends(NamedTuple):
    """What tells a region apart from every other one of the main graph.

    Attributes:
        root: tensor that the region is affine in.
        sink: tensor that it computes.
    """

    root: str
    sink: str


@dataclass(frozen=True)
class Decisions:
    """What to fold and what to keep, whatever it costs; the cost rule judges the rest.

    Attributes:
        folds: by root and sink of regions of the main graph, whether they are to be one node.
        keep_all: nothing is folded at all, inside subgraphs neither.
    """

    folds: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    keep_all: bool = False

    def keeps(self, root: str, sink: str) -> bool:
        """Whether the region is to stay as it is."""
        return self.keep_all or not self.folds.get((root, sink), True)

    def forces(self, root: str, sink: str) -> bool:
        """Whether the region is to be one node even if the cost rule turns it down."""
        return self.folds.get((root, sink), False)

    def also(self, folds: Mapping[tuple[str, str], bool]) -> "Decisions":
        """These decisions and others, which win where both decide."""
        return replace(self, folds={**self.folds, **folds})

    def within(self, tensors: Collection[str]) -> "Decisions":
        """The decisions about regions that end in one of these tensors."""
        return replace(self, folds={ends: fold for ends, fold in self.folds.items() if ends[1] in tensors})

    @property
    def sinks(self) -> tuple[str, ...]:
        """Where the regions end that are decided about, in the order of the decisions."""
        return tuple(sink for _, sink in self.folds)


UNDECIDED = Decisions()
"""The cost rule judges everything."""


@dataclass(frozen=True)
class Doubt:
    """A choice of the cost rule that only a measurement can confirm.

    Attributes:
        regions: one region, or several that pay off only together.
        wanted: whether the cost rule folds them.
        folded: whether they are folded: wanted, or forced by a decision.
    """

    regions: tuple[Region, ...]
    wanted: bool
    folded: bool

    @property
    def ends(self) -> tuple[Ends, ...]:
        """Root and sink of each region."""
        return tuple(Ends(region.root, region.sink) for region in self.regions)

    def decided(self, *, fold: bool) -> dict[tuple[str, str], bool]:
        """The decision for each of its regions."""
        return dict.fromkeys(self.ends, fold)
