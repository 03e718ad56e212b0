import json
import re

import onnx
import pytest

from repvgg_onnx import __version__
from repvgg_onnx.cli import cli
from tests.cli.models import BLOCK, filled

COMMANDS = ("bench", "check", "doctor", "explain", "export", "fuse", "inspect", "triton", "verify")


def test_these_are_the_commands():
    assert tuple(sorted(cli.commands)) == COMMANDS


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_help_has_an_example_and_fits_80_columns(run, option):
    shown = {command: run(*command.split(), option) for command in ("", *COMMANDS)}

    assert [command for command, ran in shown.items() if (ran.code, ran.err) != (0, "")] == []
    examples = {command: rf"Examples?:\n    repvgg-onnx {command}" for command in shown}
    assert [command for command, ran in shown.items() if not re.search(examples[command], ran.out)] == []
    assert [command for command, ran in shown.items() if max(map(len, ran.out.splitlines())) > 80] == []


def test_every_option_has_a_help_text():
    silent = [
        (command.name, option.name)
        for command in cli.commands.values()
        for option in command.params
        if option.param_type_name == "option" and not option.help
    ]

    assert silent == [("export", "exporter")]  # its choices say it


def test_version(run):
    assert run("--version").out == f"repvgg-onnx {__version__}\n"


def test_without_a_command_the_help_is_shown_as_an_error(run):
    ran = run()

    assert (ran.code, ran.out) == (2, "")
    assert "Usage: repvgg-onnx" in ran.err


def test_inspect_shows_what_could_be_folded_and_writes_nothing(run, block, tmp_path):
    ran = run("inspect", block)

    assert (ran.code, ran.err) == (0, "")
    assert "3x3 Conv + 1x1 Conv + BN -> 3x3 Conv" in ran.out
    assert list(tmp_path.iterdir()) == [block]


def test_inspect_says_why_not(run, tmp_path):
    model = filled(BLOCK)
    model.graph.node[2].attribute.add(name="training_mode", type=onnx.AttributeProto.INT, i=1)
    onnx.save(model, tmp_path / "training.onnx")

    ran = run("inspect", tmp_path / "training.onnx", "--all")
    document = json.loads(run("inspect", tmp_path / "training.onnx", "--json").out)

    assert ran.code == 0
    assert "Not folded" in ran.out
    assert document["refusals"]
    assert all(refusal["code"] in ran.out for refusal in document["refusals"])


def test_inspect_as_json(run, block, plain):
    found = json.loads(run("inspect", block, "--json").out)

    assert (found["verdict"], found["after"]["path"]) == ("foldable", None)
    assert len(found["regions"]) == 1
    assert json.loads(run("inspect", plain, "--json").out)["verdict"] == "nothing-to-fold"


def test_inspect_takes_shapes(run, block):
    one, eight = (
        json.loads(run("inspect", block, "--shape", f"image={batch},4,5,7", "--json").out)["regions"][0]
        for batch in (1, 8)
    )

    assert eight["macs_after"] == 8 * one["macs_after"] > 0


def test_verify_passes_on_equal_outputs(run, block, tmp_path):
    run("fuse", block, "--no-verify", "--no-bench")

    ran = run("verify", block, tmp_path / "block.fused.onnx")

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("same outputs: worst error ")


def test_verify_fails_on_different_outputs(run, block, wrong):
    ran = run("verify", block, wrong)

    assert ran.code == 1
    assert ran.out.startswith("different outputs: worst error ")
    assert ran.err.startswith(f"error: {wrong}: differs from {block}, output out: error ")
    assert ran.err.count("\n") == 1


def test_verify_takes_a_tolerance(run, block, wrong):
    assert run("verify", block, wrong, "--tolerance", "0.5").code == 0


def test_verify_as_json(run, block, wrong):
    ran = run("verify", block, wrong, "--json")

    assert ran.code == 1
    assert json.loads(ran.out)["parity"]["passed"] is False


def test_verify_may_be_quiet(run, block, wrong):
    assert run("verify", block, wrong, "--quiet").out == ""
