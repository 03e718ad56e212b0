"""The help is a manual: its examples run as they stand, its exit codes are the real ones, shells complete from it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import repvgg_onnx
from repvgg_onnx.cli import cli
from repvgg_onnx.cli.manual import ENDS
from tests.models import build

README = (Path(repvgg_onnx.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SCRIPT = """import sys
from repvgg_onnx.cli import main
if __name__ == "__main__":
    sys.exit(main())
"""
RUN_ELSEWHERE = {"repvgg-onnx doctor"}  # by test_doctor.py: it imports every extra, torch among them
SHORT = "bench-seconds = 0.2\nautotune-seconds = 0.5\nseconds = 0.2\n"  # settings: the times are no matter here
SHELLS = ("bash", "zsh", "fish")
MODEL = """net (float[N,3,H,W] image) => (float[N,4,H,W] out) {
    dense = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(image, w3, b)
    point = Conv<kernel_shape=[1,1]>(image, w1)
    both = Add(dense, point)
    out = Relu(both)
}"""


def help_of(*command):
    return CliRunner().invoke(cli, [*command, "--help"]).stdout


def examples(text):
    """Command lines of a help text."""
    return re.findall(r"^ +(repvgg-onnx .+)$", text.split("Example", 1)[1].split("Exit codes")[0], re.MULTILINE)


EXAMPLES = [line for command in ((), *((name,) for name in cli.commands)) for line in examples(help_of(*command))]


@pytest.fixture
def program(tmp_path_factory):
    """Variables with ``repvgg-onnx`` on the path, as pip puts it there."""
    script = tmp_path_factory.mktemp("bin") / "repvgg-onnx"
    script.write_text(f"#!{sys.executable}\n{SCRIPT}")
    script.chmod(0o755)
    path = os.pathsep.join((str(script.parent), os.environ["PATH"]))
    return os.environ | {"PATH": path, "PYTHONPATH": str(Path(repvgg_onnx.__file__).parents[1])}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files that the examples name."""
    model = build(MODEL, w3=(4, 3, 3, 3), b=(4,), w1=(4, 3, 1, 1))
    fused = repvgg_onnx.fuse(model).model
    (tmp_path / "models").mkdir()
    (tmp_path / "repvgg-onnx.toml").write_text(SHORT)
    for name in ("model.onnx", "models/a.onnx", "models/b.onnx"):
        onnx.save(model, tmp_path / name)
    onnx.save(fused, tmp_path / "model.fused.onnx")
    np.savez(tmp_path / "data.npz", image=np.random.default_rng(0).normal(size=(2, 3, 9, 11)).astype(np.float32))
    return tmp_path


def test_the_examples_of_a_command_are_of_that_command():
    shown = {command: {shlex.split(line)[1] for line in examples(help_of(command))} for command in cli.commands}

    assert {command: of for command, of in shown.items() if of != {command}} == {}


def test_every_command_has_its_own_end():
    assert set(ENDS) == set(cli.commands)


def test_what_is_run_elsewhere_is_an_example():
    assert set(EXAMPLES) >= RUN_ELSEWHERE


FOLDABLE = {
    "repvgg-onnx check model.onnx",
    "repvgg-onnx check models/*.onnx --report github --report html:report.html",
}
"""Examples with a gate that their models do not pass."""


@pytest.mark.parametrize("line", sorted({*EXAMPLES} - RUN_ELSEWHERE))
def test_an_example_runs(program, folder, line):
    environment = program | {"NO_COLOR": "1"}
    ran = subprocess.run(["bash", "-c", line], cwd=folder, env=environment, capture_output=True, text=True, check=False)

    expected = 1 if line in FOLDABLE else 0
    assert ran.returncode == expected, ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout


def test_the_exit_codes_are_listed_in_order():
    ends = {command: help_of(command).split("Exit codes:\n")[1] for command in cli.commands}
    listed = {command: "".join(re.findall(r"^    (\d)  \S", end, re.MULTILINE)) for command, end in ends.items()}

    can_fail = {"check", "doctor", "fuse", "verify"}
    assert listed == {command: "0123" if command in can_fail else "023" for command in cli.commands}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("check model.fused.onnx", 0),
        ("check models/a.onnx", 1),
        ("check", 2),
        ("check data.npz", 3),
        ("fuse model.onnx --no-bench --quiet", 0),
        ("fuse model.onnx --check", 1),
        ("fuse model.onnx --min-speedup 1.0 --no-bench", 2),
        ("fuse missing.onnx", 3),
        ("verify model.onnx model.fused.onnx", 0),
        ("verify model.onnx model.fused.onnx --tolerance 1e-30", 1),
        ("verify model.onnx", 2),
        ("verify model.onnx data.npz", 3),
        ("inspect model.onnx", 0),
        ("inspect model.onnx --shape image", 2),
        ("inspect data.npz", 3),
        ("bench model.onnx --batch none", 2),
        ("bench data.npz", 3),
        ("explain two-roots", 0),
        ("explain three-roots", 2),
        ("export no-such-network -o net.onnx", 2),
        ("export repvgg-a0 -o net.onnx --checkpoint data.npz", 3),
    ],
)
def test_the_exit_codes_are_the_real_ones(run, folder, monkeypatch, arguments, code):
    monkeypatch.chdir(folder)

    assert run(*arguments.split()).code == code


@pytest.mark.parametrize("shell", SHELLS)
def test_the_readme_has_the_line_of_a_shell_and_it_makes_a_script(program, shell):
    (line,) = re.findall(rf"`([^`]*_REPVGG_ONNX_COMPLETE={shell}_source repvgg-onnx[^`]*)`", README)
    command = re.sub(r'^eval "\$\((.*)\)"$', r"\1", line.replace("\\|", "|")).removesuffix(" | source")
    ran = subprocess.run(["bash", "-c", command], env=program, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert f"_REPVGG_ONNX_COMPLETE={shell}_complete" in ran.stdout


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("repvgg-onnx ", sorted(cli.commands)),
        ("repvgg-onnx ver", ["verify"]),
        ("repvgg-onnx fuse --auto", ["--autotune", "--autotune-seconds"]),
        ("repvgg-onnx export --exporter ", ["torchscript", "dynamo"]),
    ],
)
def test_words_are_completed(program, words, answers):
    asked = {
        "_REPVGG_ONNX_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    ran = subprocess.run(["repvgg-onnx"], env=program | asked, capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert [line.split(",", 1)[1] for line in ran.stdout.splitlines()] == answers


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_takes_its_line(program, tmp_path, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (line,) = re.findall(rf"`([^`]*_REPVGG_ONNX_COMPLETE={shell}_source repvgg-onnx[^`]*)`", README)
    shown = {"bash": "complete -p repvgg-onnx", "zsh": "print $_comps[repvgg-onnx]", "fish": "complete -c repvgg-onnx"}
    start = "autoload -Uz compinit; compinit -u\n" if shell == "zsh" else ""
    lines = f"{start}{line.replace(chr(92) + '|', '|')}\n{shown[shell]}"
    ran = subprocess.run(
        [shell, "-c", lines], env=program | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert "repvgg_onnx" in ran.stdout
