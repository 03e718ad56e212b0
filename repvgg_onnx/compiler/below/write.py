"""Writes rewrites into a model: the nodes of each tree in the place of the one that made its tensor."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise

import numpy as np
import onnx
from onnx import helper

from repvgg_onnx.affine.kernels import Array
from repvgg_onnx.compiler.below.rewrite import Moved, Rewrite, channels_of, is_stacked, takers_of_bias
from repvgg_onnx.compiler.below.steps import Step
from repvgg_onnx.compiler.below.terms import Leaf, Several, Through, Tree
from repvgg_onnx.compiler.containment import contained
from repvgg_onnx.compiler.cost import cost_of_node
from repvgg_onnx.compiler.emit import members_of, note_members, stamp
from repvgg_onnx.compiler.fold import Folded, fold
from repvgg_onnx.compiler.results import Cost, Refusal, Region
from repvgg_onnx.compiler.sweep import splice, tensor_names
from repvgg_onnx.compiler.value import Value
from repvgg_onnx.compiler.write import Writer, write_form
from repvgg_onnx.errors import LiftError
from repvgg_onnx.graph.normalize import FIRST_OVERRIDABLE
from repvgg_onnx.graph.view import GraphView

LAST = 2**31 - 1  # an end that no shape reaches
FIRST_SLICE_OF_INPUTS = 10


def write_rewrites(
    model: onnx.ModelProto, view: GraphView, rewrites: Sequence[Rewrite], refused: dict[str, Refusal]
) -> list[Region]:
    """Every rewrite that has an exact form in the model's type stands in the graph.

    Args:
        model: changed in place.
        view: of its main graph.
        rewrites: none touching another.
        refused: gets the tensors of the others, with the reason.

    Returns:
        What was written, a region for each tensor that is computed in another way.
    """
    files = view.constants.files
    writer = Writer(
        view.proto, set(tensor_names(model.graph)), as_nodes=model.ir_version < FIRST_OVERRIDABLE, files=files
    )
    nodes: dict[int, list[onnx.NodeProto]] = {}
    regions: list[Region] = []
    ready: list[tuple[int, Rewrite, Moved, dict[int, Folded]]] = []
    for rewrite in rewrites:
        try:
            with contained("moving a map"):
                folded = [_folded(view, moved) for moved in rewrite.moved]
        except LiftError as error:
            refused |= {m.sink: Refusal(error.code, view.makers[m.sink].name, str(error)) for m in rewrite.moved}
            continue
        for moved, arrays in zip(rewrite.moved, folded, strict=True):
            ready.append((view.makers[moved.sink].index, rewrite, moved, arrays))
    # In graph order, since what is added first may be read again: a constant that is a node stands where it was added.
    for index, rewrite, moved, arrays in sorted(ready, key=lambda each: each[0]):
        written = _Tree(view, writer, moved, arrays)
        made = written.nodes(moved.tree, moved.sink)
        nodes[index] = [*writer.take_constants(), *made]
        regions.append(_region(rewrite, moved, written.main))
        if files is not None:
            files.release()
    if nodes:
        splice(view.proto, nodes, nodes)
        if files is not None:
            files.keep_only(model.graph.initializer)
        stamp(model)
    return regions


def _folded(view: GraphView, moved: Moved) -> dict[int, Folded]:
    """The arrays of each map of a tree, by the identity of its leaf."""
    values: dict[int, Value] = {}
    _settle(moved.tree, moved.value.conv.bias, values)
    elem_type, budget = view.elem_type(moved.sink), view.constants.budget
    return {
        id(leaf): fold(values[id(leaf)], leaf.form.group, elem_type, budget) for leaf in moved.tree.leaves
    }  # fmt: skip


def _settle(tree: Tree, offset: Array, values: dict[int, Value]) -> None:
    """The value of each leaf with its share of what is added.

    A sum is added to once. Where nothing stands one behind the other on the channel axis, what operators without a bias
    of their own would add goes there as well.
    """
    if isinstance(tree, Leaf):
        values[id(tree)] = tree.value.shift(offset)
    elif isinstance(tree, Through):
        _settle(tree.inner, offset, values)
    elif tree.stacked_on is not None:
        stops = [0, *accumulate(map(channels_of, tree.parts))]
        for part, (start, stop) in zip(tree.parts, pairwise(stops), strict=True):
            _settle(part, offset[start:stop], values)
    elif is_stacked(tree):
        for number, part in enumerate(tree.parts):
            _settle(part, offset if number == 0 else np.zeros_like(offset), values)
    else:
        (taker,) = takers_of_bias(tree)
        for leaf in tree.leaves:
            if leaf is not taker and leaf.has_free_bias:
                values[id(leaf)] = leaf.value
            elif leaf is not taker:
                offset = offset + leaf.value.conv.bias
                values[id(leaf)] = replace(leaf.value, conv=leaf.value.conv.without_bias())
        values[id(taker)] = taker.value.shift(offset)


class _Tree:
    """The nodes of one tree.

    Args:
        view: of the graph.
        writer: of its arrays.
        moved: what is computed.
        arrays: of each map, by the identity of its leaf.
    """

    def __init__(self, view: GraphView, writer: Writer, moved: Moved, arrays: dict[int, Folded]) -> None:
        self._view, self._writer, self._moved, self._arrays = view, writer, moved, arrays
        self._named = False
        self.main = ""

    def nodes(self, tree: Tree, target: str) -> list[onnx.NodeProto]:
        """Nodes that compute the target, in graph order."""
        if isinstance(tree, Leaf):
            return self._leaf(tree, target)
        if isinstance(tree, Through):
            source = self._writer.fresh(f"{self._moved.sink}.before_{tree.step.node.op_type}")
            return [*self.nodes(tree.inner, source), *self._step(tree.step, source, target, tree.channels)]
        names = [self._writer.fresh(f"{self._moved.sink}.part") for _ in tree.parts]
        made = [node for part, name in zip(tree.parts, names, strict=True) for node in self.nodes(part, name)]
        if tree.stacked_on is not None:
            return [*made, helper.make_node("Concat", names, [target], axis=tree.stacked_on)]
        return [*made, *self._added(tree, names, target)]

    def _added(self, tree: Several, names: Sequence[str], target: str) -> list[onnx.NodeProto]:
        made, total = [], names[0]
        for number, name in enumerate(names[1:], 2):
            after = target if number == len(names) else self._writer.fresh(f"{self._moved.sink}.sum")
            made.append(helper.make_node("Add", [total, name], [after]))
            total = after
        return made

    def _leaf(self, leaf: Leaf, target: str) -> list[onnx.NodeProto]:
        made, source = [], leaf.sources[0]
        if len(leaf.sources) > 1:
            source = self._writer.fresh(f"{self._moved.sink}.joined")
            axis = leaf.frame.axes.index(1)
            made.append(helper.make_node("Concat", list(leaf.sources), [source], axis=axis))
        if leaf.step is not None:
            after = self._writer.fresh(f"{self._moved.sink}.{leaf.step.node.op_type}")
            made += self._step(leaf.step, source, after, leaf.value.conv.geometry.c_in)
            source = after
        form = leaf.form
        written = write_form(self._writer, form, self._arrays[id(leaf)], root=source, sink=target)
        note_members(written.main, dict.fromkeys((*leaf.absorbed, self._moved.map)))
        if not self._named:
            written.main.name = self._moved.map.proto.name
            self._named, self.main = True, written.main.name
        return [*made, *written.nodes]

    def _step(self, step: Step, source: str, target: str, channels: int) -> list[onnx.NodeProto]:
        """A spatial operator between other tensors, on another number of channels."""
        node = onnx.NodeProto()
        node.CopyFrom(step.node.proto)
        node.ClearField("name")
        node.input[0], node.output[0] = source, target
        names = step.names
        if names is None:
            return [*self._writer.take_constants(), node]
        if not names.computed:
            asked = step.node.raw_constant(names.index).copy()
            asked[names.entry] = channels
            node.input[names.index] = self._writer.add(f"{target}.shape", asked)
            return [*self._writer.take_constants(), node]
        if names.others:
            made = self._of_source(source, names.others, target)
        else:
            made = self._computed(step.node.inputs[names.index], names.entry, channels, target)
        node.input[names.index] = made[-1].output[0]
        return [*self._writer.take_constants(), *made, node]

    def _of_source(self, source: str, others: Sequence[str], stem: str) -> list[onnx.NodeProto]:
        """The batch and the channels of what is read, and the rest of a shape."""
        shape, start, whole = (self._writer.fresh(f"{stem}.{word}") for word in ("sizes", "start", "shape"))
        first = self._slice(shape, start, 0, 2, stem)
        joined = helper.make_node("Concat", [start, *others], [whole], axis=0)
        return [helper.make_node("Shape", [source], [shape]), first, joined]

    def _slice(self, source: str, target: str, start: int, stop: int, stem: str) -> onnx.NodeProto:
        if self._view.opset < FIRST_SLICE_OF_INPUTS:
            return helper.make_node("Slice", [source], [target], starts=[start], ends=[stop], axes=[0])
        bounds = [self._writer.add(f"{stem}.bound", np.asarray([end], np.int64)) for end in (start, stop, 0)]
        return helper.make_node("Slice", [source, *bounds], [target])

    def _computed(self, shape: str, entry: int, channels: int, stem: str) -> list[onnx.NodeProto]:
        """A shape that is computed at run time, with another number of channels in it."""
        parts, made = [], []
        for start, stop in ((0, entry), (entry + 1, LAST)):
            if start == stop:
                continue
            part = self._writer.fresh(f"{stem}.sizes")
            made.append(self._slice(shape, part, start, stop, stem))
            parts.append(part)
        parts.insert(1 if entry else 0, self._writer.add(f"{stem}.channels", np.asarray([channels], np.int64)))
        whole = self._writer.fresh(f"{stem}.shape")
        return [*made, helper.make_node("Concat", parts, [whole], axis=0)]


def _region(rewrite: Rewrite, moved: Moved, name: str) -> Region:
    """What a report says of a tensor that is computed in another way."""
    leaf = moved.tree.leaves[0]
    geometry = leaf.value.conv.geometry
    graph = rewrite.graph
    own = cost_of_node(moved.map)
    first = moved is rewrite.moved[0]
    others = [each.map for each in rewrite.moved[1:]]
    rest = Cost(
        *(getattr(rewrite.before, kind) - sum(getattr(cost_of_node(each), kind) for each in others)
          for kind in ("macs", "bytes"))
    )  # fmt: skip
    gone = [graph.nodes[index] for index in sorted(rewrite.removed)]
    kept = [node for node in gone if node.outputs and node.outputs[0] not in graph.constants]
    members = kept if first else [moved.map]
    return Region(
        name=name or moved.sink,
        root=leaf.sources[0],
        sink=moved.sink,
        members=tuple(member for node in members for member in members_of(node)),
        branches=(moved.words,),
        op_type=leaf.form.op_type,
        c_in=geometry.c_in,
        c_out=geometry.c_out,
        kernel_shape=geometry.kernel_shape,
        strides=geometry.strides,
        pads=() if geometry.has_unknown_pads else geometry.pads,
        dilations=geometry.dilations,
        group=leaf.form.group,
        cost_before=rest if first else own,
        cost_after=moved.tree.cost,
        moved=moved.words,
    )
