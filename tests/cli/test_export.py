import onnx
import pytest

import repvgg_onnx.cli.export as cli_export
from repvgg_onnx.errors import ExtraMissingError
from repvgg_onnx.zoo import names
from tests.cli.models import PLAIN, filled


@pytest.fixture
def zoo(monkeypatch):
    """Records how networks are built and exported, and makes a small one."""
    calls = []

    def build(name, **options):
        calls.append((name, options))
        return "module"

    def export(module, **options):
        calls.append((module, options))
        return filled(PLAIN)

    monkeypatch.setattr(cli_export, "build", build)
    monkeypatch.setattr(cli_export, "export", export)
    return calls


def test_without_a_name_every_network_is_listed_on_one_line(run):
    ran = run("export")

    assert (ran.code, ran.err) == (0, "")
    assert [line.split()[0] for line in ran.out.splitlines()] == list(names())


def test_the_network_is_written(run, tmp_path, zoo):
    ran = run("export", "repvgg-a0", "-o", tmp_path / "a0.onnx")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"wrote {tmp_path / 'a0.onnx'}: 148 parameters, {(tmp_path / 'a0.onnx').stat().st_size} bytes\n"
    assert onnx.load(tmp_path / "a0.onnx") == filled(PLAIN)
    assert zoo == [
        ("repvgg-a0", {"deployed": False, "checkpoint": None}),
        ("module", {"shape": (1, 3, 224, 224), "exporter": "torchscript", "fold": True}),
    ]


def test_options_reach_the_zoo(run, tmp_path, zoo):
    options = ["--deployed", "--checkpoint", tmp_path / "w.pth", "--exporter", "dynamo", "--no-fold", "--quiet"]

    ran = run("export", "repvgg-b1g4", "-o", tmp_path / "b.onnx", *options)

    assert (ran.code, ran.out, ran.err) == (0, "", "")
    assert zoo[0] == ("repvgg-b1g4", {"deployed": True, "checkpoint": tmp_path / "w.pth"})
    assert zoo[1][1] == {"shape": (1, 3, 224, 224), "exporter": "dynamo", "fold": False}


def test_an_unknown_network_is_misuse(run, tmp_path):
    ran = run("export", "repvgg-z9", "-o", tmp_path / "z.onnx")

    assert ran.code == 2
    assert ran.err.startswith("error: unknown architecture 'repvgg-z9'")
    assert ran.err.count("\n") == 1


def test_a_missing_output_folder_is_found_before_any_work(run, tmp_path, zoo):
    assert run("export", "repvgg-a0", "-o", tmp_path / "none" / "a0.onnx").code == 2
    assert zoo == []


def test_missing_torch_is_one_line(run, tmp_path, monkeypatch):
    def absent(name, **options):
        raise ExtraMissingError("torch is not installed: pip install 'repvgg-onnx[export]'")

    monkeypatch.setattr(cli_export, "build", absent)

    ran = run("export", "repvgg-a0", "-o", tmp_path / "a0.onnx")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "error: torch is not installed: pip install 'repvgg-onnx[export]'\n"
    assert list(tmp_path.iterdir()) == []


def test_a_real_network_is_exported(run, tmp_path):
    pytest.importorskip("torch")

    assert run("export", "repvgg-a0", "-o", tmp_path / "a0.onnx", "--deployed").code == 0
    assert [node.op_type for node in onnx.load(tmp_path / "a0.onnx").graph.node].count("Conv") == 22
