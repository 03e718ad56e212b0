"""The published schema of the JSON reports holds for what the commands write."""

import json
from importlib import resources

import jsonschema
import onnx
import pytest

from tests.cli.models import BLOCK, filled, perturbed

SCHEMA = json.loads(resources.files("repvgg_onnx.report").joinpath("schema/report-1.json").read_text(encoding="utf-8"))
RULES = jsonschema.Draft202012Validator(SCHEMA)
DOUBTFUL = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1, 4, 5, 7] image) => (float[1, 4, 3, 5] out) {
    inner = Conv <kernel_shape = [1, 1]> (image, kernel1)
    dense = Conv <kernel_shape = [3, 3]> (inner, kernel3)
    out = Relu (dense)
}"""


def every_object(node):
    if isinstance(node, dict):
        if node.get("type") in ("object", ["object", "null"]):
            yield node
        for value in node.values():
            yield from every_object(value)
    elif isinstance(node, list):
        for value in node:
            yield from every_object(value)


@pytest.fixture
def report(run, tmp_path):
    """The JSON of a command."""

    def report(*arguments):
        path = tmp_path / "report.json"
        run(*arguments, "--report", f"json:{path}", "--quiet")
        return json.loads(path.read_text())

    return report


def test_the_schema_is_one_and_lets_nothing_in_that_it_does_not_name():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    assert SCHEMA["$id"]
    objects = list(every_object(SCHEMA))
    assert len(objects) > 20
    assert all("description" in found and "additionalProperties" in found for found in objects)
    assert all(found["additionalProperties"] is False for found in objects if "properties" in found)


@pytest.mark.parametrize(
    "options",
    [
        ("--bench-seconds", "0.05"),
        ("--no-verify", "--no-bench", "--target", "tensorrt"),
        ("--no-bench", "--tolerance", "1e-12"),
        ("--check",),
    ],
)
def test_fuse(report, block, options):
    RULES.validate(report("fuse", block, *options))


def test_fuse_with_measured_decisions(report, tmp_path):
    onnx.save(filled(DOUBTFUL), tmp_path / "net.onnx")

    found = report("fuse", tmp_path / "net.onnx", "--autotune", "--autotune-seconds", "0.2", "--no-bench")

    RULES.validate(found)
    assert found["decisions"]["regions"]


def test_a_copy(report, plain):
    RULES.validate(report("fuse", plain, "--no-bench"))


def test_a_model_that_is_not_usable(report, tmp_path):
    found = report("fuse", tmp_path / "none.onnx")

    RULES.validate(found)
    assert found["models"][0]["error"] == "no such file"


def test_several_models(report, block, plain, tmp_path):
    found = report("check", block, plain, tmp_path / "none.onnx", "--fail-fast")

    RULES.validate(found)
    assert [model["exit_code"] for model in found["models"]] == [1, None, None]


def test_verify(report, block, tmp_path):
    onnx.save(perturbed(filled(BLOCK)), tmp_path / "other.onnx")

    for options in ((), ("--bisect",)):
        RULES.validate(report("verify", block, tmp_path / "other.onnx", *options))


def test_bench(report, block):
    for models in ((block,), (block, block), (block, block, "--threads", "1,2")):
        RULES.validate(report("bench", *models, "--seconds", "0.05"))


def test_inspect(run, block):
    RULES.validate(json.loads(run("inspect", block, "--json").out))


def test_a_key_that_is_not_published_is_noticed(report, block):
    found = report("check", block)
    found["models"][0]["report"]["surprise"] = 1

    with pytest.raises(jsonschema.ValidationError):
        RULES.validate(found)
