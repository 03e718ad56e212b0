"""The contracts of fuse(): what never changes, what is said about a fold, and the same bytes every time."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import repvgg_onnx
from repvgg_onnx import CheckError, fuse
from repvgg_onnx.compiler.results import Member
from repvgg_onnx.graph.load import Source
from tests.models import assert_fuses, assert_same_outputs, assert_settled, build, ops, repvgg_block, weights_of

MEMBERS, VERSION = "repvgg_onnx.members", "repvgg_onnx.version"


def annotated() -> onnx.ModelProto:
    """A block between two other nodes, with everything set that a fold has no business with."""
    text = """net (float[1,4,9,11] x) => (float[1,4,9,11] y) {
        r = Relu(x)
        a = Conv<pads=[1,1,1,1]>(r, w3)
        b = BatchNormalization(a, gamma, beta, mean, var)
        c = Conv(r, w1)
        d = Add(b, c)
        y = Sigmoid(d)
    }"""
    model = build(text, w3=(4, 4, 3, 3), w1=(4, 4, 1, 1), gamma=(4,), beta=(4,), mean=(4,), var=(4,))
    model.producer_name, model.producer_version, model.domain = "producer", "1.2", "org.example"
    model.model_version, model.doc_string = 7, "about the model"
    model.metadata_props.add(key="labels", value="a,b")
    graph = model.graph
    graph.doc_string = "about the graph"
    graph.metadata_props.add(key="graph", value="g")
    for index in (0, 5):
        graph.node[index].doc_string = f"about node {index}"
        graph.node[index].name = f"node {index}"
        graph.node[index].metadata_props.add(key="source", value=f"line {index}")
    for name in "rabd":
        graph.value_info.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4, 9, 11]))
        graph.quantization_annotation.add(tensor_name=name).quant_parameter_tensor_names.add(
            key="SCALE_TENSOR", value="x"
        )
    return model


def test_what_a_fold_has_no_business_with_survives():
    before, after = annotated(), fuse(annotated()).model
    assert ops(after) == ["Relu", "Conv", "Sigmoid"]
    for field in ("ir_version", "producer_name", "producer_version", "domain", "model_version", "doc_string"):
        assert getattr(after, field) == getattr(before, field)
    assert after.opset_import == before.opset_import
    assert after.metadata_props[0] == before.metadata_props[0]
    assert after.graph.input == before.graph.input
    assert after.graph.output == before.graph.output
    assert (after.graph.name, after.graph.doc_string) == ("net", "about the graph")
    assert after.graph.metadata_props == before.graph.metadata_props
    assert after.graph.node[0] == before.graph.node[0]
    assert after.graph.node[2] == before.graph.node[5]


def test_notes_on_tensors_live_as_long_as_the_tensors():
    before, after = annotated().graph, fuse(annotated()).model.graph
    assert [value for value in before.value_info if value.name in "rd"] == list(after.value_info)
    assert [note for note in before.quantization_annotation if note.tensor_name in "rd"] == list(
        after.quantization_annotation
    )


def test_functions_and_unused_things_of_the_input_survive():
    text = """<ir_version: 10, opset_import: ["" : 17, "local" : 1]>
        net (float[1,4,5,7] x, float[3] unused) => (float[1,4,5,7] y) {
            a = Conv(x, w)  b = Mul(a, s)  y = local.Act(b)
        }
        <domain: "local", opset_import: ["" : 17]> Act (p) => (q) { q = Relu(p) }"""
    model = build(text, w=(4, 4, 1, 1), s=(1,), spare=(2,))
    fused = fuse(model).model
    assert fused.functions == model.functions
    assert [value.name for value in fused.graph.input] == ["x", "unused"]
    assert "spare" in weights_of(fused)


@pytest.mark.parametrize("ir_version", [3, 4, 8])
def test_old_ir_versions_give_valid_models(ir_version):
    """Version 3 wants every initializer among the inputs, and the inputs never change."""
    text = """net (float[1,2,5,7] x) => (float[1,2,5,7] y) {
        w = Constant<value = float[2,2,1,1] {1, -2, 3, 4}>()  s = Constant<value = float[1] {2}>()
        a = Conv(x, w)  y = Mul(a, s)
    }"""
    model = build(text, opset=9, ir_version=ir_version)
    fused = fuse(model).model
    assert fused.ir_version == ir_version
    assert fused.graph.input == model.graph.input
    assert_same_outputs(model, fused)


def test_a_fused_node_says_what_it_stands_for():
    fusion = fuse(repvgg_block())
    conv = fusion.model.graph.node[0]
    (entry,) = conv.metadata_props
    assert entry.key == MEMBERS
    stated = json.loads(entry.value)
    assert [tuple(pair) for pair in stated] == [(m.op_type, m.name) for m in fusion.regions[0].members]
    assert sorted(op_type for op_type, _ in stated) == sorted(ops(repvgg_block())[:-1])
    assert {prop.key: prop.value for prop in fusion.model.metadata_props} == {VERSION: repvgg_onnx.__version__}


def test_a_second_fold_keeps_the_first_ones_members():
    """What was fused before, and has something new after it, stands for all of it."""
    first = fuse(repvgg_block()).model
    del first.graph.node[1]
    first.graph.node.append(helper.make_node("Neg", ["g"], ["y"], name="late"))
    (region,) = fuse(first).regions
    assert region.members[-1] == Member("late", "Neg")
    assert len(region.members) == len(set(region.members)) == 8
    (props,) = {prop.value for prop in fuse(first).model.metadata_props}
    assert props == repvgg_onnx.__version__


def test_provenance_that_others_wrote_is_no_reason_to_stop():
    model = repvgg_block()
    model.graph.node[0].metadata_props.add(key=MEMBERS, value="not what this package writes")
    assert_same_outputs(model, fuse(model).model)


def test_a_region_says_what_it_is():
    (region,) = fuse(repvgg_block(6, group=2)).regions
    assert (region.root, region.sink, region.op_type) == ("x", "g", "Conv")
    assert (region.c_in, region.c_out, region.group) == (6, 6, 2)
    assert region.branches == ("3x3 group 2 Conv", "1x1 group 2 Conv", "BN")
    assert (region.strides, region.pads, region.dilations) == ((1, 1), (1, 1, 1, 1), (1, 1))
    assert region.cost_after.total < region.cost_before.total
    positions = 9 * 11
    assert region.cost_before.macs == positions * 6 * 3 * (9 + 1)
    assert region.cost_after.macs == positions * 6 * 3 * 9


def test_a_path_bytes_and_a_model_give_the_same(tmp_path):
    model = repvgg_block()
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    fusions = [fuse(source) for source in (model, path, str(path), path.read_bytes())]
    for fusion in fusions[1:]:
        assert fusion.model == fusions[0].model
        assert fusion.regions == fusions[0].regions
        assert fusion.refusals == fusions[0].refusals
    assert path.read_bytes() == model.SerializeToString()
    assert list(tmp_path.iterdir()) == [path]


def test_the_input_is_never_changed_and_nothing_is_printed(capfd):
    model = annotated()
    before = model.SerializeToString(deterministic=True)
    fuse(model)
    assert model.SerializeToString(deterministic=True) == before
    assert capfd.readouterr() == ("", "")


def test_attributes_that_the_graph_library_does_not_know_are_not_talked_about(capfd):
    model = build(
        "net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv(x, w)  y = Mul(a, s) }", w=(4, 4, 1, 1), s=(1,)
    )
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [1]))
    model.graph.node.insert(0, helper.make_node("Optional", [], ["o"], type=kind))
    assert ops(fuse(model).model) == ["Optional", "Conv"]
    assert capfd.readouterr() == ("", "")


def test_fusing_the_output_finds_nothing_and_gives_back_the_same_object():
    fused = fuse(annotated()).model
    again = fuse(fused)
    assert again.model is fused
    assert not again.regions


def test_the_same_bytes_twice_and_in_another_process():
    code = (
        "import hashlib; from repvgg_onnx import fuse; from tests.compiler.test_fuse import annotated;"
        "print(hashlib.sha256(fuse(annotated()).model.SerializeToString()).hexdigest())"
    )
    here = {hashlib.sha256(fuse(annotated()).model.SerializeToString()).hexdigest() for _ in range(2)}
    root = Path(__file__).parents[2]
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        )
        here.add(done.stdout.strip())
    assert len(here) == 1


def test_sizes_are_for_the_cost_and_must_fit():
    model = repvgg_block(size="H,W")
    assert fuse(model, shapes={"x": (1, 4, 32, 40)}).model == fuse(model).model
    small, large = (fuse(model, shapes={"x": (1, 4, *size)}).regions[0] for size in ((8, 9), (16, 18)))
    assert large.cost_before.macs == 4 * small.cost_before.macs
    with pytest.raises(CheckError):
        fuse(model, shapes={"x": (1, 5, 32, 40)})
    with pytest.raises(CheckError):
        fuse(model, shapes={"z": (1, 4, 32, 40)})


def test_an_overflow_of_one_block_leaves_the_others():
    text = """net (float16[1,4,5,7] x) => (float16[1,4,5,7] y) {
        a = Conv(x, w)  b = Mul(a, large)  r = Relu(b)  c = Conv(r, w)  d = Mul(c, s)  y = Relu(d)
    }"""
    model = build(text, dtype=np.float16, w=(4, 4, 1, 1), s=(1,), large=np.float16([60000.0]))
    fusion = fuse(model)
    assert ops(fusion.model) == ["Conv", "Mul", "Relu", "Conv", "Relu"]
    assert [refusal.code for refusal in fusion.refusals] == ["overflow"]
    assert_settled(fusion)


def test_weights_of_the_last_member_do_not_stay_behind():
    text = """net (float[1,4,5,7] x) => (float[1,4,5,7] y) {
        a = Conv(x, w)  y = BatchNormalization(a, gamma, beta, mean, var)
    }"""
    fused = assert_fuses(build(text, w=(4, 4, 1, 1), gamma=(4,), beta=(4,), mean=(4,), var=(4,)), ["Conv"]).model
    assert len(fused.graph.initializer) == 2


@pytest.mark.parametrize("ir_version", [3, 10])
def test_whatever_a_model_is_given_as_becomes_the_same_bytes(tmp_path, ir_version):
    text = (
        "net (float[1,4,5,7] x{}) => (float[1,6,5,7] y) {{ c = Conv(x, k)  m = Mul(c, g)  n = Relu(m)  y = Mul(n, g) }}"
    )
    listed = ", float[6,4,64,64] k, float[6,1,1] g" if ir_version < 4 else ""
    model = build(text.format(listed), ir_version=ir_version, k=(6, 4, 64, 64), g=(6, 1, 1))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 4, 68, 70)))
    onnx.save(model, tmp_path / "net.onnx")  # a kernel this large stays in the file until it is read
    given = [model, model.SerializeToString(), tmp_path / "net.onnx"]

    made = [fuse(each) for each in given]

    assert len({fusion.model.SerializeToString(deterministic=True) for fusion in made}) == 1
    assert [len(fusion.regions) for fusion in made] == [1, 1, 1]
    assert len({fusion.remarks for fusion in made}) == 1
    source = Source.of(tmp_path / "net.onnx")
    for _ in range(2):  # a source is not used up
        fusion = fuse(source)
        fusion.files.load_all(fusion.model)
        assert fusion.model.SerializeToString(deterministic=True) == made[0].model.SerializeToString(deterministic=True)
