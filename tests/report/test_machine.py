import json

from repvgg_onnx.report.document import SCHEMA_VERSION
from repvgg_onnx.report.machine import fuse_json, parity_json
from repvgg_onnx.report.model import Verdict
from tests.report.values import agreement, bisection, parity, region, report, wrong_shape


def test_the_report_has_its_version_first_and_its_keys_in_one_order():
    document = json.loads(fuse_json(report()))

    assert list(document) == [
        "schema_version",
        "tool_version",
        "verdict",
        "min_speedup",
        "max_foldable",
        "overridable",
        "remedy",
        "notes",
        "remarks",
        "baseline",
        "sizes",
        "before",
        "after",
        "regions",
        "refusals",
        "advice",
        "parity",
        "region_parities",
        "rolled_back",
        "decisions",
        "latency",
        "warnings",
        "seconds",
        "target",
    ]
    assert document["schema_version"] == SCHEMA_VERSION == 1
    assert document["tool_version"] == "9.8.7"


def test_models_are_there_with_their_census():
    document = json.loads(fuse_json(report()))

    assert document["before"] == {
        "path": "net.onnx",
        "size_bytes": 36_412_345,
        "nodes": 105,
        "nodes_by_op": {"Add": 39, "Conv": 44, "Relu": 22},
        "parameters": 9_108_728,
        "tensor_bytes": 36_434_912,
        "profile": None,
    }


def test_a_region_has_its_members_geometry_and_costs():
    (found,) = json.loads(fuse_json(report(regions=(region(3, group=2),))))["regions"]

    assert found == {
        "name": "sum_3/fused",
        "root": "x_3",
        "sink": "sum_3",
        "members": [{"name": "conv_3", "op_type": "Conv"}, {"name": "add_3", "op_type": "Add"}],
        "branches": ["3x3 Conv", "1x1 Conv", "identity"],
        "op_type": "Conv",
        "c_in": 4,
        "c_out": 6,
        "kernel_shape": [3, 3],
        "strides": [1, 1],
        "pads": [1, 1, 1, 1],
        "dilations": [1, 1],
        "group": 2,
        "moved": "",
        "macs_before": 700,
        "moved_bytes_before": 90,
        "macs_after": 600,
        "moved_bytes_after": 50,
        "saving": 140,
    }


def test_refusals_parity_and_latency_are_there():
    document = json.loads(fuse_json(report()))

    assert document["refusals"][0]["code"] == "strides-differ"
    assert document["parity"]["passed"] is True
    assert document["parity"]["outputs"][0]["error"] == 2.4e-7
    assert document["latency"]["verdict"] == "faster"
    assert document["latency"]["before"]["median_ns"] == 12_345_678
    assert document["latency"]["after"]["samples_ns"] == [10_829_541, 10_829_542, 10_829_543]
    assert document["latency"]["conditions"]["shapes"] == {"x": [1, 4, 5, 7]}


def test_agreements_have_accuracies_where_labels_are_known():
    content = json.loads(parity_json("9.8.7", parity(agreements=(agreement(), agreement(labelled=0)))))["parity"]

    assert content["agreements"] == [
        {
            "output": "y",
            "rows": 450,
            "same": 449,
            "before": {"rows": 450, "top1": 445, "top5": 450},
            "after": {"rows": 450, "top1": 444, "top5": 449},
        },
        {"output": "y", "rows": 450, "same": 449, "before": None, "after": None},
    ]


def test_a_bisection_has_its_origins_and_every_tensor():
    found = json.loads(parity_json("9.8.7", parity(), bisection()))["bisection"]

    assert list(found) == ["obstacle", "tolerance", "tolerance_reason", "feeds", "level", "origins", "tensors"]
    assert found["origins"] == ["t_1"]
    assert found["tensors"][1] == {
        "name": "t_1",
        "node": "node_1",
        "op_type": "Conv",
        "members": ["node_0", "node_1"],
        "error": 0.25,
        "error_of_inputs": 1e-7,
        "origin": True,
        "feed": "normal, seed 0",
        "reason": "",
    }
    assert found["tensors"][2]["error"] is None


def test_what_was_not_measured_is_null():
    document = json.loads(fuse_json(report(parity=None, latency=None)))

    assert document["parity"] is None
    assert document["latency"] is None


def test_infinite_errors_are_null_and_keep_their_reason():
    found = json.loads(fuse_json(report(parity=wrong_shape(), verdict=Verdict.PARITY_FAILED)))["parity"]

    assert found["passed"] is False
    assert found["error"] is None
    assert found["outputs"][0]["error"] is None
    assert found["outputs"][0]["reason"] == "the shape is (1, 2) instead of (1, 3)"


def test_the_same_report_is_the_same_text():
    assert fuse_json(report()) == fuse_json(report())


def test_parity_alone_is_as_in_the_whole():
    whole = json.loads(fuse_json(report()))

    assert json.loads(parity_json("9.8.7", parity())) == {
        "schema_version": 1,
        "tool_version": "9.8.7",
        "sizes": None,
        "parity": whole["parity"],
        "bisection": None,
    }
