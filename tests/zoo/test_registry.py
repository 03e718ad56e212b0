"""What the zoo lists, and that listing needs no torch."""

import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest

from repvgg_onnx.errors import CheckError, ExtraMissingError
from repvgg_onnx.zoo import Architecture, architecture, blocks, build, describe, export, names, perturb_statistics
from repvgg_onnx.zoo.catalog import BASELINES, BLOCKS

NETWORKS = (
    "repvgg-a0", "repvgg-a1", "repvgg-a2", "repvgg-b0", "repvgg-b1", "repvgg-b1g2", "repvgg-b1g4",
    "repvgg-b2", "repvgg-b2g2", "repvgg-b2g4", "repvgg-b3", "repvgg-b3g2", "repvgg-b3g4", "repvgg-d2se",
)  # fmt: skip


def test_names_are_in_listing_order_networks_first() -> None:
    assert names()[: len(NETWORKS)] == NETWORKS
    assert names()[len(NETWORKS) :] == tuple(entry.name for entry in (*BASELINES, *BLOCKS))
    assert len(set(names())) == len(names())


@pytest.mark.parametrize("name", NETWORKS)
def test_every_summary_is_one_line(name: str) -> None:
    summary = describe(name)
    assert summary.startswith("RepVGG-")
    assert "\n" not in summary
    assert len(summary) < 100


@pytest.mark.parametrize("entry", BASELINES, ids=lambda entry: entry.name)
def test_a_baseline_is_listed_in_one_line(entry: Architecture) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", entry.name)
    assert entry.summary.startswith(("RepVGG-B0 with", "ResNet-", "ResNeXt-", "VGG-", "PSPNet on"))
    assert len(entry.summary) < 100


@pytest.mark.parametrize("entry", BLOCKS, ids=lambda entry: entry.name)
def test_a_block_is_listed_in_one_short_line(entry: Architecture) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", entry.name)
    assert len(entry.summary) <= 60
    assert entry.summary[0].isupper()
    assert not entry.summary.endswith(".")
    assert len(set(entry.input_shape[1:])) == len(entry.input_shape) - 1, "two axes of one size hide a mix-up"


def test_every_network_of_every_block_module_is_listed() -> None:
    pytest.importorskip("torch")
    found = set()
    for info in pkgutil.iter_modules(blocks.__path__, f"{blocks.__name__}."):
        module = importlib.import_module(info.name)
        for name, function in inspect.getmembers(module, inspect.isfunction):
            is_public = function.__module__ == info.name and not name.startswith("_")
            if is_public and not inspect.signature(function).parameters:
                found.add(f"{info.name}:{name}")
    assert found == {entry.factory for entry in BLOCKS}


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
