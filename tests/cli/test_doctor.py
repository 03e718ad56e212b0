"""``doctor``: what works, what is missing, what crashes; and none of it ends the command."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import repvgg_onnx
from repvgg_onnx import __version__
from repvgg_onnx.cli import doctor as cli_doctor
from repvgg_onnx.cli.output import rendered
from repvgg_onnx.report.diagnosis import diagnosis_json, diagnosis_report
from repvgg_onnx.workflows.doctor import PARTS, Diagnosis, Finding, Part, State, examine

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT = Path(repvgg_onnx.__file__).parents[1]
NO_PARTS = {"test"}  # extras that no part of the tool needs

TRIALS = """
import ctypes, os, sys, time

def work(): print("noise on the way")
def leave(): os._exit(7)
def vanish(): os._exit(0)
def complain(): sys.exit("no such luck")
def crash(): ctypes.string_at(0)
def sleep(): time.sleep(600)
def fail(): raise ValueError("two\\nlines")
def be_silent(): raise ValueError
def miss():
    try:
        import no_such_package
    except ImportError as error:
        raise RuntimeError("needs something") from error
"""


@pytest.fixture
def trials(tmp_path, monkeypatch):
    """``trials_of_the_test`` is importable, and the working folder has a file named like a module."""
    (tmp_path / "trials_of_the_test.py").write_text(TRIALS)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "numpy.py").write_text("raise SystemExit('imported from the working folder')")
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(str(tmp_path))


def tried(name, *, core=False, extra="", timeout_s=60.0):
    part = Part(name, "a test", f"trials_of_the_test:{name}", ("click", "no_such_package"), core=core, extra=extra)
    return examine("1.0", [part], timeout_s=timeout_s).findings[0]


@pytest.mark.parametrize(
    ("name", "state", "sentence"),
    [
        ("work", State.WORKS, ""),
        ("miss", State.MISSING, "No module named 'no_such_package'"),
        ("leave", State.FAILS, "ended with exit code 7"),
        ("vanish", State.FAILS, "ended with exit code 0"),
        ("complain", State.FAILS, "ended with exit code 1: no such luck"),
        ("crash", State.FAILS, "crashed with signal SIGSEGV"),
        ("fail", State.FAILS, "two lines"),
        ("be_silent", State.FAILS, "ValueError"),
    ],
)
def test_whatever_a_trial_does_is_a_finding(trials, name, state, sentence):
    found = tried(name)

    assert (found.state, found.sentence) == (state, sentence)
    assert found.versions["click"].startswith("8.")
    assert found.versions["no_such_package"] is None


def test_a_trial_that_hangs_is_given_up(trials):
    found = tried("sleep", timeout_s=1.0)

    assert (found.state, found.sentence) == (State.FAILS, "did not end in 1 s")


@pytest.mark.parametrize(
    ("name", "extra", "advice"),
    [
        ("work", "report", ""),
        ("miss", "report", "pip install 'repvgg-onnx[report]'"),
        ("fail", "report", "pip install --force-reinstall 'repvgg-onnx[report]'"),
        ("miss", "", "pip install repvgg-onnx"),
    ],
)
def test_what_does_not_work_has_advice(trials, name, extra, advice):
    assert tried(name, extra=extra).advice == advice


@pytest.mark.slow
def test_every_part_of_this_installation(run):
    """The real thing: every extra but the one for benchmarks is installed where the tests run."""
    ran = run("doctor")
    states = {name: state for state, name in re.findall(r"^  (works|missing|fails) +(\w+)", ran.out, re.MULTILINE)}

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"the core works\nrepvgg-onnx {__version__}, Python 3.")
    assert set(states) >= {*(part.name for part in PARTS), "CPUExecutionProvider"}
    assert states.pop("peers") in ("works", "missing")
    states.pop("AzureExecutionProvider", None)  # it does what a model asks of it elsewhere, over a network
    assert set(states.values()) == {"works"}, ran.out


def test_every_extra_is_a_part():
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "optional-dependencies"
    ]

    assert {part.extra for part in PARTS} - {""} == set(extras) - NO_PARTS
    for part in PARTS:
        named = {requirement.split(">")[0].split("=")[0].strip() for requirement in extras.get(part.extra, ())}
        assert not part.extra or set(part.modules) & named, part.name


def diagnosis(**changed):
    """The parts as they would be found; a changed one as it is given."""
    findings = (Finding(part, State.WORKS, dict.fromkeys(part.modules, "1.0")) for part in PARTS)
    found = tuple(changed.get(finding.part.name, finding) for finding in findings)
    return Diagnosis("1.0", "3.12.0", "Linux x86_64", "Acme 9000", 4, found)


def broken(name, state=State.FAILS, sentence="crashed with signal SIGSEGV"):
    part = next(part for part in PARTS if part.name == name)
    return {name: Finding(part, state, dict.fromkeys(part.modules), sentence)}


def test_without_the_core_the_exit_code_is_one(run, monkeypatch):
    monkeypatch.setattr(cli_doctor, "examine", lambda version: diagnosis(**broken("runtime"), **broken("models")))
    ran = run("doctor")

    assert {part.name for part in PARTS if part.core} == {"models", "fusion", "runtime"}
    assert ran.code == 1
    assert ran.err == "error: does not work: models, runtime\n"
    assert ran.out.startswith("the core does not work\n")
    assert "runtime: crashed with signal SIGSEGV\n  pip install --force-reinstall repvgg-onnx" in ran.out
    assert json.loads(run("doctor", "--json").out)["healthy"] is False


def test_without_an_optional_part_the_exit_code_is_zero(run, monkeypatch, tmp_path):
    missing = broken("export", State.MISSING, "No module named 'torch'")
    monkeypatch.setattr(cli_doctor, "examine", lambda version: diagnosis(**missing))
    ran = run("doctor", f"--json={tmp_path / 'found.json'}")

    assert (ran.code, ran.err) == (0, "")
    assert "export: No module named 'torch'\n  pip install 'repvgg-onnx[export]'\n" in ran.out
    assert "torch -, onnxscript -" in ran.out
    assert json.loads((tmp_path / "found.json").read_text())["parts"][3]["versions"]["torch"] is None


def test_the_report_fits_80_columns_and_says_no_more_than_the_json():
    name = "Provider" * 20
    part = Part(name, "", "no:trial")
    found = diagnosis(report=Finding(part, State.FAILS, {}, "reason " * 40))
    lines = rendered(diagnosis_report(found), sys.stdout).splitlines()

    assert max(map(len, lines)) <= 80
    assert json.loads(diagnosis_json(found))["parts"][4]["name"] == name


@pytest.mark.parametrize("module", ["onnx", "onnxruntime"])
def test_a_core_package_that_crashes_python_does_not_end_the_command(tmp_path, module):
    (tmp_path / f"{module}.py").write_text("import ctypes; ctypes.string_at(0)")
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from repvgg_onnx.workflows.doctor import PARTS
import repvgg_onnx.workflows.doctor.examination as examination
import repvgg_onnx.cli.doctor as doctoring
doctoring.examine = lambda version: examination.examine(version, PARTS[:3])
from repvgg_onnx.cli import main
sys.argv[1:] = ["doctor"]
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=os.environ, cwd=CHECKOUT
    )

    assert ran.returncode == 1, ran.stderr
    assert "crashed with signal SIGSEGV" in ran.stdout
