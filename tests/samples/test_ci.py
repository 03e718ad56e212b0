"""What samples/ci has for pipelines, run as the services would, as far as one machine can."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import onnx
import pytest
import yaml

from repvgg_onnx import __version__
from tests.cli.models import BLOCK, PLAIN, filled
from tests.samples.offline import CHECKOUT, environment

CI = CHECKOUT / "samples" / "ci"
ACTION = yaml.safe_load((CI / "github" / "action.yml").read_text(encoding="utf-8"))
WORKFLOW = yaml.safe_load((CI / "github" / "workflow.yml").read_text(encoding="utf-8"))
GITLAB = yaml.safe_load((CI / "gitlab" / ".gitlab-ci.yml").read_text(encoding="utf-8"))
JENKINSFILE = (CI / "jenkins" / "Jenkinsfile").read_text(encoding="utf-8")
INSTALL, RUN = ACTION["runs"]["steps"]
EXPRESSION = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")

Ran = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("offline"))


@pytest.fixture(scope="module")
def installed(offline: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a runner on which the action's first step has run."""
    variables = offline | {"RUNNER_TEMP": str(tmp_path_factory.mktemp("runner"))}
    done = step(INSTALL, {}, variables, CHECKOUT)
    assert (done.returncode, done.stderr) == (0, "")
    return variables


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A repository with a model that can be folded and one that cannot."""
    (tmp_path / "models").mkdir()
    onnx.save(filled(BLOCK), tmp_path / "models" / "block.onnx")
    onnx.save(filled(PLAIN), tmp_path / "models" / "plain.onnx")
    return tmp_path


def step(found: dict, inputs: Mapping[str, str], variables: Mapping[str, str], folder: Path) -> Ran:
    """A step of the action as GitHub runs it: inputs reach the script through its environment alone."""
    defaults = {name: value.get("default", "") for name, value in ACTION["inputs"].items()}
    context = {f"inputs.{name}": value for name, value in {**defaults, **inputs}.items()}
    context["github.action_path"] = str(CI / "github")
    env = {name: EXPRESSION.sub(lambda match: context[match[1]], value) for name, value in found["env"].items()}
    assert found["shell"] == "bash"
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", found["run"]]
    return subprocess.run(command, cwd=folder, env={**variables, **env}, capture_output=True, text=True, check=False)


def act(installed: Mapping[str, str], folder: Path, **inputs: str) -> tuple[Ran, dict[str, str], str]:
    """The action's second step, its outputs, and the summary of the run."""
    summary, outputs = folder / "summary.md", folder / "outputs"
    summary.touch()
    outputs.touch()
    files = {"GITHUB_STEP_SUMMARY": str(summary), "GITHUB_OUTPUT": str(outputs), "GITHUB_WORKSPACE": str(folder)}
    done = step(RUN, inputs, {**installed, **files, "GITHUB_ACTIONS": "true", "CI": "true"}, folder)
    pairs = dict(line.split("=", 1) for line in outputs.read_text(encoding="utf-8").splitlines())
    return done, pairs, summary.read_text(encoding="utf-8")


def script(lines: str, variables: Mapping[str, str], folder: Path, *shell: str) -> Ran:
    return subprocess.run([*shell, "-c", lines], cwd=folder, env=variables, capture_output=True, text=True, check=False)


def validate(*arguments: object) -> Ran:
    command = [sys.executable, "-m", "check_jsonschema", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("schema", "file"),
    [
        ("vendor.github-actions", "github/action.yml"),
        ("vendor.github-workflows", "github/workflow.yml"),
        ("vendor.gitlab-ci", "gitlab/.gitlab-ci.yml"),
    ],
)
def test_the_files_are_what_the_services_take(schema: str, file: str) -> None:
    done = validate("--builtin-schema", schema, CI / file)
    assert done.returncode == 0, done.stdout


def test_no_input_is_pasted_into_a_script() -> None:
    assert all("${{" not in each["run"] for each in ACTION["runs"]["steps"])


def test_outputs_come_from_a_step_that_writes_them() -> None:
    written = set(re.findall(r'echo "([a-z-]+)=', RUN["run"]))
    assert {value["value"] for value in ACTION["outputs"].values()} == {
        f"${{{{ steps.{RUN['id']}.outputs.{name} }}}}" for name in written
    }
    assert set(ACTION["outputs"]) == written


def test_the_workflow_uses_this_action_as_it_is() -> None:
    steps = [each for job in WORKFLOW["jobs"].values() for each in job["steps"]]
    ours = [each for each in steps if "repvgg-onnx/" in each.get("uses", "")]
    assert [each["uses"] for each in ours] == [f"OWNER/repvgg-onnx/samples/ci/github@v{__version__}"] * 2
    assert all(set(each["with"]) <= set(ACTION["inputs"]) for each in ours)
    assert "${{ steps.models.outputs.sarif }}" in [each.get("with", {}).get("sarif_file") for each in steps]


@pytest.mark.slow
def test_the_action_installs_a_version_from_the_index(offline: dict[str, str], tmp_path: Path) -> None:
    variables = offline | {"RUNNER_TEMP": str(tmp_path)}
    assert step(INSTALL, {"version": __version__}, variables, tmp_path).returncode == 0
    shown = subprocess.run(
        [tmp_path / "repvgg-onnx" / "bin" / "repvgg-onnx", "--version"], env=variables, capture_output=True, text=True
    )
    assert shown.stdout == f"repvgg-onnx {__version__}\n"
    assert step(INSTALL, {"version": "99.0"}, variables, tmp_path).returncode == 1


@pytest.mark.slow
def test_the_action_fails_where_a_model_can_be_folded(installed: dict[str, str], workspace: Path) -> None:
    done, outputs, summary = act(installed, workspace, models="models/*.onnx")

    assert done.returncode == 1, done.stderr
    assert re.search(r"^::(error|warning) .*block\.onnx", done.stdout, re.MULTILINE)
    assert "block.onnx" in summary
    assert outputs["exit-code"] == "1"
    assert json.loads((workspace / outputs["sarif"]).read_text(encoding="utf-8"))["version"] == "2.1.0"
    assert "block.onnx" in (workspace / outputs["markdown"]).read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_action_passes_where_nothing_can_be_folded(installed: dict[str, str], workspace: Path) -> None:
    done, outputs, _ = act(installed, workspace, models="\nmodels/plain.onnx\n")

    assert (done.returncode, outputs["exit-code"]) == (0, "0"), done.stderr
    assert "::error" not in done.stdout


@pytest.mark.slow
def test_the_action_folds_models(installed: dict[str, str], workspace: Path) -> None:
    inputs = {
        "models": "models/block.onnx\nmodels/plain.onnx",
        "command": "fuse",
        "output": "out",
        "args": "--no-bench",
    }
    done, outputs, summary = act(installed, workspace, **inputs)

    assert (done.returncode, outputs["exit-code"]) == (0, "0"), done.stderr
    assert sorted(path.name for path in (workspace / "out").iterdir()) == ["block.onnx", "plain.onnx"]
    assert [node.op_type for node in onnx.load(workspace / "out" / "block.onnx").graph.node] == ["Conv", "Relu"]
    assert "block.onnx" in summary


@pytest.mark.slow
def test_arguments_may_be_quoted(installed: dict[str, str], workspace: Path) -> None:
    args = "--max-foldable 1\n--json='all models.json'"
    done, _, _ = act(installed, workspace, models="models/*.onnx", args=args)

    assert done.returncode == 0, done.stderr
    assert json.loads((workspace / "all models.json").read_text(encoding="utf-8"))["schema_version"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "inputs",
    [
        {"models": "$(touch pwned).onnx"},
        {"models": "`touch pwned`.onnx; touch pwned"},
        {"models": "models/plain.onnx", "args": "; touch pwned"},
        {"models": "models/plain.onnx", "args": "$(touch pwned) && touch pwned"},
        {"models": "models/plain.onnx", "args": "'not closed"},
        {"models": "models/plain.onnx", "command": "fuse; touch pwned"},
        {"models": "models/plain.onnx", "reports": "$(touch pwned)", "command": "inspect"},
        {"models": ""},
    ],
    ids=lambda inputs: " ".join(inputs.values()),
)
def test_inputs_are_data(installed: dict[str, str], workspace: Path, inputs: dict[str, str]) -> None:
    done, _, _ = act(installed, workspace, **inputs)

    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert not list(workspace.rglob("pwned"))


@pytest.mark.slow
def test_the_gitlab_job_leaves_its_reports(offline: dict[str, str], workspace: Path) -> None:
    job = GITLAB["models"]
    variables = offline | {"CI_PROJECT_DIR": str(workspace), "MODELS": job["variables"]["MODELS"]}
    lines = "\n".join([*job["before_script"], *job["script"]])
    done = script(lines, variables, workspace, "bash", "-eo", "pipefail")

    assert done.returncode == 1, done.stderr
    for artifact in [job["artifacts"]["reports"]["junit"], *job["artifacts"]["paths"]]:
        assert "block.onnx" in (workspace / artifact).read_text(encoding="utf-8")
    (workspace / "models" / "block.onnx").unlink()
    assert script("\n".join(job["script"]), variables, workspace, "bash", "-eo", "pipefail").returncode == 0


@pytest.mark.slow
def test_the_jenkins_stage_leaves_its_reports(offline: dict[str, str], workspace: Path) -> None:
    (lines,) = re.findall(r"sh '''(.*?)'''", JENKINSFILE, re.DOTALL)
    (models,) = re.findall(r"MODELS = '(.*)'", JENKINSFILE)
    done = script(lines, offline | {"MODELS": models}, workspace, "sh", "-xe")

    assert done.returncode == 1, done.stderr
    for artifact in re.findall(r"(?:junit|archiveArtifacts) '(.*)'", JENKINSFILE):
        assert "block.onnx" in (workspace / artifact).read_text(encoding="utf-8")


def git(folder: Path, *arguments: str) -> None:
    command = ["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """The package as a repository of its own, tagged with its version."""
    folder = tmp_path / "repvgg-onnx"
    shutil.copytree(CHECKOUT / "repvgg_onnx", folder / "repvgg_onnx", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".pre-commit-hooks.yaml"):
        shutil.copy(CHECKOUT / name, folder)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "all")
    git(folder, "tag", f"v{__version__}")
    return folder


@pytest.mark.slow
def test_pre_commit_runs_the_hook(offline: dict[str, str], published: Path, workspace: Path) -> None:
    """The configuration of the README, in an environment of pre-commit's own making."""
    repository = workspace / "repository"
    repository.mkdir()
    (workspace / "models").rename(repository / "models")
    (config,) = re.findall(
        r"^```yaml\n(repos:.*?)^```$", (CI / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert f"rev: v{__version__}" in config
    config = config.replace("https://github.com/OWNER/repvgg-onnx", str(published))
    (repository / ".pre-commit-config.yaml").write_text(config, encoding="utf-8")
    git(repository, "init", "--quiet")
    git(repository, "add", ".")
    variables = offline | {"PRE_COMMIT_HOME": str(workspace / "cache")}
    command = [sys.executable, "-m", "pre_commit", "run"]
    first = subprocess.run(command, cwd=repository, env=variables, capture_output=True, text=True, check=False)
    git(repository, "rm", "--quiet", "--cached", "models/block.onnx")
    second = subprocess.run(command, cwd=repository, env=variables, capture_output=True, text=True, check=False)

    assert first.returncode == 1, first.stdout + first.stderr
    assert "models/block.onnx: 1 region to fold" in first.stdout
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Passed" in second.stdout
