"""Small models as ONNX parser text, with seeded weights and seeded inputs."""

from collections import Counter
from collections.abc import Iterable

import ml_dtypes
import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper, numpy_helper

from repvgg_onnx import Fusion, fuse
from tests.oracle import error, run

WORST = 1e-6  # normalized error of one folded block in float32
BF16 = ml_dtypes.bfloat16
DYNAMIC = (2, 3, 9, 11, 5)  # size of a dynamic axis by its position


def build(text: str, **options):
    """A checked model; the arguments are those of ``unchecked``."""
    model = unchecked(text, **options)
    onnx.checker.check_model(model)
    return model


def unchecked(text: str, *, opset: int = 17, ir_version: int = 10, dtype=np.float32, seed: int = 0, **weights):
    """A model: the text of a graph (and of functions), and initializers by name.

    Args:
        text: ONNX parser text; without a header in angle brackets it gets one from ``opset`` and ``ir_version``.
        weights: an array, which is taken as it is, or a shape, which is filled by ``fill``.
    """
    header = f'<ir_version: {ir_version}, opset_import: ["" : {opset}]>'
    model = onnx.parser.parse_model(text if text.lstrip().startswith("<") else header + text)
    rng = np.random.default_rng(seed)
    for name, weight in weights.items():
        array = weight if isinstance(weight, np.ndarray) else fill(name, weight, rng).astype(dtype)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def fill(name: str, shape: Iterable[int], rng: np.random.Generator) -> np.ndarray:
    """Random numbers for a weight: a ``var...`` is positive, a ``gamma...`` has both signs, the rest is normal."""
    if name.startswith("var"):
        return rng.uniform(0.5, 2.0, tuple(shape))
    if name.startswith("gamma"):
        return rng.uniform(0.5, 1.5, tuple(shape)) * rng.choice([-1.0, 1.0], tuple(shape))
    return rng.normal(size=tuple(shape))


def perturbed(original: onnx.ModelProto, by: float = 1e-3, *, name: str = "") -> onnx.ModelProto:
    """A copy in which the first element of an initializer has moved by a part of the initializer's largest magnitude.

    Args:
        original: not changed.
        by: what part.
        name: of the initializer; the first kernel of images where it is not given.
    """
    changed = onnx.ModelProto()
    changed.CopyFrom(original)
    stored = changed.graph.initializer
    tensor = next(each for each in stored if (each.name == name if name else len(each.dims) == 4))
    array = numpy_helper.to_array(tensor).copy()
    array.flat[0] += np.asarray(by * np.abs(array).astype(np.float64).max()).astype(array.dtype)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return changed


def batch_norm(channels: int, *suffixes: str) -> dict[str, tuple[int]]:
    """Statistics for ``BatchNormalization(x, gamma, beta, mean, var)``, once for each suffix of the names."""
    return {f"{name}{suffix}": (channels,) for suffix in suffixes or ("",) for name in ("gamma", "beta", "mean", "var")}


def feeds(model: onnx.ModelProto, seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    """A signed input for every graph input that has no initializer."""
    rng = np.random.default_rng(seed)
    stored = {tensor.name for tensor in model.graph.initializer}
    made = {}
    for value in model.graph.input:
        if value.name in stored:
            continue
        tensor = value.type.tensor_type
        declared = tuple(
            dim.dim_value if dim.dim_value > 0 else size for dim, size in zip(tensor.shape.dim, DYNAMIC, strict=False)
        )
        array = rng.normal(scale=2.0, size=shapes.get(value.name, declared))
        made[value.name] = np.asarray(array).astype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    return made


def assert_same_outputs(before, after, tolerance: float = WORST, *, seed: int = 0, **shapes) -> None:
    """Both models give the same outputs, with onnxruntime's own optimizations off and on."""
    onnx.checker.check_model(after, full_check=True)
    assert [value.name for value in after.graph.output] == [value.name for value in before.graph.output]
    given = feeds(before, seed, **shapes)
    for level in ("disabled", "all"):
        for expected, actual in zip(run(before, given, level), run(after, given, level), strict=True):
            assert error(expected, actual) <= tolerance, level


def count(model: onnx.ModelProto) -> Counter[str]:
    """Nodes of the main graph by operator."""
    return Counter(ops(model))


def ops(model: onnx.ModelProto) -> list[str]:
    """Operators of the main graph in its order."""
    return [node.op_type for node in model.graph.node]


def weights_of(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Initializers of the main graph by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def attributes_of(node: onnx.NodeProto) -> dict[str, object]:
    """Attributes of a node by name."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def assert_fuses(model: onnx.ModelProto, expected: list[str], tolerance: float = WORST, **shapes) -> Fusion:
    """The model folds to these operators: same outputs, nothing left over, nothing more to find."""
    fusion = fuse(model)
    assert ops(fusion.model) == expected
    assert_same_outputs(model, fusion.model, tolerance, **shapes)
    assert_settled(fusion)
    assert_explained(fusion)
    return fusion


def assert_final(fusion: Fusion) -> None:
    """Fusing again finds nothing and gives the same object."""
    again = fuse(fusion.model)
    assert again.regions == ()
    unchanged = again.model is fusion.model
    assert unchanged


def assert_settled(fusion: Fusion) -> None:
    """Fusing again gives the same object, and no weight is stored that nothing reads."""
    assert_final(fusion)
    graph = fusion.model.graph
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    inner = [attribute.g for node in graph.node for attribute in node.attribute if attribute.HasField("g")]
    read |= {name for body in inner for node in body.node for name in node.input}
    stored = {tensor.name for tensor in graph.initializer} - {value.name for value in graph.input}
    assert stored <= read


def assert_refuses(model: onnx.ModelProto, *codes: str, below: bool = True) -> Fusion:
    """Nothing folds, the same object comes back with the same bytes, and each code is among the reasons."""
    before = model.SerializeToString(deterministic=True)
    fusion = fuse(model, below=below)
    assert not fusion.regions
    assert fusion.model is model
    assert model.SerializeToString(deterministic=True) == before
    assert set(codes) <= {refusal.code for refusal in fusion.refusals}
    assert all(refusal.node and refusal.sentence for refusal in fusion.refusals)
    assert_explained(fusion)
    return fusion


FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
KERNELS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def assert_explained(fusion: Fusion) -> None:
    """Every BatchNormalization, and every gain or offset beside a kernel, that is still there is named by a refusal."""
    named = {refusal.node for refusal in fusion.refusals}
    for graph in (fusion.model.graph, *inner_graphs(fusion.model.graph)):
        left = {node.name or node.output[0] for node in graph.node if is_left_over(node, graph)}
        assert left <= named, left - named


def inner_graphs(graph: onnx.GraphProto) -> Iterable[onnx.GraphProto]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield attribute.g
                yield from inner_graphs(attribute.g)


def is_left_over(node: onnx.NodeProto, graph: onnx.GraphProto) -> bool:
    """Whether the node is a BatchNormalization, or arithmetic with a constant next to a kernel."""
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "BatchNormalization":
        return True
    given = {value.name for value in graph.input}
    if any(tensor.name in node.input and tensor.data_type not in FLOATS for tensor in graph.initializer):
        return False
    constants = {tensor.name for tensor in graph.initializer if tensor.name not in given}
    constants |= {each.output[0] for each in graph.node if each.op_type == "Constant"}
    data = [name for name in node.input if name not in constants]
    if node.op_type not in ("Add", "Sub", "Mul", "Div") or len(data) != 1:
        return False
    kernels = [each for each in graph.node if each.op_type in KERNELS and each.domain in ("", "ai.onnx")]
    return any(data[0] in each.output or node.output[0] in each.input for each in kernels)


def repvgg_block(
    channels: int = 4,
    *,
    group: int = 1,
    stride: int = 1,
    dilation: int = 1,
    c_out: int | None = None,
    size: str = "9,11",
    pads: str | None = None,
    opset: int = 17,
    **options,
) -> onnx.ModelProto:
    """A training-time block with every BatchNormalization: 3x3, 1x1, and the identity where it fits."""
    c_out = c_out or channels
    skip = stride == 1 and c_out == channels
    pads = pads or ",".join([str(dilation)] * 4)
    common = f"group={group}, strides=[{stride},{stride}]"
    identity = "e = BatchNormalization(x, gamma3, beta3, mean3, var3)\n g = Add(f, e)" if skip else "g = Identity(f)"
    suffixes = ("1", "2", "3") if skip else ("1", "2")
    statistics = dict.fromkeys(batch_norm(c_out, *suffixes), (c_out,))
    text = f"""net (float[1,{channels},{size}] x) => (float[N,{c_out},H,W] y) {{
        a = Conv<{common}, pads=[{pads}], dilations=[{dilation},{dilation}]>(x, w3)
        b = BatchNormalization(a, gamma1, beta1, mean1, var1)
        c = Conv<{common}>(x, w1)
        d = BatchNormalization(c, gamma2, beta2, mean2, var2)
        f = Add(b, d)
        {identity}
        y = Relu(g)
    }}"""
    kernels = {"w3": (c_out, channels // group, 3, 3), "w1": (c_out, channels // group, 1, 1)}
    return build(text, opset=opset, **kernels, **statistics, **options)


def branch_to_fold() -> onnx.ModelProto:
    """An If, one branch of which has a Conv and a Mul."""
    text = """net (float[1,4,5,7] x, bool t) => (float[1,4,5,7] y) {
        y = If(t)<then_branch = one () => (float[1,4,5,7] p) { q = Conv(x, w)  p = Mul(q, s) },
                  else_branch = two () => (float[1,4,5,7] r) { r = Relu(x) }>
    }"""
    return build(text, w=(4, 4, 1, 1), s=(4, 1, 1))
