"""Writes folded regions into a model: the only stage that changes what the graph computes with.

The protobuf graph is edited in place and nothing is exported through another library, so names, metadata, annotations
and everything else that a fold does not touch stay as they are.
"""

import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import onnx

from repvgg_onnx import __version__
from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.affine.roundings import roundings_of, roundings_of_kernel
from repvgg_onnx.compiler.fold import Folded
from repvgg_onnx.compiler.forms import Form
from repvgg_onnx.compiler.lifters import is_kernel_operator
from repvgg_onnx.compiler.plans import Plan
from repvgg_onnx.compiler.results import PROVENANCE, Member, Region
from repvgg_onnx.compiler.sweep import splice, sweep, tensor_names
from repvgg_onnx.compiler.value import Frame, Value
from repvgg_onnx.compiler.write import Writer, write_form
from repvgg_onnx.graph.normalize import FIRST_OVERRIDABLE
from repvgg_onnx.graph.view import GraphView, NodeView

VERSION = "repvgg_onnx.version"


@dataclass(frozen=True, eq=False)
class Origin:
    """What a region was folded from: proving it needs no second look at the graph.

    Attributes:
        frame: the root and how its axes are read.
        value: the sink as a map of the root.
        form: what it was written as.
        elem_type: ONNX type of the sink.
        product: result of the emitted node that holds the kernel.
    """

    frame: Frame
    value: Value
    form: Form
    elem_type: int
    product: str

    @property
    def conv(self) -> AffineConv:
        """The map in as many groups as were written."""
        conv = self.value.conv
        return conv if conv.geometry.group == self.form.group else conv.regroup(self.form.group)

    @property
    def roundings(self) -> int:
        """How many rounding errors a result can have gathered, in the members one by one and in the node together."""
        return roundings_of(self.value.conv.expression) + roundings_of_kernel(self.conv.geometry)


def emit(
    model: onnx.ModelProto, view: GraphView, replacements: Iterable[tuple[Plan, Folded]]
) -> list[tuple[Region, Origin]]:
    """Each region stands as the nodes of its form, and what only it needed is gone.

    Args:
        model: changed in place.
        view: of the model's graph or of one of its subgraphs, whose indices the plans hold.
        replacements: regions and their arrays, none overlapping; read one at a time.

    Returns:
        What was emitted and what it was folded from, in the order of the replacements.
    """
    files = view.constants.files if view.outer is None else None
    writer = Writer(
        view.proto, set(tensor_names(model.graph)), as_nodes=model.ir_version < FIRST_OVERRIDABLE, files=files
    )
    regions = []
    nodes: dict[int, list[onnx.NodeProto]] = {}
    removed: set[int] = set()
    for plan, folded in replacements:
        written = write_form(writer, plan.form, folded, root=plan.frame.root, sink=plan.sink)
        written.main.name = _main_member(plan).proto.name
        for node, step in zip(reversed(written.nodes), reversed(plan.form.steps), strict=False):
            node.name = step.proto.name if step.index in plan.removed else ""
        note_members(written.main, plan.members)
        nodes[plan.last.index] = written.nodes
        removed |= plan.removed
        origin = Origin(plan.frame, plan.value, plan.form, view.elem_type(plan.sink), written.main.output[0])
        regions.append((region_of(plan, written.main.name or plan.sink), origin))
        if files is not None:
            files.release()
    orphans = splice(view.proto, nodes, removed)
    around = view.outer
    while around is not None:
        orphans |= sweep(around.proto, orphans)
        around = around.outer
    if files is not None:
        files.keep_only(model.graph.initializer)
    stamp(model)
    return regions


def members_of(node: NodeView) -> tuple[Member, ...]:
    """The original nodes that a node stands for: itself, unless it was emitted by a fold."""
    for entry in node.proto.metadata_props:
        if entry.key == PROVENANCE:
            with suppress(ValueError, TypeError):  # somebody else's note
                return tuple(Member(str(name), str(op_type)) for op_type, name in json.loads(entry.value))
    return (Member(node.name, node.op_type),)


def note_members(node: onnx.NodeProto, stands_for: Iterable[NodeView]) -> None:
    """Writes into a node which original nodes it stands for."""
    members = [[member.op_type, member.name] for each in stands_for for member in members_of(each)]
    node.metadata_props.add(key=PROVENANCE, value=json.dumps(members, ensure_ascii=False))


def _main_member(plan: Plan) -> NodeView:
    """The removed member with the largest kernel, whose name the new node takes over."""
    written_again = {step.index for step in plan.form.steps}
    removed = [node for node in plan.members if node.index in plan.removed - written_again]
    return max(removed, key=lambda node: (is_kernel_operator(node.op_type), node.kernel_size, node.index))


def region_of(plan: Plan, name: str) -> Region:
    """The region that a plan makes, under the name of its node."""
    geometry = plan.value.conv.geometry
    return Region(
        name=name,
        root=plan.frame.root,
        sink=plan.sink,
        members=tuple(member for node in plan.members for member in members_of(node)),
        branches=plan.value.terms,
        op_type=plan.form.op_type,
        c_in=geometry.c_in,
        c_out=geometry.c_out,
        kernel_shape=geometry.kernel_shape,
        strides=geometry.strides,
        pads=() if geometry.has_unknown_pads else geometry.pads,
        dilations=geometry.dilations,
        group=plan.form.group,
        cost_before=plan.before,
        cost_after=plan.after,
    )


def stamp(model: onnx.ModelProto) -> None:
    """Says by which version the model was fused."""
    for entry in model.metadata_props:
        if entry.key == VERSION:
            entry.value = __version__
            return
    model.metadata_props.add(key=VERSION, value=__version__)
