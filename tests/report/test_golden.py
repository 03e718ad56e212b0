"""The JSON document of each kind of command stays as it is: keys, their order, and every value that does not vary.

What varies with the machine, the clock or the versions of packages stands as ``…``. To write the files anew after a
change that is meant: ``REPVGG_ONNX_GOLDEN=write python -m pytest tests/report/test_golden.py``.
"""

import json
import os
import re
from pathlib import Path

import jsonschema
import numpy as np
import onnx
import pytest

from repvgg_onnx.cli import doctor
from repvgg_onnx.report.schema import schema
from repvgg_onnx.workflows import autotune
from tests.cli.models import BLOCK, HEADER, filled
from tests.cli.test_doctor import broken, diagnosis
from tests.models import build, perturbed
from tests.workflows.test_autotune import FASTER, SLOWER, Races, twice

RULES = jsonschema.Draft202012Validator(schema())
GOLDEN = Path(__file__).parent / "golden"
VARIES = {
    *("tool_version", "onnxruntime", "python", "platform", "cpu", "cores", "governor", "load"),
    *("size_bytes", "memory", "seconds", "warnings", "samples_ns", "session_creation_ns", "session_creation_median_ns"),
    *("error", "noise", "used", "bound", "error_of_inputs", "worst_feed", "worst_level", "feed"),
    *("median_ns", "p95_ns", "iqr_ns", "examples_per_second", "rounds", "pairs", "sessions"),
    *("speedup", "speedup_low", "speedup_high"),
}
CLASSES = f"""{HEADER}
net (float[N, 5] rows) => (float[N, 3] scores) {{
    scores = MatMul (rows, weight)
}}"""
OVERRIDABLE = f"""{HEADER}
net (float[1, 4, 5, 7] image, float[4, 4, 1, 1] kernel1) => (float[1, 4, 5, 7] out) {{
    point = Conv (image, kernel1)
    both = Add (point, image)
    out = Relu (both)
}}"""


def steady(value, folder):
    """A document without what varies."""
    if isinstance(value, dict):
        verdict = {"verdict"} if "speedup" in value else set()
        return {key: "…" if key in VARIES | verdict else steady(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [steady(item, folder) for item in value]
    if isinstance(value, str):
        return re.sub(r"error \S+ is", "error … is", value.replace(f"{folder}{os.sep}", ""))
    return value


@pytest.fixture
def agrees(run, tmp_path):
    """The document that a command writes agrees with a golden file."""

    def agrees(name, *arguments):
        out = run(*arguments, "--json").out
        RULES.validate(json.loads(out))
        text = json.dumps(steady(json.loads(out), tmp_path), indent=1, ensure_ascii=False) + "\n"
        text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)  # short lists on one line
        path = GOLDEN / f"{name}.json"
        if os.environ.get("REPVGG_ONNX_GOLDEN") == "write":
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")
        assert out == json.dumps(json.loads(out), indent=2) + "\n"

    return agrees


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other.onnx"
    onnx.save(perturbed(filled(BLOCK), by=0.5), path)
    return path


def test_fuse(agrees, block):
    agrees("fuse", "fuse", block, "--bench-seconds", "0.05")


def test_fuse_with_a_failed_check(agrees, block):
    agrees("fuse-failed", "fuse", block, "--no-bench", "--tolerance", "1e-12")


def test_fuse_for_a_target(agrees, block):
    agrees("fuse-target", "fuse", block, "--no-bench", "--no-verify", "--target", "tensorrt")


def test_fuse_many(agrees, block, plain, tmp_path):
    agrees("fuse-many", "fuse", block, plain, tmp_path / "none.onnx", "--no-bench")


def test_check(agrees, block, plain, tmp_path):
    agrees("check", "check", block, plain, tmp_path / "none.onnx", "--fail-fast")


def test_check_of_a_model_whose_weights_may_be_fed(agrees, tmp_path):
    onnx.save(filled(OVERRIDABLE), tmp_path / "fed.onnx")
    agrees("check-overridable", "check", tmp_path / "fed.onnx")


def test_inspect(agrees, block):
    agrees("inspect", "inspect", block, "--per-layer", "--all")


def test_inspect_with_notes(agrees, plain):
    agrees("inspect-notes", "inspect", plain, "--shape", "image=3,4,5,7", "--assume-inference")


def test_verify(agrees, block, other):
    agrees("verify", "verify", block, other)


def test_bisect(agrees, block, other):
    agrees("verify-bisect", "verify", block, other, "--bisect")


def test_verify_with_labels(agrees, tmp_path):
    onnx.save(build(CLASSES, weight=(5, 3)), tmp_path / "classes.onnx")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "rows.npz", rows=rng.normal(size=(6, 5)).astype(np.float32))
    np.save(tmp_path / "labels.npy", np.array([0, 1, 2, 0, 1, 2]))
    model, given = tmp_path / "classes.onnx", (tmp_path / "rows.npz", "--labels", tmp_path / "labels.npy")
    agrees("verify-classes", "verify", model, model, "--inputs", *given)


def test_bench(agrees, block):
    agrees("bench", "bench", block, block, "--seconds", "0.01")


def test_bench_of_several_batches(agrees, block):
    agrees("bench-batches", "bench", block, block, "--seconds", "0.01", "--batch", "1,2")


def test_autotune(agrees, monkeypatch, tmp_path):
    races = Races()
    races.parts |= {"b": SLOWER, "h": FASTER}
    monkeypatch.setattr(autotune, "measure", races)
    onnx.save(twice(), tmp_path / "net.onnx")
    agrees("autotune", "fuse", tmp_path / "net.onnx", "--autotune", "--no-bench")


def test_doctor(agrees, monkeypatch):
    monkeypatch.setattr(doctor, "examine", lambda _version: diagnosis(**broken("report")))
    agrees("doctor", "doctor")


def test_explain(agrees):
    agrees("explain", "explain", "strides-differ")
