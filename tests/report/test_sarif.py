import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from repvgg_onnx.report.model import Outcome, Verdict
from repvgg_onnx.report.sarif import sarif_report
from tests.report.values import foldable, fused, refusal, report, run_of, unusable, wrong_shape

SCHEMA = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft4Validator(SCHEMA, format_checker=jsonschema.Draft4Validator.FORMAT_CHECKER)


def read(*outcomes):
    return json.loads(sarif_report(run_of(*outcomes)))


def results(*outcomes):
    return read(*outcomes)["runs"][0]["results"]


@pytest.mark.parametrize(
    "outcome",
    [foldable(), foldable(error=None), fused(), unusable(), foldable(refusals=(refusal(0, "training-mode"),))],
)
def test_the_document_follows_the_schema(outcome):
    assert [error.message for error in VALIDATOR.iter_errors(read(outcome))] == []


def test_a_key_that_sarif_does_not_know_is_noticed():
    document = read(foldable())
    document["runs"][0]["results"][0]["severity"] = 1
    (error,) = VALIDATOR.iter_errors(document)
    assert "severity" in error.message


def test_a_result_without_a_message_is_noticed():
    document = read(foldable())
    del document["runs"][0]["results"][0]["message"]
    (error,) = VALIDATOR.iter_errors(document)
    assert "message" in error.message


def test_a_foldable_region_is_a_result_at_its_model_and_its_nodes():
    first, *others = results(foldable())

    assert (first["ruleId"], first["level"]) == ("foldable-region", "error")
    assert first["message"]["text"] == (
        "3x3 Conv + 1x1 Conv + identity can be folded into 3x3 Conv; "
        "to fold them, run: repvgg-onnx fuse net.onnx --in-place"
    )
    (location,) = first["locations"]
    assert location["physicalLocation"]["artifactLocation"]["uri"] == "models/net.onnx"
    assert [place["fullyQualifiedName"] for place in location["logicalLocations"]] == ["conv_0", "add_0"]
    assert len(others) == 2


def test_regions_that_are_allowed_are_notes_and_folded_ones_nothing():
    assert {result["level"] for result in results(foldable(error=None))} == {"note"}
    assert results(fused()) == []


def test_refusals_are_results_if_one_can_act_on_them():
    found = results(fused(refusals=(refusal(0), refusal(1, "training-mode"))))

    assert [(result["ruleId"], result["level"]) for result in found] == [("training-mode", "warning")]


def test_every_result_has_its_rule_with_help():
    wrong = Outcome("net.onnx", report(verdict=Verdict.PARITY_FAILED, parity=wrong_shape()), 1, "differs")
    (run,) = read(foldable(), wrong, unusable())["runs"]
    rules = run["tool"]["driver"]["rules"]

    assert [rule["id"] for rule in rules] == ["foldable-region", "not-usable", "outputs-differ"]
    assert all(rule["help"]["text"] and rule["shortDescription"]["text"] for rule in rules)
    assert all(rules[result["ruleIndex"]]["id"] == result["ruleId"] for result in run["results"])
    assert run["invocations"] == [{"commandLine": "repvgg-onnx check 'my models/*.onnx'", "executionSuccessful": False}]


def test_fingerprints_tell_results_apart_and_stay():
    prints = [result["partialFingerprints"]["repvgg-onnx/v1"] for result in results(foldable())]

    assert len(set(prints)) == 3
    assert prints == [result["partialFingerprints"]["repvgg-onnx/v1"] for result in results(foldable(error=None))]


def test_paths_are_uris(tmp_path):
    strange = replace(unusable(), path="my models/50%.onnx")
    absolute = replace(unusable(), path=str(tmp_path / "a.onnx"))

    uris = [
        result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results(strange, absolute)
    ]

    assert uris == ["my%20models/50%25.onnx", (tmp_path / "a.onnx").as_uri()]
