"""What the zoo lists, and that listing needs no torch."""

import subprocess
import sys

import pytest

from repvgg_onnx.errors import CheckError, ExtraMissingError
from repvgg_onnx.zoo import architecture, build, describe, export, names, perturb_statistics

EXPECTED_NAMES = (
    "repvgg-a0", "repvgg-a1", "repvgg-a2", "repvgg-b0", "repvgg-b1", "repvgg-b1g2", "repvgg-b1g4",
    "repvgg-b2", "repvgg-b2g2", "repvgg-b2g4", "repvgg-b3", "repvgg-b3g2", "repvgg-b3g4", "repvgg-d2se",
)  # fmt: skip


def test_names_are_in_listing_order() -> None:
    assert names() == EXPECTED_NAMES


@pytest.mark.parametrize("name", EXPECTED_NAMES)
def test_every_summary_is_one_line(name: str) -> None:
    summary = describe(name)
    assert summary.startswith("RepVGG-")
    assert "\n" not in summary
    assert len(summary) < 100


def test_a_misspelt_name_is_met_with_the_nearest_one() -> None:
    with pytest.raises(CheckError, match=r"unknown architecture 'RepVGG-B1G4'; did you mean repvgg-b1g4\?"):
        architecture("RepVGG-B1G4")


def test_a_foreign_name_gets_no_hint() -> None:
    with pytest.raises(CheckError, match=r"^unknown architecture 'zzz'$"):
        build("zzz")


def test_listing_imports_no_torch() -> None:
    script = (
        "import sys, repvgg_onnx.zoo as zoo\n"
        "[zoo.describe(name) for name in zoo.names()]\n"
        "heavy = {'torch', 'numpy', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_missing_torch_is_one_line_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ExtraMissingError, match=r"^torch .*pip install 'repvgg-onnx\[export\]'$") as caught:
        build("repvgg-a0")
    assert "\n" not in str(caught.value)
    with pytest.raises(ExtraMissingError):
        architecture("repvgg-a0").build()


def test_missing_onnxscript_is_told_when_dynamo_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    module = perturb_statistics(build("repvgg-a0"))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExtraMissingError, match=r"^onnxscript is needed"):
        export(module, shape=(1, 3, 32, 64), exporter="dynamo")
