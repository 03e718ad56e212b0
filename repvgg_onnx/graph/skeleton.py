"""A model without its data and with a type on every tensor: the one place where shapes of whole models are inferred."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from math import prod

import onnx

from repvgg_onnx.errors import ModelError
from repvgg_onnx.graph.bodies import STANDARD_DOMAINS, Body, all_bodies, copy_of, operator_of
from repvgg_onnx.graph.macs import PRODUCTS
from repvgg_onnx.graph.normalize import (
    FIRST_OVERRIDABLE,
    SMALL,
    first_line,
    tensor_type_of,
    tensor_types,
)
from repvgg_onnx.graph.schema import since_version
from repvgg_onnx.graph.storage.tensors import is_external
from repvgg_onnx.graph.watch import uninterruptible

# The domains that onnxruntime has operators of; it takes its own version of one that a model does not import.
RUNTIME_DOMAINS = frozenset(
    {
        "ai.onnx.ml",
        "ai.onnx.preview",
        "ai.onnx.preview.training",
        "ai.onnx.training",
        "com.microsoft",
        "com.microsoft.dml",
        "com.microsoft.experimental",
        "com.microsoft.nchwc",
        "com.ms.internal.nhwc",
    }
)
FIRST_WITH_OPSETS = 3  # IR version; models before it have opset 1
OF_INPUT_SHAPE = frozenset({"Cast", "DequantizeLinear", "Identity", "QuantizeLinear"})


def infer_skeleton(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """A copy with types on every tensor and without the data of large initializers, which stand among its inputs.

    Args:
        model: not changed.
        shapes: sizes for the axes of inputs, such as the ones a user runs the model with.

    Raises:
        ModelError: the graph is not valid ONNX.
    """
    skeleton, annotations = _bare(model)
    _give_sizes(skeleton, shapes)
    return _completed(_inferred(skeleton), annotations)


def infer_skeletons(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> tuple[onnx.ModelProto, ...]:
    """Two skeletons: what holds whatever the sizes of the inputs are, and what follows from these sizes.

    What the model itself says of tensors inside may be out of date, and is no part of the first. Where the inputs have
    these sizes anyway, and the model says no more than what follows, both are one object.

    Args:
        model: not changed.
        shapes: sizes for the axes of inputs.

    Raises:
        ModelError: the graph is not valid ONNX.
    """
    skeleton, annotations = _bare(model)
    general = _inferred(skeleton)
    sized = _inferred(skeleton) if _give_sizes(skeleton, shapes) else general
    return general, _completed(sized, annotations)


def infer_further(skeleton: onnx.ModelProto, known: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
    """A skeleton in which some more shapes are known, and what follows from them.

    Raises:
        ModelError: they contradict others.
    """
    values = {value.name: value for value in (*skeleton.graph.value_info, *skeleton.graph.output)}
    for name, sizes in known.items():
        value = values[name] if name in values else skeleton.graph.value_info.add(name=name)
        _set_shape(value, sizes)
    return _inferred(skeleton)


def _without_data(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without large initializers, and with everything that onnx's checker asks for and onnxruntime does not."""
    skeleton = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    skeleton.opset_import.extend(model.opset_import)
    for entry in skeleton.opset_import:
        if entry.domain == STANDARD_DOMAINS[1]:
            entry.domain = STANDARD_DOMAINS[0]
    skeleton.functions.extend(model.functions)
    graph = skeleton.graph
    graph.name = model.graph.name
    for field in ("node", "output", "sparse_initializer"):
        getattr(graph, field).extend(getattr(model.graph, field))
    graph.value_info.extend(value for value in model.graph.value_info if value.HasField("type"))
    small = [tensor for tensor in model.graph.initializer if prod(tensor.dims) <= SMALL and not is_external(tensor)]
    graph.initializer.extend(tensor for tensor in small if tensor.name)
    fixed = {tensor.name for tensor in small} if model.ir_version < FIRST_OVERRIDABLE else frozenset()
    graph.input.extend(value for value in model.graph.input if value.name not in fixed)
    known = {value.name for value in (*graph.input, *graph.initializer)}
    for tensor in model.graph.initializer:
        if tensor.name and tensor.name not in known:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    bodies = list(all_bodies(graph))
    for body in bodies:
        body.name = body.name or "graph"  # which it needs for nothing but the checker
        for node in body.node:
            if node.domain == STANDARD_DOMAINS[1]:
                node.domain = STANDARD_DOMAINS[0]  # the only form that onnx itself looks operators up by
    _state_kernel_shapes(graph, bodies)
    _complete_imports(skeleton, bodies, model.ir_version)
    return skeleton


def _bare(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[onnx.ValueInfoProto]]:
    """A copy without data and without annotations, checked, and the annotations."""
    skeleton = _without_data(model)
    for dim in (dim for value in skeleton.graph.input for dim in value.type.tensor_type.shape.dim):
        if dim.HasField("dim_value") and dim.dim_value < 0:  # some exporters mean a dynamic axis
            dim.ClearField("dim_value")
    try:
        with uninterruptible():
            _check(skeleton)
    except Exception as error:  # what the checker finds, and what it cannot even read
        raise ModelError(f"is not valid ONNX: {first_line(error)}") from error
    return skeleton, _take_annotations(skeleton)


def _inferred(skeleton: onnx.ModelProto) -> onnx.ModelProto:
    """A skeleton with what shape inference finds.

    Raises:
        ModelError: it finds a contradiction.
    """
    try:
        with uninterruptible():
            inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(skeleton, data_prop=True)
    except Exception as error:  # inference raises several unrelated types
        raise ModelError(f"its shapes cannot be inferred: {first_line(error)}") from error
    return inferred


def _check(skeleton: onnx.ModelProto) -> None:
    """Has the graph checked by onnx, which asks for more than onnxruntime.

    Shapes, and types of outputs, need not be there, and a function may import older versions of its operators.
    """
    typeless = [value for value in skeleton.graph.output if not value.HasField("type")]
    for value in typeless:
        value.type.tensor_type.elem_type = onnx.TensorProto.UNDEFINED
    values = (*skeleton.graph.input, *skeleton.graph.output)
    shapeless = [value.type.tensor_type for value in values if _has_no_shape(value)]
    for tensor in shapeless:
        tensor.shape.SetInParent()
    functions = list(skeleton.functions)
    del skeleton.functions[:]
    skeleton.functions.extend(function for function in functions if _means_the_same_in(skeleton, function))
    onnx.checker.check_model(skeleton)
    del skeleton.functions[:]
    skeleton.functions.extend(functions)
    for tensor in shapeless:
        tensor.ClearField("shape")
    for value in typeless:
        value.ClearField("type")


def _means_the_same_in(model: onnx.ModelProto, function: onnx.FunctionProto) -> bool:
    """Whether the model's operator sets have every operator of the function in the version that it imports."""
    ours = {entry.domain: entry.version for entry in model.opset_import}
    own = {entry.domain: entry.version for entry in function.opset_import}
    return all(
        since_version(node.op_type, own[node.domain], node.domain)
        == since_version(node.op_type, ours[node.domain], node.domain)
        for node in function.node
        if node.domain in ours and node.domain in own
    )


def _has_no_shape(value: onnx.ValueInfoProto) -> bool:
    return value.type.HasField("tensor_type") and not value.type.tensor_type.HasField("shape")


def _take_annotations(skeleton: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """Removes the shapes of tensors that are not inputs, and returns them.

    Subgraphs keep theirs for their own inputs and outputs.
    """
    graph = skeleton.graph
    taken = list(graph.value_info)
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            taken.append(onnx.ValueInfoProto.FromString(value.SerializeToString()))
            value.type.tensor_type.ClearField("shape")
    return taken


def _completed(inferred: onnx.ModelProto, annotations: Iterable[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """A skeleton with what the model says of tensors of which inference found no shape, and what follows from that."""
    graph = inferred.graph
    known = {value.name for value in graph.value_info if not _has_no_shape(value)}
    known.update(value.name for value in graph.output)
    missing = [value for value in annotations if value.name not in known]
    if not missing:
        return inferred
    completed = copy_of(inferred)
    completed.graph.value_info.extend(missing)
    return _inferred(completed)


def _give_sizes(skeleton: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> bool:
    """Gives inputs these sizes; returns whether one had others."""
    given = [value for value in skeleton.graph.input if value.name in shapes]
    changed = [value for value in given if tensor_type_of(value.type).shape != tuple(shapes[value.name])]
    for value in changed:
        _set_shape(value, shapes[value.name])
    return bool(changed)


def _state_kernel_shapes(graph: onnx.GraphProto, bodies: Iterable[Body]) -> None:
    """Gives every convolution the kernel_shape that its weight has.

    Up to 1.21, onnx reads the size of a kernel off a weight without a look at the rank of the image, and writes beyond
    the end of its arrays where the two do not fit. It does check the attribute. Only weights whose shape is plain
    before inference are reached.
    """
    sizes = tensor_types(graph)
    for body in bodies:
        for node in body.node:
            if node.op_type in OF_INPUT_SHAPE and node.input and node.output and node.input[0] in sizes:
                sizes[node.output[0]] = sizes[node.input[0]]
            product = PRODUCTS.get(operator_of(node))
            index = len(node.input) if product is None or product.weight is None else product.weight
            weight = sizes.get(node.input[index]) if index < len(node.input) else None
            known = weight.shape if weight is not None and weight.shape is not None else (None,)
            if None not in known and all(attribute.name != "kernel_shape" for attribute in node.attribute):
                node.attribute.add(name="kernel_shape", type=onnx.AttributeProto.INTS, ints=known[2:])


def _complete_imports(skeleton: onnx.ModelProto, bodies: Iterable[Body], ir_version: int) -> None:
    """Imports what onnxruntime takes for imported: its own domains, and opset 1 before models could say theirs."""
    imported = {entry.domain for entry in skeleton.opset_import}
    if ir_version < FIRST_WITH_OPSETS and not imported:
        skeleton.opset_import.add(domain="", version=1)
    used = {node.domain for body in bodies for node in body.node}
    for domain in sorted((used & RUNTIME_DOMAINS) - imported):
        skeleton.opset_import.add(domain=domain, version=_newest_version(domain))


@cache
def _newest_version(domain: str) -> int:
    """The newest version of a domain that onnx knows; 1 of one that it does not know."""
    schemas = onnx.defs.get_all_schemas_with_history()
    return max((schema.since_version for schema in schemas if schema.domain == domain), default=1)


def _set_shape(value: onnx.ValueInfoProto, sizes: Sequence[int]) -> None:
    elem_type = value.type.tensor_type.elem_type
    value.type.CopyFrom(onnx.helper.make_tensor_type_proto(elem_type, sizes))
