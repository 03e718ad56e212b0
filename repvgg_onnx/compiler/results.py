"""What the compiler reports: regions that were folded and reasons why others were not."""

from dataclasses import dataclass

from repvgg_onnx.compiler.codes import CODES, Code

PROVENANCE = "repvgg_onnx.members"
"""Key of the node metadata that lists the nodes which an emitted node stands for."""


@dataclass(frozen=True)
class Refusal:
    """Why a node ends a region or a region was not folded.

    Attributes:
        code: stable identifier, such as ``strides-differ``.
        node: name of the node that it is about (its first output where it has no name).
        sentence: one sentence that a user can act on.
    """

    code: str
    node: str
    sentence: str

    @property
    def long_form(self) -> Code:
        """What the code means, and what a user can do."""
        return CODES[self.code]


@dataclass(frozen=True)
class Member:
    """One original node of a region.

    Attributes:
        name: the node's name, or its first output where it has none.
        op_type: the ONNX operator.
    """

    name: str
    op_type: str


@dataclass(frozen=True)
class Cost:
    """What running some nodes once costs.

    Attributes:
        macs: multiply-adds.
        bytes: bytes of activations and weights read and written; of a Transpose, which does so out of order, twice.
    """

    macs: int
    bytes: int

    @property
    def total(self) -> int:
        """Multiply-adds plus bytes, the figure that is compared."""
        return self.macs + self.bytes

    def __add__(self, other: "Cost") -> "Cost":
        """Cost of both."""
        return Cost(self.macs + other.macs, self.bytes + other.bytes)


@dataclass(frozen=True)
class Region:
    """One affine region and the node that stands for it.

    Attributes:
        name: name of the node that was emitted.
        root: tensor that the region is affine in.
        sink: tensor that the region computes.
        members: the original nodes, in graph order.
        branches: what was summed, in words, such as ``("3x3 Conv", "1x1 Conv", "identity")``.
        op_type: operator of the emitted node.
        c_in: input channels.
        c_out: output channels.
        kernel_shape: spatial shape of the kernel, empty for a Gemm or MatMul.
        strides: one per spatial axis.
        pads: ONNX order, all begins and then all ends; empty where they follow from sizes at run time.
        dilations: one per spatial axis.
        group: number of groups.
        cost_before: cost of the nodes that the fold removes.
        cost_after: cost of the emitted node.
        moved: what was moved and where to, in words, if the region is a map that stands elsewhere now; the figures
            above are then those of the map, or of its first part. Empty for a fold.
    """

    name: str
    root: str
    sink: str
    members: tuple[Member, ...]
    branches: tuple[str, ...]
    op_type: str
    c_in: int
    c_out: int
    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    group: int
    cost_before: Cost
    cost_after: Cost
    moved: str = ""
