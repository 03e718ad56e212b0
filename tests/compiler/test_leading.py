"""Arithmetic in front of a kernel: taken in, unless a runtime has it for free where it is."""

import re

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from repvgg_onnx import fuse
from tests.models import assert_same_outputs, build

GELU = """net (float[1,4,8,6] x) => (float[1,5,8,6] y) {
    a = Conv(x, w)
    d = Div(a, root2)  e = Erf(d)  p = Add(e, one)  m = Mul(a, p)  h = Mul(m, half)
    y = Conv(h, v)
}"""
GELU_WEIGHTS = {"w": (4, 4, 1, 1), "v": (5, 4, 1, 1), "root2": (), "one": (), "half": ()}


def with_values(model: onnx.ModelProto, **values: float) -> onnx.ModelProto:
    for tensor in model.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(onnx.helper.make_tensor(tensor.name, onnx.TensorProto.FLOAT, [], [values[tensor.name]]))
    return model


def fused_operators(model: onnx.ModelProto, path) -> list[str]:
    """Operators of the model after onnxruntime has optimized it."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]


def test_a_gelu_keeps_its_factor_so_that_the_runtime_finds_it(tmp_path):
    model = with_values(build(GELU, **GELU_WEIGHTS), root2=2**0.5, one=1.0, half=0.5)
    assert "Gelu" in fused_operators(model, tmp_path / "before.onnx")
    fused = fuse(model).model
    assert [node.op_type for node in fused.graph.node].count("Mul") == 2
    assert "Gelu" in fused_operators(fused, tmp_path / "after.onnx")


POLYNOMIAL = "a = Mul(x, x)  c = Mul(a, x)  q = Mul(c, factor)  s = Add(x, q)  v3 = Mul(s, factor)"
DEVIATION = (
    "n = ReduceMean<axes=[1]>(x)  m = Sub(x, n)  q = Mul(m, m)  d = ReduceMean<axes=[1]>(q)  e = Add(d, epsilon)  "
    "v3 = Sqrt(e)"
)
LEADING = {  # what computes the root, the arithmetic, and whether the kernel takes it in
    "input": ("r = Identity(x)", "h = Mul(r, gain)", True),
    "relu": ("r = Relu(x)", "h = Mul(r, factor)", True),
    "sum": ("r = Add(x, z)", "h = Mul(r, factor)", True),
    "product-by-a-constant": ("q = Relu(x)  r = Mul(q, z)", "h = Add(r, gain)", True),
    "product-then-gain": ("r = Mul(x, z)", "h = Mul(r, gain)", True),
    "product-then-offset": ("r = Mul(x, z)", "h = Add(r, factor)", True),
    "product-then-factor": ("r = Mul(x, z)", "h = Mul(r, factor)", True),
    "hard-swish": ("a = Add(x, factor)  c = Clip(a, low, high)  r = Mul(x, c)", "h = Div(r, factor)", True),
    "mish": ("s = Softplus(x)  t = Tanh(s)  r = Mul(x, t)", "h = Mul(r, factor)", True),
    "swish": ("s = Sigmoid(x)  r = Mul(x, s)", "h = Mul(r, factor)", True),
    "quotient-then-gain": ("r = Div(x, z)", "h = Mul(r, gain)", True),
    "gelu": ("d = Div(x, factor)  e = Erf(d)  p = Add(e, factor)  r = Mul(x, p)", "h = Mul(r, factor)", False),
    "gelu-turned": ("d = Mul(x, factor)  e = Erf(d)  p = Add(factor, e)  r = Mul(p, x)", "h = Div(r, factor)", False),
    "erf-of-another": ("d = Mul(z, factor)  e = Erf(d)  p = Add(e, factor)  r = Mul(x, p)", "h = Mul(r, factor)", True),
    "gelu-then-gain": ("d = Div(x, factor)  e = Erf(d)  p = Add(e, factor)  r = Mul(x, p)", "h = Mul(r, gain)", True),
    "tanh-gelu": (f"{POLYNOMIAL}  t = Tanh(v3)  p = Add(t, factor)  r = Mul(x, p)", "h = Mul(r, factor)", False),
    "tanh-gelu-by-powers": (
        "c = Pow(x, three)  q = Mul(c, factor)  s = Add(x, q)  v3 = Mul(s, factor)  t = Tanh(v3)  p = Add(t, factor)  "
        "g = Mul(x, factor)  r = Mul(g, p)",
        "h = Mul(r, factor)",
        False,
    ),
    "layer-normalization": (f"{DEVIATION}  r = Div(m, v3)", "h = Mul(r, gain)", False),
    "layer-normalization-and-offset": (f"{DEVIATION}  r = Div(m, v3)", "g = Mul(r, gain)  h = Add(g, gain)", False),
}


@pytest.mark.parametrize(("before", "arithmetic", "taken"), LEADING.values(), ids=LEADING)
def test_arithmetic_before_a_kernel_is_taken_in_unless_it_belongs_to_what_is_before(before, arithmetic, taken):
    text = f"net (float[1,4,8,6] x, float[1,4,8,6] z) => (float[1,5,8,6] y) {{ {before} {arithmetic} y = Conv(h, v) }}"
    weights = {"v": (5, 4, 1, 1), "gain": (1, 4, 1, 1), "factor": (1, 1, 1, 1)}
    weights |= {
        "low": np.array(0, "f"),
        "high": np.array(6, "f"),
        "three": np.array(3, "f"),
        "epsilon": np.float32([0.1]),
    }
    used = {name: shape for name, shape in weights.items() if name in re.findall(r"\w+", text)}
    model = build(text, **(used | {"v": weights["v"]}))
    fusion = fuse(model)
    assert bool(fusion.regions) is taken
    assert_same_outputs(model, fusion.model)
    assert fuse(fusion.model).model is fusion.model
