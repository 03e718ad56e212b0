"""A random graph in the making: its nodes, its constants in every form that exporters write them, and its shapes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

BATCH = 2
OPSETS = (8, 9, 11, 13, 17, 18, 21)
FORMS = ("initializer", "node", "identity", "sum", "difference", "reshape", "transpose", "cast", "concat", "expand")
LIKELY = (0.5, 0.12, 0.08, 0.05, 0.05, 0.05, 0.05, 0.04, 0.03, 0.03)


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph.

    Attributes:
        name: in the graph.
        shape: sizes of every axis in the run that is compared.
        last: whether its channels are the last axis; otherwise they are the second.
    """

    name: str
    shape: tuple[int, ...]
    last: bool = False

    @property
    def axis(self) -> int:
        """Axis of the channels."""
        return len(self.shape) - 1 if self.last else 1

    @property
    def channels(self) -> int:
        return self.shape[self.axis]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Spatial sizes."""
        return self.shape[1:-1] if self.last else self.shape[2:]

    def resized(self, channels: int, sizes: Sequence[int] | None = None) -> tuple[int, ...]:
        """The shape with other channels, and other spatial sizes if given."""
        sizes = self.sizes if sizes is None else tuple(sizes)
        return (self.shape[0], *sizes, channels) if self.last else (self.shape[0], channels, *sizes)


class Sketch:
    """Nodes, constants and shapes of a graph; everything random comes from one generator.

    Attributes:
        rng: source of everything random.
        rank: number of spatial axes.
        opset: version of the operators.
        tensors: what nodes may read, oldest first.
    """

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.rank = self.pick((0, 1, 2, 2, 2, 3))
        self.opset = self.pick(OPSETS)
        self.ir_version = 3 if self.chance(0.04) and self.opset > 8 else 10  # before 4 only Constant nodes are constant
        self.dynamic = self.pick(("nothing", "nothing", "batch", "sizes"))
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._shared: dict[tuple[str, tuple[int, ...]], str] = {}
        sizes = [self.pick((4, 5, 6, 7, 8)) for _ in range(self.rank)]
        channels, last = self.pick((2, 4, 6)), bool(self.rank) and self.chance(0.12)
        shape = (BATCH, *sizes, channels) if last else (BATCH, channels, *sizes)
        self.inputs = [Tensor(name, shape, last) for name in ("x", "z")[: 2 if self.chance(0.15) else 1]]
        self.tensors = list(self.inputs)

    def pick(self, options: Sequence):
        return options[int(self.rng.integers(len(options)))]

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def node(self, op_type: str, inputs: Sequence[str], shape: Sequence[int], *, last: bool = False, **attributes):
        """Appends a node with one output, which later nodes may read."""
        tensor = Tensor(f"t{len(self.nodes)}", tuple(shape), last)
        name = "" if self.chance(0.3) else f"node {len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, list(inputs), [tensor.name], name=name, **attributes))
        self.tensors.append(tensor)
        return tensor

    def split(self, inputs: Sequence[str], shapes: Sequence[Sequence[int]], *, last: bool, **attributes):
        """Appends a Split; gives its outputs."""
        stem = f"t{len(self.nodes)}"
        parts = [Tensor(f"{stem}.{index}", tuple(shape), last) for index, shape in enumerate(shapes)]
        if self.opset >= 18 and len(inputs) < 2:
            attributes["num_outputs"] = len(parts)
        self.nodes.append(helper.make_node("Split", list(inputs), [part.name for part in parts], **attributes))
        self.tensors += parts
        return parts

    def weight(self, *shape: int, kind: str = "normal") -> str:
        """A constant of this shape, of unit size as a kernel; sometimes one that other nodes read as well."""
        if (kind, shape) in self._shared and self.chance(0.15):
            return self._shared[kind, shape]
        name = self.constant(np.float32(self._draw(shape, kind)))
        self._shared[kind, shape] = name
        return name

    def _draw(self, shape: tuple[int, ...], kind: str) -> np.ndarray:
        if kind == "kernel":
            return self.rng.normal(size=shape) / math.sqrt(max(math.prod(shape[1:]), 1))
        if kind == "positive":
            return self.rng.uniform(0.5, 2.0, shape)
        if kind == "signed":
            return self.rng.uniform(0.5, 1.5, shape) * self.rng.choice((-1.0, 1.0), shape)
        return self.rng.normal(size=shape)

    def constant(self, array: np.ndarray) -> str:
        """The name of a constant that has this value, in one of the forms that exporters write."""
        array = np.asarray(array)
        form = self.rng.choice(FORMS, p=LIKELY) if array.dtype == np.float32 else "initializer"
        if form in ("transpose", "concat") and array.ndim == 0:
            form = "reshape"
        return getattr(self, f"_as_{form}")(array)

    def empty(self) -> str:
        """The name of a constant without elements, which stood for one that is left out."""
        return self._as_initializer(np.zeros(0, np.float32))

    def constant_of(self, op_type: str, *names: str, **attributes) -> str:
        """The name of what an operator makes of what is not an image, such as a shape."""
        return self._expression(op_type, *names, **attributes)

    def _as_initializer(self, array: np.ndarray) -> str:
        if self.ir_version < 4:
            return self._as_node(array)
        name = f"w{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array, name))
        return name

    def _as_node(self, array: np.ndarray) -> str:
        if self.opset < 9 and array.dtype != np.float32:  # no Constant of whole numbers yet
            return self._as_initializer(array)
        return self._expression("Constant", value=numpy_helper.from_array(array))

    def _as_identity(self, array: np.ndarray) -> str:
        return self._expression("Identity", self._as_initializer(array))

    def _as_sum(self, array: np.ndarray) -> str:
        half = self._as_initializer(array / np.float32(2))
        return self._expression("Add", half, half)

    def _as_difference(self, array: np.ndarray) -> str:
        return self._expression("Sub", self._as_initializer(array * np.float32(2)), self._as_initializer(array))

    def _as_reshape(self, array: np.ndarray) -> str:
        return self._expression(
            "Reshape", self._as_initializer(array.reshape(-1)), self._as_node(np.int64(array.shape))
        )

    def _as_transpose(self, array: np.ndarray) -> str:
        return self._expression("Transpose", self._as_initializer(np.ascontiguousarray(array.T)))

    def _as_cast(self, array: np.ndarray) -> str:
        return self._expression("Cast", self._as_initializer(array.astype(np.float64)), to=TensorProto.FLOAT)

    def _as_concat(self, array: np.ndarray) -> str:
        parts = [self._as_initializer(part) for part in (array[:1], array[1:])]
        return self._expression("Concat", *parts, axis=0)

    def _as_expand(self, array: np.ndarray) -> str:
        return self._expression("Expand", self._as_initializer(array), self._as_node(np.int64(array.shape)))

    def _expression(self, op_type: str, *inputs: str, **attributes) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], **attributes))
        return name

    def feeds(self) -> dict[str, np.ndarray]:
        """A signed value for every input."""
        return {each.name: np.float32(self.rng.normal(scale=2.0, size=each.shape)) for each in self.inputs}

    def model(self) -> onnx.ModelProto:
        """The graph whose outputs are all that nothing reads, and now and then something in the middle."""
        read = {name for node in self.nodes for name in node.input}
        made = self.tensors[len(self.inputs) :]
        ends = [tensor for tensor in made if tensor.name not in read]
        inner = [tensor for tensor in made if tensor.name in read]
        ends += [self.pick(inner)] if inner and self.chance(0.25) else []
        graph = helper.make_graph(
            self.nodes,
            "random",
            [self._declared(tensor) for tensor in self.inputs],
            [self._declared(tensor) for tensor in ends],
            self.initializers,
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=self.ir_version)

    def _declared(self, tensor: Tensor) -> onnx.ValueInfoProto:
        """The tensor's type, with names for the axes that are dynamic."""
        shape: list[int | str] = list(tensor.shape)
        if self.dynamic != "nothing":
            shape[0] = "batch"
        if self.dynamic == "sizes":
            shape = [size if axis in (0, tensor.axis) else f"{tensor.name} {axis}" for axis, size in enumerate(shape)]
        return helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, shape)
