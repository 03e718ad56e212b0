"""Faults that a compiler could make, each done to one fused node; a model without the node stays as it is."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import helper, numpy_helper

from repvgg_onnx import Region, fuse
from tests.models import weights_of

BY = 1e-3
"""How far weights are moved, of their largest magnitude."""

Mutation = Callable[[onnx.ModelProto, Region], None]


def mutated(model: onnx.ModelProto, region: Region, mutation: Mutation) -> onnx.ModelProto:
    """A copy of a fused model, or of one of its pieces, in which the node of a region has a fault."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if _nodes(changed, region):
        mutation(changed, region)
        assert changed.SerializeToString(deterministic=True) != model.SerializeToString(deterministic=True)
    return changed


def kernel_off(model: onnx.ModelProto, region: Region) -> None:
    """Every weight of the kernel is off by a thousandth of the largest, up or down."""
    _move(model, _node(model, region).input[1])


def one_weight_off(model: onnx.ModelProto, region: Region) -> None:
    """One weight of the kernel, the largest one, is off by a thousandth."""
    _replace(model, _node(model, region).input[1], _with_largest_moved)


def bias_off(model: onnx.ModelProto, region: Region) -> None:
    """Every bias is off by a thousandth of the largest, up or down."""
    _move(model, _node(model, region).input[2])


def wrong_stride(model: onnx.ModelProto, region: Region) -> None:
    """The node strides by one more."""
    node = _node(model, region)
    strides = next((helper.get_attribute_value(it) for it in node.attribute if it.name == "strides"), [1, 1])
    kept = [it for it in node.attribute if it.name != "strides"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("strides", [size + 1 for size in strides])])


def dropped_relu(model: onnx.ModelProto, region: Region) -> None:
    """The Relu that reads the node's result passes everything on."""
    reader = next(node for node in model.graph.node if region.sink in node.input and node.op_type in ("Relu", "Tanh"))
    reader.op_type = "Identity"


def swapped_input(model: onnx.ModelProto, region: Region) -> None:
    """The node reads the nearest tensor of the shape of its root that is computed before that."""
    node = _node(model, region)
    shapes = _shapes(model)
    made = [name for other in model.graph.node for name in other.output]
    root = node.input[0]
    node.input[0] = next(name for name in reversed(made[: made.index(root)]) if shapes.get(name) == shapes[root])


def lost_branch(original: onnx.ModelProto) -> Mutation:
    """The node has the weights of a region in which the first Add of ``original`` has lost an operand.

    The operand without which the window stays as large as it is: the node itself keeps its geometry.
    """

    def lose(model: onnx.ModelProto, region: Region) -> None:
        node, mine = _node(model, region), weights_of(model)
        for kept in (0, 1):
            fused = fuse(_with_one_operand(original, region, kept)).model
            other, theirs = next(it for it in fused.graph.node if region.sink in it.output), weights_of(fused)
            pairs = list(zip(node.input[1:], other.input[1:], strict=True))
            if all(mine[one].shape == theirs[two].shape for one, two in pairs):
                for one, two in pairs:
                    _replace(model, one, lambda _, array=theirs[two]: array)
                return
        raise AssertionError(f"{region.name} has another window without either operand")

    return lose


def _with_one_operand(original: onnx.ModelProto, region: Region, kept: int) -> onnx.ModelProto:
    names = {member.name for member in region.members if member.op_type == "Add"}
    less = onnx.ModelProto.FromString(original.SerializeToString())
    add = next(node for node in less.graph.node if (node.name or node.output[0]) in names)
    add.op_type = "Identity"
    add.input[:] = [add.input[kept]]
    return less


def _node(model: onnx.ModelProto, region: Region) -> onnx.NodeProto:
    (node,) = _nodes(model, region)
    return node


def _nodes(model: onnx.ModelProto, region: Region) -> list[onnx.NodeProto]:
    """The node of the region; what stands for a smaller region, where this one was rolled back, is another one."""
    return [node for node in model.graph.node if node.name == region.name and region.sink in node.output]


def _replace(model: onnx.ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))


def _move(model: onnx.ModelProto, name: str) -> None:
    def move(array: np.ndarray) -> np.ndarray:
        signs = np.random.default_rng(5).choice([-1.0, 1.0], array.shape)
        return (array + BY * np.abs(array).max() * signs).astype(array.dtype)

    _replace(model, name, move)


def _with_largest_moved(array: np.ndarray) -> np.ndarray:
    moved = array.copy()
    moved.flat[np.abs(array).argmax()] *= 1 + BY
    return moved


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values = (*inferred.input, *inferred.value_info, *inferred.output)
    return {it.name: tuple(dim.dim_value for dim in it.type.tensor_type.shape.dim) for it in values}
