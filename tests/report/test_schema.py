"""The schema of the JSON reports, and that everything that goes into a report can be written."""

import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import jsonschema
import msgspec
import numpy as np
import onnx
import pytest

from repvgg_onnx.doctor import Diagnosis
from repvgg_onnx.report.document import SCHEMA_VERSION
from repvgg_onnx.report.latency import BenchReport
from repvgg_onnx.report.machine import fuse_json
from repvgg_onnx.report.model import Outcome
from repvgg_onnx.report.run import Verification
from repvgg_onnx.report.schema import schema
from tests.report.values import region, report

RULES = jsonschema.Draft202012Validator(schema())


def every_object(node):
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for value in node.values():
            yield from every_object(value)
    elif isinstance(node, list):
        for value in node:
            yield from every_object(value)


def test_the_schema_is_one_and_lets_nothing_in_that_it_does_not_name():
    jsonschema.Draft202012Validator.check_schema(schema())

    objects = [found for found in every_object(schema()) if "properties" in found]
    assert len(objects) > 30
    for found in objects:
        assert found["description"]
        assert found["additionalProperties"] is False
        assert found["required"] == list(found["properties"])
        assert all(len(key["description"]) > 5 and "default" not in key for key in found["properties"].values())


def test_the_schema_is_printed():
    command = [sys.executable, "-m", "repvgg_onnx.report.schema"]
    printed = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    assert printed == schema()
    assert printed["$id"] == f"urn:repvgg-onnx:report:{SCHEMA_VERSION}"
    assert printed["oneOf"][0]["properties"]["tool_version"] == {
        "type": "string",
        "description": "Version of repvgg-onnx.",
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(surprise=1),
        lambda found: found["before"].update(surprise=1),
        lambda found: found["regions"][0].pop("saving"),
        lambda found: found["parity"].update(error="none"),
        lambda found: found.update(schema_version=SCHEMA_VERSION + 1),
    ],
)
def test_a_document_that_is_none_is_noticed(change):
    found = json.loads(fuse_json(report()))
    RULES.validate(found)
    change(found)

    with pytest.raises(jsonschema.ValidationError):
        RULES.validate(found)


def test_names_that_are_not_unicode_and_numbers_that_are_not_finite_are_written():
    odd = report(regions=(region(name="caf\udce9 ü"),), min_speedup=math.nan, seconds={"fold": math.inf})
    text = fuse_json(odd)

    assert text.isascii()
    found = json.loads(text)
    RULES.validate(found)
    assert (found["regions"][0]["name"], found["min_speedup"], found["seconds"]) == (
        "caf\udce9 ü",
        None,
        {"fold": None},
    )


def test_numbers_of_numpy_are_written():
    found = json.loads(fuse_json(report(min_speedup=np.float64(1.5), max_foldable=np.int64(2), seconds={})))

    assert (found["min_speedup"], found["max_foldable"]) == (1.5, 2)


def results(kind: Any) -> Iterator[type]:
    """The dataclasses that a result is made of."""
    for part in get_args(kind):
        yield from results(part)
    if dataclasses.is_dataclass(kind):
        yield kind
        for part in get_type_hints(kind).values():
            yield from results(part)


@pytest.mark.parametrize("kind", [Outcome, Verification, BenchReport, Diagnosis])
def test_a_result_that_a_report_is_made_of_can_be_written(kind):
    """No model is in it, and msgspec knows every type in it but arrays."""

    def array(found):
        if found is np.ndarray:
            return {"type": "array"}
        raise NotImplementedError

    found = set(results(kind))
    assert len(found) > 1
    assert onnx.ModelProto not in {part for each in found for part in get_type_hints(each).values()}
    msgspec.json.schema_components(found, schema_hook=array)
