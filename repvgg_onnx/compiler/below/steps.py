"""Nodes as spatial operators: what they do to the axes besides the channels, and where they name the channels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from repvgg_onnx.affine.geometry import Size
from repvgg_onnx.affine.spatial import Arranged, Averaged, Cut, Interpolation, Resampled, Spatial
from repvgg_onnx.compiler.lifters.channels import slice_bounds
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.dims import Dims, Sizes, product
from repvgg_onnx.graph.dims import Size as DimSize
from repvgg_onnx.graph.view import NodeView

FIRST_WITH_SIZES = 11  # version of Resize that knows sizes, and regions to read from


@dataclass(frozen=True)
class Names:
    """Where a node is told how many channels to make.

    Attributes:
        index: of the input that holds the shape.
        entry: of the channels in it.
        computed: whether it is known at run time only.
        others: where it is put together of the batch and the channels of what the node reads and of other tensors,
            those; empty where it is not.
    """

    index: int
    entry: int
    computed: bool
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """A node that does the same to every channel and keeps constants.

    Attributes:
        operator: what it does.
        channel_axes: where the channels are in what it reads and in what it makes.
        names: where it says how many channels there are; None for nowhere.
        node: the node.
    """

    operator: Spatial
    channel_axes: tuple[int, int]
    names: Names | None = field(compare=False)
    node: NodeView = field(compare=False)

    @property
    def source(self) -> str:
        """The tensor that it reads."""
        return self.node.inputs[0]

    @property
    def shapes(self) -> tuple[str, ...]:
        """Tensors that say at run time what shape to give."""
        if self.names is None or not self.names.computed:
            return ()
        return self.names.others or (self.node.inputs[self.names.index],)

    @property
    def words(self) -> str:
        """The step in words, such as ``Resize x4``."""
        if isinstance(self.operator, Resampled):
            scales = [scale for scale in self.operator.scales if scale != 1]
            if None not in scales and scales:
                shown = [f"{scale:.3g}" for scale in scales if scale is not None]
                return f"{self.node.op_type} x{shown[0] if len(set(shown)) == 1 else 'x'.join(shown)}"
        return self.node.op_type


Reading: TypeAlias = tuple[Spatial, tuple[int, int], Names | None]
_Reader: TypeAlias = Callable[[NodeView, int, Sizes, Sizes], Reading]
_READERS: dict[str, tuple[_Reader, frozenset[str]]] = {}


def reads(*op_types: str, attributes: Sequence[str]) -> Callable[[_Reader], _Reader]:
    """Registers what reads these operators; a node with another attribute is refused."""

    def register(reader: _Reader) -> _Reader:
        _READERS.update(dict.fromkeys(op_types, (reader, frozenset(attributes))))
        return reader

    return register


def is_spatial(node: NodeView) -> bool:
    """Whether the node may be a spatial operator."""
    return node.op_type in _READERS


def step_of(node: NodeView, axis: int, dims: Dims, *, forward: bool = False) -> Step:
    """The node as a spatial operator.

    Args:
        node: of an operator that may be one.
        dims: sizes of the graph's tensors.
        axis: where the channels are in what it makes, or, ``forward``, in what it reads.
        forward: which of the two is given.

    Raises:
        LiftError: it is none, or not known to be one.
    """
    reader, known = _READERS[node.op_type]
    unknown = sorted(set(node.attributes) - known)
    if unknown:
        raise LiftError("unknown-attribute", f"{node.op_type} has the unknown attribute {unknown[0]!r}")
    before, after = (dims.shape(name) for name in (node.inputs[0], node.outputs[0]))
    if before is None or after is None or node.is_constant(0):
        raise LiftError("sizes-unknown", f"{node.op_type} has an unknown number of axes")
    if forward:
        axis = _axis_after(node, axis, dims, len(after))
    if not 0 <= axis < len(after):
        raise LiftError("layout", f"{node.op_type} does not make the axis of the channels")
    operator, channel_axes, names = reader(node, axis, before, after)
    if channel_axes[0] >= len(before) or before[channel_axes[0]] != after[channel_axes[1]]:
        raise LiftError("layout", f"{node.op_type} changes the number of channels, or it is not known not to")
    if not operator.keeps_constants:
        raise LiftError("not-affine", f"{node.op_type} is not known to leave a constant image as it is")
    if names is not None and names.computed:
        names = replace(names, others=_others(node, names, dims))
    return Step(operator, channel_axes, names, node)


def _others(node: NodeView, names: Names, dims: Dims) -> tuple[str, ...]:
    """What a shape is joined of behind the batch and the channels of what the node reads."""
    shape = node.inputs[names.index]
    maker, asked, sizes = node.graph.makers.get(shape), dims.values(shape), dims.shape(node.inputs[0])
    if maker is None or maker.op_type != "Concat" or asked is None or sizes is None or names.entry != 1:
        return ()
    first = dims.values(maker.inputs[0])
    return tuple(maker.inputs[1:]) if first is not None and len(first) == 2 and first == sizes[:2] else ()


def _axis_after(node: NodeView, axis: int, dims: Dims, rank: int) -> int:
    """Where the channels are in what a node makes that has them at this axis in what it reads."""
    for candidate in range(rank):
        try:
            if step_of(node, candidate, dims).channel_axes[0] == axis:
                return candidate
        except LiftError:
            continue
    raise LiftError("layout", f"{node.op_type} does not keep the channels apart")


def _without(sizes: Sizes, axis: int) -> Size:
    return tuple(size.known for index, size in enumerate(sizes) if index != axis)


@reads(
    "Resize",
    "Upsample",
    attributes=(
        *("antialias", "axes", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside"),
        *("extrapolation_value", "keep_aspect_ratio_policy", "mode", "nearest_mode", "scales"),
    ),
)
def read_resize(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Source: ONNX operator specification, Resize versions 10 to 19 and Upsample versions 7 to 10."""
    given = node.attributes
    modern = node.op_type == "Resize" and node.graph.opset >= FIRST_WITH_SIZES
    usual = ("half_pixel", "round_prefer_floor") if modern else ("asymmetric", "floor")
    mode = given.get("mode", b"nearest").decode(errors="replace")
    rule = Interpolation(
        "linear" if mode == "bilinear" and not modern else mode,
        given.get("coordinate_transformation_mode", usual[0].encode()).decode(errors="replace"),
        given.get("nearest_mode", usual[1].encode()).decode(errors="replace") if mode == "nearest" else "",
        float(given.get("cubic_coeff_a", -0.75)) if mode == "cubic" else -0.75,
        bool(given.get("exclude_outside", 0)),
        bool(given.get("antialias", 0)),
    )
    axes = [index + len(before) if index < 0 else index for index in given.get("axes", range(len(before)))]
    by_size = modern and node.has_input(3)
    keeps_ratio = given.get("keep_aspect_ratio_policy", b"stretch") != b"stretch"
    if by_size and keeps_ratio and axis in axes:
        raise LiftError("layout", "Resize scales all axes alike, the channels among them")
    asked = _asked_scales(node, by_size, modern)
    known = dict(zip(axes, asked, strict=True)) if asked is not None and len(asked) == len(axes) else {}
    scales = [
        known.get(index, _scale(old, size) if index in axes else 1.0)
        for index, (old, size) in enumerate(zip(before, after, strict=True))
    ]
    if by_size and keeps_ratio:
        scales = [None if index in axes else 1.0 for index in range(len(before))]
    if axis in known and known[axis] != 1:
        raise LiftError("layout", f"{node.op_type} resizes the channels")
    if axis in axes and not by_size and axis not in known:
        raise LiftError("not-constant", f"{node.op_type} has scales that are computed at run time")
    names = Names(3, axes.index(axis), not node.is_constant(3)) if by_size and axis in axes else None
    operator = Resampled(
        _without(before, axis), _without(after, axis), rule, tuple(s for i, s in enumerate(scales) if i != axis)
    )
    return operator, (axis, axis), names


def _scale(before: DimSize, after: DimSize) -> float | None:
    """How many times as large an axis becomes; None where that is not known."""
    if before == after:
        return 1.0
    return after.number / before.number if not before.symbols and not after.symbols and before.number else None


def _asked_scales(node: NodeView, by_size: bool, modern: bool) -> list[float] | None:
    """The scales that a Resize is given, one per axis that it resizes; None where it has none or they are computed."""
    if by_size:
        return None
    if "scales" in node.attributes:
        return [float(scale) for scale in node.attributes["scales"]]
    index = 2 if modern else 1
    if not node.is_constant(index):
        return None
    return [float(scale) for scale in node.constant(index).reshape(-1)]


POOLING = ("auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides")


@reads("AveragePool", attributes=POOLING)
def read_average_pool(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Source: ONNX operator specification, AveragePool versions 7 to 22."""
    given = node.attributes
    _require_second(node, axis)
    padded = any(given.get("pads", ())) or given.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    if given.get("count_include_pad", 0) and (padded or given.get("ceil_mode", 0)):
        raise LiftError("pool-window", "AveragePool counts zeros around the image")
    window = tuple(
        (name, tuple(value) if isinstance(value, Sequence) and not isinstance(value, bytes) else (hash_of(value),))
        for name, value in sorted(given.items())
    )
    return Averaged(_without(before, axis), _without(after, axis), window), (axis, axis), None


def hash_of(value: bytes | int) -> int:
    """A whole number that stands for an attribute."""
    return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value)


@reads("GlobalAveragePool", attributes=())
def read_global_pool(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Source: ONNX operator specification, GlobalAveragePool versions 1 to 22."""
    _require_second(node, axis)
    return Averaged(_without(before, axis), _without(after, axis), (("all", ()),)), (axis, axis), None


def _require_second(node: NodeView, axis: int) -> None:
    if axis != 1:
        raise LiftError("layout", f"{node.op_type} reads axis 1 as channels")


@reads("ReduceMean", attributes=("axes", "keepdims", "noop_with_empty_axes"))
def read_mean(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Source: ONNX operator specification, ReduceMean versions 1 to 18."""
    axes = _positions(node, _given_axes(node), len(before))
    if not axes:
        raise LiftError("layout", "ReduceMean averages over the channels")
    keeps = bool(node.attributes.get("keepdims", 1))
    left = list(range(len(before))) if keeps else [index for index in range(len(before)) if index not in axes]
    if len(left) != len(after) or left[axis] in axes:
        raise LiftError("layout", "ReduceMean averages over the channels")
    source = left[axis]
    window = (("axes", tuple(sorted(axes))), ("keepdims", (int(keeps),)))
    return Averaged(_without(before, source), _without(after, axis), window), (source, axis), None


@reads("Slice", attributes=("axes", "ends", "starts"))
def read_slice(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Source: ONNX operator specification, Slice versions 1 to 13."""
    starts, ends, axes, steps = slice_bounds(node)
    places = [index + len(before) if index < 0 else index for index in axes]
    if axis in places:
        raise LiftError("layout", "Slice cuts the channels")
    bounds = tuple(sorted(zip(places, starts, ends, steps, strict=True)))
    return Cut(_without(before, axis), _without(after, axis), bounds), (axis, axis), None


@reads("Transpose", attributes=("perm",))
def read_transpose(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Source: ONNX operator specification, Transpose versions 1 to 25."""
    order = tuple(node.attributes.get("perm", range(len(before))[::-1]))
    if sorted(order) != list(range(len(before))):
        raise LiftError("bad-attribute", f"Transpose has perm {list(order)} for {len(before)} axes")
    source = order[axis]
    return Arranged(_without(before, source), _without(after, axis), (source, axis), order), (source, axis), None


@reads("Squeeze", "Unsqueeze", attributes=("axes",))
def read_squeeze(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Source: ONNX operator specification, Squeeze and Unsqueeze versions 1 to 25."""
    longer = max(len(before), len(after))
    axes = _positions(node, _given_axes(node), longer)
    if not axes:
        raise LiftError("sizes-unknown", f"{node.op_type} does not say which axes")
    left = [index for index in range(longer) if index not in axes]
    if node.op_type == "Squeeze":
        source = left[axis]
    elif axis in axes:
        raise LiftError("layout", "Unsqueeze makes the axis of the channels")
    else:
        source = left.index(axis)
    return Arranged(_without(before, source), _without(after, axis), (source, axis)), (source, axis), None


@reads("Flatten", attributes=("axis",))
def read_flatten(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Source: ONNX operator specification, Flatten versions 1 to 25."""
    return _rearranged(node, axis, before, after)


@reads("Reshape", attributes=("allowzero",))
def read_reshape(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Source: ONNX operator specification, Reshape versions 5 to 25."""
    if not node.has_input(1):
        raise LiftError("reshaped", "Reshape does not say which shape to give in an input")
    if not node.is_constant(1):
        operator, axes, _ = _rearranged(node, axis, before, after)
        if axes[0] != axis:
            raise LiftError("reshaped", "Reshape may copy a size from the channels")
        return operator, axes, None if _is_open(node, axis) else Names(1, axis, computed=True)
    target = node.integers(1)
    if len(target) != len(after):
        raise LiftError("bad-attribute", "Reshape asks for another number of axes than it makes")
    operator, axes, _ = _rearranged(node, axis, before, after)
    copies = [index for index, size in enumerate(target) if size == 0]
    if any((index == axes[0]) != (index == axis) for index in copies):
        raise LiftError("reshaped", "Reshape copies a size from or to the channels")
    return operator, axes, Names(1, axis, computed=False) if target[axis] > 0 else None


def _is_open(node: NodeView, axis: int) -> bool:
    """Whether a shape that is computed is known to leave this axis open, or to copy it."""
    maker = node.graph.makers.get(node.inputs[1])
    if maker is None or maker.op_type != "Concat":
        return False
    lengths = [(node.graph.shape(name) or (None,))[0] for name in maker.inputs[: axis + 1]]
    if any(length != 1 for length in lengths) or not maker.is_constant(axis):
        return False
    return bool(maker.raw_constant(axis).reshape(-1)[0] <= 0)


def _rearranged(node: NodeView, axis: int, before: Sizes, after: Sizes) -> Reading:
    """Elements in their order on other axes, if the channels are one of them before and after.

    Element ``(p, c, q)`` of ``P  C  Q`` stays in channel c exactly if the other shape falls into ``P  C  Q`` as well.
    Two of the three are enough, since the number of elements is the same.
    """
    if not 0 <= axis < len(after) or DimSize(0) in (*before, *after):
        raise LiftError("layout", f"{node.op_type} does not make the axis of the channels")
    outer, inner = product(after[:axis]), product(after[axis + 1 :])
    fitting = []
    for source, size in enumerate(before):
        agreed = (product(before[:source]) == outer, size == after[axis], product(before[source + 1 :]) == inner)
        if sum(agreed) >= 2 and size == after[axis]:
            fitting.append(source)
    if not fitting:
        raise LiftError("reshaped", f"{node.op_type} merges or splits the channels, or it is not known not to")
    source = axis if axis in fitting else fitting[0]
    return Arranged(_without(before, source), _without(after, axis), (source, axis)), (source, axis), None


def _given_axes(node: NodeView) -> list[int]:
    """The axes of a node, which were an attribute once."""
    if "axes" in node.attributes:
        return list(node.attributes["axes"])
    return node.integers(1) if node.has_input(1) else []


def _positions(node: NodeView, axes: Sequence[int], rank: int) -> set[int]:
    positions = {index + rank if index < 0 else index for index in axes}
    if len(positions) != len(axes) or not positions <= set(range(rank)):
        raise LiftError("bad-attribute", f"{node.op_type} has axes {list(axes)} for {rank} axes")
    return positions
