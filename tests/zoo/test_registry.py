"""What the zoo lists, and that listing needs no torch."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest

from repvgg_onnx.errors import CheckError, ExtraMissingError
from repvgg_onnx.zoo import architecture, build, describe, export, names
from samples import zoo

NETWORKS = (
    "repvgg-a0", "repvgg-a1", "repvgg-a2", "repvgg-b0", "repvgg-b1", "repvgg-b1g2", "repvgg-b1g4",
    "repvgg-b2", "repvgg-b2g2", "repvgg-b2g4", "repvgg-b3", "repvgg-b3g2", "repvgg-b3g4", "repvgg-d2se",
)  # fmt: skip
ELSEWHERE = [*zoo.BASELINES, *zoo.BLOCKS]


def test_the_family_is_listed_in_its_order() -> None:
    assert names() == NETWORKS


def test_every_summary_of_the_family_is_one_line() -> None:
    wrong = [name for name in NETWORKS if not re.fullmatch(r"RepVGG-[^\n]{1,90}", describe(name))]
    assert wrong == []


def test_the_samples_list_the_family_then_baselines_then_blocks() -> None:
    assert zoo.names() == (*NETWORKS, *(entry.name for entry in ELSEWHERE))
    assert len(set(zoo.names())) == len(zoo.names())


def test_every_other_network_has_a_name_that_can_be_typed_and_a_short_summary() -> None:
    names_of_others = [entry.name for entry in ELSEWHERE if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", entry.name)]
    baselines = r"(RepVGG-B0 with|ResNet-|ResNeXt-|VGG-|PSPNet on)[^\n]{1,85}"
    summaries = [entry.name for entry in zoo.BASELINES if not re.fullmatch(baselines, entry.summary)]
    summaries += [entry.name for entry in zoo.BLOCKS if not re.fullmatch(r"[A-Z][^\n]{1,58}[^\n.]", entry.summary)]
    assert (names_of_others, summaries) == ([], [])


def test_no_block_has_two_axes_of_one_size() -> None:
    """They would hide a mix-up."""
    sizes = {entry.name: entry.input_shape[1:] for entry in zoo.BLOCKS}
    assert [name for name, size in sizes.items() if len(set(size)) < len(size)] == []


def test_every_network_of_every_block_module_is_listed() -> None:
    pytest.importorskip("torch")
    from samples.zoo import blocks

    found = set()
    for info in pkgutil.iter_modules(blocks.__path__, f"{blocks.__name__}."):
        module = importlib.import_module(info.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_public = function.__module__ == info.name and not name.startswith("_")
            if is_public and not inspect.signature(function).parameters:
                found.add(f"{info.name}:{name}")
    assert found == {entry.factory for entry in zoo.BLOCKS}


def test_a_misspelt_name_is_met_with_the_nearest_one() -> None:
    with pytest.raises(CheckError, match=r"^unknown architecture 'RepVGG-B1G4'; did you mean repvgg-b1g4\? \(export"):
        architecture("RepVGG-B1G4")


@pytest.mark.parametrize("name", ["mobileone-block", "resnet-50"])
def test_what_was_once_exported_is_said_to_be_elsewhere(name: str) -> None:
    with pytest.raises(CheckError, match=rf"^unknown architecture '{name}' \(export knows .* samples/zoo of the") as it:
        build(name)
    assert "\n" not in str(it.value)
    assert zoo.architecture(name).name == name


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
    module = build("repvgg-a0")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ExtraMissingError, match=r"^onnxscript is needed"):
        export(module, shape=(1, 3, 32, 64), exporter="dynamo")
