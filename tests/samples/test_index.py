"""Every sample is in the index, has a README, and is run by a test."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.models import build

SAMPLES = Path(__file__).parents[2] / "samples"
FOLDERS = sorted(path.name for path in SAMPLES.iterdir() if path.is_dir() and not path.name.startswith("__"))
INDEX = (SAMPLES / "README.md").read_text(encoding="utf-8")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(SAMPLES.parent)}

RUN_BY = {
    "benchmarks/autotune.py": "exports/test_samples.py::test_what_autotuning_changes_is_one_row_a_network",
    "benchmarks/below.py": "samples/test_heads.py::test_the_table_has_a_line_for_each_head",
    "benchmarks/bounds.py": "exports/test_samples.py::test_the_bounds_of_a_block_hold",
    "benchmarks/exactness.py": "checks/test_exactness.py::"
    "test_the_table_has_a_line_for_each_network_and_the_code_follows_the_median",
    "benchmarks/fuzz_files.py": "hostile/test_mutations.py::test_a_slice_of_the_mutations_in_a_process_of_its_own",
    "benchmarks/fuzz_graphs.py": "samples/test_index.py::test_random_graphs_are_searched_for_a_wrong_fold",
    "benchmarks/kill_trials.py": "durability/test_kills.py::test_the_output_is_whole_whenever_the_command_is_killed",
    "benchmarks/large_model.py": "samples/test_index.py::test_a_model_with_a_side_file_is_made_and_fused",
    "benchmarks/larger_networks.py": "samples/test_index.py::test_larger_networks_are_written",
    "benchmarks/peers.py": "samples/test_peers.py::test_the_command_writes_its_table",
    "benchmarks/real_files.py": "samples/test_index.py::test_real_files_are_one_row_each_and_a_fault_is_exit_1",
    "benchmarks/repvgg_latency.py": "exports/test_samples.py::test_the_latency_benchmark_measures_three_forms",
    "benchmarks/same_bytes.py": "samples/test_revisions.py::test_a_difference_is_named_and_fails",
    "benchmarks/scaling.py": "samples/test_index.py::test_how_time_grows_is_one_row_a_kind_of_graph",
    "benchmarks/structure.py": "samples/test_revisions.py::test_the_table_of_a_checkout",
    "benchmarks/tool_speed.py": "samples/test_index.py::test_the_speed_of_the_tool_is_one_row_a_model",
    "ci/github/action.yml": "samples/test_ci.py::test_the_action_fails_where_a_model_can_be_folded",
    "ci/gitlab/.gitlab-ci.yml": "samples/test_ci.py::test_the_gitlab_job_leaves_its_reports",
    "ci/jenkins/Jenkinsfile": "samples/test_ci.py::test_the_jenkins_stage_leaves_its_reports",
    "digits/predict.py": "exports/test_samples.py::test_predict_agrees_and_prints_the_accuracy",
    "paper/reproduce.py": "paper/test_reproduce.py::test_the_command_measures_and_says_what_it_could_not",
    "paper/torch_gpu.py": "paper/test_reproduce.py::test_the_torch_script_runs_anywhere",
    "quantize/quantize.py": "samples/test_quantize.py::test_the_tables_have_every_form_and_every_layer",
    "serve/client.py": "samples/test_serve.py::test_original_and_fused_answer_the_same",
    "serve/serve.py": "samples/test_serve.py::test_original_and_fused_answer_the_same",
    "tensorrt/build.py": "samples/test_tensorrt.py::test_without_tensorrt_it_says_so_in_one_line",
    "train/bundled_digits.py": "zoo/test_digits_sample.py::"
    "test_the_training_script_builds_the_committed_network_and_data",
    "train/train.py": "samples/train/test_program.py::test_a_network_is_trained_exported_fused_and_compared",
}
"""Everything that can be run, and the test that does so."""


def runnable() -> set[str]:
    """Programs among the samples, and what pipelines run."""
    scripts = {path for path in SAMPLES.rglob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")}
    pipelines = {
        path for path in (SAMPLES / "ci").glob("*/*") if path.name != "workflow.yml"
    }  # that one runs the action
    return {path.relative_to(SAMPLES).as_posix() for path in scripts | pipelines}


def benchmark(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SAMPLES / "benchmarks" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)


def test_the_index_leads_to_every_folder_and_nowhere_else() -> None:
    assert sorted(re.findall(r"\((\w+)/README\.md\)", INDEX)) == FOLDERS


def test_every_folder_has_a_readme_with_a_title() -> None:
    readmes = {folder: SAMPLES / folder / "README.md" for folder in FOLDERS}

    titled = [name for name, path in readmes.items() if path.is_file() and path.read_text(encoding="utf-8")[:2] == "# "]
    assert titled == FOLDERS


def test_what_a_readme_links_to_is_there() -> None:
    links = {
        readme.parent / link
        for readme in SAMPLES.rglob("README.md")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", readme.read_text(encoding="utf-8"))
    }

    assert len(links) > len(FOLDERS)
    assert [str(link) for link in links if not link.exists()] == []


def test_everything_that_can_be_run_has_a_test() -> None:
    assert runnable() == set(RUN_BY)


def knows(test: str, sample: str) -> bool:
    """Whether the test is there and the file that it is in names the sample."""
    file, name = test.split("::")
    text = (SAMPLES.parent / "tests" / file).read_text(encoding="utf-8")
    functions = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    return name in functions and Path(sample).stem in text


def test_the_test_of_a_sample_is_there_and_knows_it() -> None:
    assert [sample for sample, test in RUN_BY.items() if not knows(test, sample)] == []


def test_every_benchmark_is_in_their_readme() -> None:
    listed = (SAMPLES / "benchmarks" / "README.md").read_text(encoding="utf-8")
    benchmarks = [Path(sample).name for sample in RUN_BY if sample.startswith("benchmarks/")]

    assert [name for name in benchmarks if f"`{name}`" not in listed] == []


def test_random_graphs_are_searched_for_a_wrong_fold() -> None:
    done = benchmark("fuzz_graphs.py", "--graphs", "5", "--seed", "7", "--jobs", "1")

    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +5 graphs$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +0 failed$", done.stdout, re.MULTILINE)


@pytest.mark.skipif(sys.platform != "linux", reason="it reads memory from /proc")
def test_a_model_with_a_side_file_is_made_and_fused(tmp_path: Path) -> None:
    """The share of memory is that of a large model, so that here only the fold is judged."""
    options = ["--gigabytes", "0.005", "--channels", "64", "--verify", "--folder", str(tmp_path)]
    done = benchmark("large_model.py", *options)

    assert done.returncode in (0, 1), done.stderr
    before, after = re.findall(r"(\d+) Conv, \d+ Relu", done.stdout)
    assert int(before) == 2 * int(after) > 0
    assert float(re.search(r"normalized error (\S+)", done.stdout)[1]) < 1e-5
    assert not list(tmp_path.iterdir())


def test_the_speed_of_the_tool_is_one_row_a_model() -> None:
    options = ["--models", "repvgg-plain-block", "--rounds", "1", "--starts", "1", "--no-whole"]
    done = benchmark("tool_speed.py", *options)

    assert done.returncode in (0, 1), done.stderr  # times are no matter of a test
    assert re.search(r"^ repvgg-plain", done.stdout, re.MULTILINE)


def test_real_files_are_one_row_each_and_a_fault_is_exit_1(tmp_path: Path) -> None:
    text = "net (float[1,4,5,7] x) => (float[1,6,5,7] y) { a = Conv(x, w)  y = Mul(a, s) }"
    folds = build(text, w=(6, 4, 1, 1), s=(6, 1, 1))
    onnx.save(folds, tmp_path / "folds.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    done = benchmark("real_files.py", str(tmp_path), "--markdown")

    assert done.returncode == 0, done.stderr  # onnxruntime takes the broken file as little as we do
    assert re.search(r"^\| folds.onnx \| 1 \| 0 \| \d\.\de-\d\d \|", done.stdout, re.MULTILINE)
    assert "| broken.onnx | – | 0 | error: " in done.stdout
    assert "0 of 2 files show a fault" in done.stderr


@pytest.mark.slow
def test_larger_networks_are_written(tmp_path: Path) -> None:
    done = benchmark("larger_networks.py", str(tmp_path), "--size", "32")

    assert done.returncode == 0, done.stderr
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["mobileone-s4", "repvgg-a0", "unet-resnet18"]


def test_how_time_grows_is_one_row_a_kind_of_graph() -> None:
    done = benchmark("scaling.py", "--kinds", "diamonds", "--steps", "2", "--rounds", "1")

    assert done.returncode in (0, 1), done.stderr  # times are no matter of a test
    assert re.search(r"^ diamonds +80, 160 +\d\.\d\d, \d+\.\d\d +-?\d\.\d\d +2 s", done.stdout, re.MULTILINE)
