"""The protobuf nodes and arrays of a folded region."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from repvgg_onnx.affine.geometry import Geometry
from repvgg_onnx.compiler.fold import Folded
from repvgg_onnx.compiler.forms import Form
from repvgg_onnx.compiler.lifters.convolution import swap_channels
from repvgg_onnx.compiler.tail import Step
from repvgg_onnx.graph.bodies import copy_of
from repvgg_onnx.graph.storage.files import SMALLEST_KEPT, TensorFiles, array_of

GLANCE = 64  # elements that two arrays are compared by before all of them are


@dataclass
class Writer:
    """Adds arrays to a graph under names that are free, equal ones once.

    Attributes:
        graph: changed in place.
        taken: tensor names of the whole model.
        as_nodes: whether arrays become Constant nodes, because before IR version 4 every initializer is an input.
        files: what keeps large arrays, which the graph then refers to; None to have them all in the graph.
    """

    graph: onnx.GraphProto
    taken: set[str]
    as_nodes: bool
    files: TensorFiles | None = None
    _constants: list[onnx.NodeProto] = field(default_factory=list)
    _written: dict[Hashable, list[tuple[str, onnx.TensorProto]]] = field(default_factory=dict)

    def add(self, name: str, array: NDArray[Any]) -> str:
        """The array is in the graph; returns the name that it got, or that an equal one of its type has there."""
        key = _glance(array)
        for known, tensor in self._written.get(key, ()):
            if _bits(array_of(tensor, self.files)) == _bits(array):
                return known
        fresh = self.fresh(name)
        if not self.as_nodes and self.files is not None and array.nbytes >= SMALLEST_KEPT:
            tensor = self.files.keep(array, fresh)
        else:
            tensor = numpy_helper.from_array(array, fresh)
        if self.as_nodes:
            self._constants.append(helper.make_node("Constant", [], [fresh], value=tensor))
        else:
            self.graph.initializer.append(tensor)
            tensor = self.graph.initializer[-1]  # and not a second copy of the data
        self._written.setdefault(key, []).append((fresh, tensor))
        return fresh

    def fresh(self, name: str) -> str:
        """A tensor name that nothing in the model has."""
        fresh, number = name, 2
        while fresh in self.taken:
            fresh, number = f"{name}.{number}", number + 1
        self.taken.add(fresh)
        return fresh

    def take_constants(self) -> list[onnx.NodeProto]:
        """Constant nodes added since the last call, to stand before the nodes that read them."""
        constants, self._constants = self._constants, []
        return constants


def _glance(array: NDArray[Any]) -> Hashable:
    """What equal arrays have in common and most others do not, without reading all of them."""
    flat = array.reshape(-1)
    return array.dtype.str, array.shape, flat[:: max(len(flat) // GLANCE, 1)].tobytes()


def _bits(array: NDArray[Any]) -> memoryview:
    """The array's bytes: zeros of either sign are two numbers."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


@dataclass(frozen=True)
class Written:
    """The nodes of a region.

    Attributes:
        nodes: in graph order.
        main: the one that holds the kernel.
    """

    nodes: list[onnx.NodeProto]
    main: onnx.NodeProto


def write_form(writer: Writer, form: Form, folded: Folded, *, root: str, sink: str) -> Written:
    """Nodes that compute ``sink`` from ``root``; their arrays are added to the graph."""
    nodes: list[onnx.NodeProto] = []
    source = root
    if form.lead is not None and folded.lead is not None:
        source = writer.fresh(f"{sink}.offset")
        offset = writer.add(f"{sink}.lead", folded.lead.reshape(form.lead))
        nodes.append(helper.make_node("Add", [root, offset], [source]))
    if form.before:
        turned = writer.fresh(f"{sink}.channels_first")
        nodes.append(helper.make_node("Transpose", [source], [turned], perm=form.before))
        source = turned
    end = sink if not form.steps else writer.fresh(f"{sink}.reshaped")
    target = end if not form.after else writer.fresh(f"{sink}.result")
    result = target if folded.field is None else writer.fresh(f"{sink}.linear")
    made = _OPERATORS[form.op_type](writer, folded, source, result, sink)
    nodes += made
    if folded.field is not None:
        nodes.append(helper.make_node("Add", [result, writer.add(f"{sink}.field", folded.field)], [target]))
    if form.after:
        nodes.append(helper.make_node("Transpose", [target], [end], perm=form.after))
    for number, step in enumerate(form.steps, 1):
        after = sink if number == len(form.steps) else writer.fresh(f"{sink}.reshaped")
        nodes.append(_step(writer, step, end, after, sink))
        end = after
    return Written([*writer.take_constants(), *nodes], made[0])


def _step(writer: Writer, step: Step, source: str, target: str, stem: str) -> onnx.NodeProto:
    """The node of a change of shape, between other tensors and without its name, which the graph may still have."""
    node = copy_of(step.proto)
    del node.input[:], node.output[:]
    node.ClearField("name")
    node.input.append(source)
    if step.shape is not None:
        computed = isinstance(step.shape, str)
        node.input.append(step.shape if computed else writer.add(f"{stem}.shape", np.asarray(step.shape, np.int64)))
    node.output.append(target)
    return node


def _conv(writer: Writer, folded: Folded, source: str, target: str, stem: str) -> list[onnx.NodeProto]:
    inputs = [source, writer.add(f"{stem}.kernel", folded.kernel), writer.add(f"{stem}.bias", folded.bias)]
    return [helper.make_node("Conv", inputs, [target], **_conv_attributes(folded.geometry))]


def _conv_transpose(writer: Writer, folded: Folded, source: str, target: str, stem: str) -> list[onnx.NodeProto]:
    kernel = swap_channels(folded.kernel, folded.geometry.group)
    inputs = [source, writer.add(f"{stem}.kernel", kernel), writer.add(f"{stem}.bias", folded.bias)]
    attributes = _conv_attributes(folded.geometry) | {"output_padding": folded.geometry.output_padding}
    return [helper.make_node("ConvTranspose", inputs, [target], **attributes)]


def _gemm(writer: Writer, folded: Folded, source: str, target: str, stem: str) -> list[onnx.NodeProto]:
    inputs = [source, writer.add(f"{stem}.kernel", folded.kernel), writer.add(f"{stem}.bias", folded.bias)]
    return [helper.make_node("Gemm", inputs, [target], transB=1)]


def _matmul(writer: Writer, folded: Folded, source: str, target: str, stem: str) -> list[onnx.NodeProto]:
    matrix = folded.kernel.reshape(folded.geometry.c_out, folded.geometry.c_in).T
    kernel = writer.add(f"{stem}.kernel", matrix)
    if not folded.bias.any():
        return [helper.make_node("MatMul", [source, kernel], [target])]
    product = writer.fresh(f"{stem}.product")
    bias = writer.add(f"{stem}.bias", folded.bias)
    return [
        helper.make_node("MatMul", [source, kernel], [product]),
        helper.make_node("Add", [product, bias], [target]),
    ]


def _conv_attributes(geometry: Geometry) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "dilations": geometry.dilations,
        "group": geometry.group,
        "kernel_shape": geometry.kernel_shape,
        "pads": geometry.pads,
        "strides": geometry.strides,
    }
    if geometry.has_unknown_pads:
        del attributes["pads"]
    if geometry.auto_pad:
        attributes["auto_pad"] = geometry.auto_pad
    if geometry.output_shape:
        attributes["output_shape"] = geometry.output_shape
    return attributes


_OPERATORS = {"Conv": _conv, "ConvTranspose": _conv_transpose, "Gemm": _gemm, "MatMul": _matmul}
