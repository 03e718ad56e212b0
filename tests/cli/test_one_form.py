"""Before and after are counted on one form, and with one table of what operators multiply."""

import json

import onnx
import pytest
from onnx import TensorProto, helper

from repvgg_onnx.graph.macs import multiply_adds
from tests.cli.models import BLOCK, HEADER, PLAIN, filled


def counted(document):
    """Nodes and everything else of the table, before and after."""
    return tuple(
        (
            len(document[side]["profile"]["layers"]),
            *(document[side]["profile"][key] for key in ("macs", "activation_bytes_read", "peak_activation_bytes")),
        )
        for side in ("before", "after")
    )


def rows(text):
    """The table of changes: label to its two cells."""
    lines = [line.rsplit(maxsplit=2) for line in text.splitlines()]
    return {parts[0].strip(): tuple(parts[1:]) for parts in lines if len(parts) == 3}


def with_identities(model):
    """Every weight behind an Identity, as torch writes equal ones."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    names = [tensor.name for tensor in changed.graph.initializer]
    for node in changed.graph.node:
        node.input[:] = [f"{name}_same" if name in names else name for name in node.input]
    nodes = [helper.make_node("Identity", [name], [f"{name}_same"]) for name in names]
    for node in reversed(nodes):
        changed.graph.node.insert(0, node)
    return changed


def with_constants(model):
    """Every weight as a Constant node."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in model.graph.initializer:
        changed.graph.node.insert(0, helper.make_node("Constant", [], [tensor.name], value=tensor))
    del changed.graph.initializer[:]
    return changed


def overridable(model):
    """Every weight an input as well."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in model.graph.initializer:
        changed.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return changed


@pytest.mark.parametrize("write", [with_identities, with_constants, overridable])
def test_how_constants_are_written_does_not_matter(run, tmp_path, write):
    found = []
    for name, model in (("plain", filled(BLOCK)), ("written", write(filled(BLOCK)))):
        onnx.save(model, tmp_path / f"{name}.onnx")
        options = ("fuse", tmp_path / f"{name}.onnx", "--check", "--freeze-initializers")
        found.append((counted(json.loads(run(*options, "--json").out)), rows(run(*options).out)["all nodes"]))

    assert found[0] == found[1]
    assert found[0][1] == ("6", "2")


def test_a_change_that_is_only_bookkeeping_is_none(run, tmp_path):
    """Initializers are frozen and nothing folds: the figures are the same before and after."""
    onnx.save(overridable(filled(PLAIN)), tmp_path / "net.onnx")

    ran = run("fuse", tmp_path / "net.onnx", "--freeze-initializers", "--no-bench", "--json")

    before, after = counted(json.loads(ran.out))
    assert before == after


def test_functions_are_inlined_on_both_sides(run, tmp_path):
    """A block in a function that is called twice is counted twice, before as after."""
    text = """
        <ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        net (float[1,4,5,7] x) => (float[1,4,5,7] y) {
            a = local.block (x, w, g, b, m, v)  y = local.block (a, w, g, b, m, v)
        }
        <opset_import: ["" : 17], domain: "local">
        block (x, w, g, b, m, v) => (y) { c = Conv (x, w)  n = BatchNormalization (c, g, b, m, v)  y = Relu (n) }
    """
    model = onnx.parser.parse_model(text)
    weights = [index / 16 for index in range(16)]
    model.graph.initializer.append(helper.make_tensor("w", TensorProto.FLOAT, [4, 4, 1, 1], weights))
    for name, value in (("g", 1.5), ("b", 0.5), ("m", 0.25), ("v", 2.0)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.FLOAT, [4], [value] * 4))
    onnx.save(model, tmp_path / "net.onnx")

    table = rows(run("fuse", tmp_path / "net.onnx", "--check").out)

    assert table["all nodes"] == ("6", "4")
    assert table["BatchNormalization"] == ("2", "0")


MODELS = {
    "block": BLOCK,
    "chain": f"""{HEADER} net (float[1,4,9,11] image) => (float[1,4,9,11] out) {{
        a = Conv (image, kernel1, bias1)  b = Conv <pads = [1, 1, 1, 1]> (a, kernel3)  out = Relu (b) }}""",
    "pooled branch": f"""{HEADER} net (float[1,4,9,11] image) => (float[1,4,9,11] out) {{
        a = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (image)
        b = Conv (a, kernel1)  c = Conv <pads = [1, 1, 1, 1]> (image, kernel3)  d = Add (b, c)  out = Relu (d) }}""",
    "dense": f"""{HEADER} net (float[3,4,9,4] image) => (float[3,4,9,4] out) {{
        a = MatMul (image, square)  b = Mul (a, gain)  c = MatMul (b, square)  out = Relu (c) }}""",
    "transposed": f"""{HEADER} net (float[1,4,9,11] image) => (float[1,4,11,13] out) {{
        a = ConvTranspose (image, kernel3)  b = BatchNormalization (a, gamma, beta, mean, var)  out = Relu (b) }}""",
}


@pytest.mark.parametrize("name", MODELS)
def test_regions_cost_what_the_census_says(run, tmp_path, name):
    model = filled(MODELS[name])
    for weight, shape in (("square", (4, 4)), ("gain", (4,))):
        if any(weight in node.input for node in model.graph.node):
            values = [0.5 + index / 8 for index in range(shape[0] * (shape[1] if len(shape) > 1 else 1))]
            model.graph.initializer.append(helper.make_tensor(weight, TensorProto.FLOAT, shape, values))
    onnx.save(model, tmp_path / "net.onnx")

    document = json.loads(
        run("fuse", tmp_path / "net.onnx", "--check", "--shape", "image=" + shape_of(model), "--json").out
    )

    assert document["regions"]
    for side in ("before", "after"):
        rest = document[side]["profile"]["macs"] - sum(region[f"macs_{side}"] for region in document["regions"])
        assert rest == 0


def shape_of(model):
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return ",".join(str(dim.dim_value or 2) for dim in dims)


def test_pooling_multiplies_nothing():
    assert multiply_adds("AveragePool", {"kernel_shape": [3, 3]}, [(1, 4, 9, 11)], (1, 4, 9, 11)) == 0
    assert multiply_adds("Conv", {}, [(1, 4, 9, 11), (6, 4, 3, 3)], (1, 6, 7, 9)) == 6 * 7 * 9 * 4 * 9
