"""Whole networks that the onnx package brings along for its backend tests."""

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
from onnx import numpy_helper

from tests.models import fill

STORED = Path(onnx.backend.test.__file__).parent / "data"


def light(name: str) -> onnx.ModelProto:
    """One of the networks, with random weights where the file fills each weight with one number at every run."""
    model = onnx.load(STORED / "light" / f"light_{name}.onnx")
    graph, rng = model.graph, np.random.default_rng(0)
    shapes = {tensor.name: tensor for tensor in graph.initializer}
    norms = [node for node in graph.node if node.op_type == "BatchNormalization"]
    roles = {
        name: ("x", "gamma", "beta", "mean", "var")[index] for node in norms for index, name in enumerate(node.input)
    }
    for node in [node for node in graph.node if node.op_type == "ConstantOfShape"]:
        (name,) = node.output
        shape = numpy_helper.to_array(shapes[node.input[0]])
        scale = np.sqrt(2.0 / np.prod(shape[1:])) if len(shape) > 1 else 1.0
        array = fill(roles.get(name, "other"), shape, rng) * scale
        graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
        graph.node.remove(node)
    model.ir_version = 4  # initializers need not be inputs from then on
    return model
