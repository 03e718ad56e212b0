"""Settings from a file and from the command line, joined."""

import sys

import onnx
import pytest

from tests.cli.models import HEADER, filled
from tests.cli.test_settings_file import here, write

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["here"]

TWO_ROOTS = f"""{HEADER}
net (float[N, 4, 5, 7] image) => (float[N, 4, 5, 7] out) {{
    dense = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, kernel3, bias3)
    relu = Relu (image)
    point = Conv <kernel_shape = [1, 1]> (relu, kernel1, bias1)
    out = Add (dense, point)
}}"""


@pytest.fixture
def shown(run, block, plain):
    """What ``--show-config`` says, as TOML."""

    def show(command, *options):
        ran = run(command, *options, "--show-config")
        assert (ran.code, ran.err) == (0, "")
        return tomllib.loads(ran.out)

    return show


def test_settings_reach_a_command(run, block, here):
    write(here, "max-foldable = 1")

    assert run("check", block).code == 0
    assert run("check", block, "--no-config").code == 1
    assert run("check", block, "--max-foldable", 0).code == 1
    assert run("check", block, "--config", write(here, "max-foldable = 0", "other.toml")).code == 1


def test_the_last_section_that_matches_wins_and_the_command_line_over_all(shown, block, plain, here):
    text = 'threads = 1\n[models."block*"]\nthreads = 2\n[models."*.onnx"]\nthreads = 3\n[models."plain*"]\nthreads = 4'
    write(here, text)

    both = shown("fuse", block, plain)["models"]
    assert [both[str(model)]["threads"] for model in (block, plain)] == [3, 4]
    assert shown("fuse", block, plain, "--threads", 5)["models"][str(block)]["threads"] == 5
    assert shown("fuse", block)["threads"] == 3
    assert shown("bench", plain, block)["models"] != {}
    assert shown("bench", plain, "--no-config").get("threads") is None


def test_every_value_says_where_it_is_from(run, block, here):
    path = write(here, 'tolerance = 1e-3\n[models."block*"]\nshape = { image = [2, 4, 5, 7] }')

    lines = run("fuse", block, "--strict", "--show-config").out.splitlines()

    assert lines[0] == f"# {path}"
    assert f"tolerance = 0.001  # {path}: tolerance" in lines
    assert f'shape = {{ "image" = [2, 4, 5, 7] }}  # {path}: models."block*".shape' in lines
    assert "strict = true  # command line" in lines
    assert "bench-seconds = 5.0  # default" in lines
    assert "# min-speedup is not set" in lines


def test_what_is_shown_is_a_file_that_says_the_same(run, block, plain, here):
    write(here, 'jobs = 2\nignore = ["two-roots"]\n[models."plain*"]\nrange = { image = [0, 1] }\nthreads = 2')
    first = run("fuse", block, plain, "--show-config").out

    again = run("fuse", block, plain, "--show-config", "--config", write(here, first, "again.toml")).out

    assert tomllib.loads(again) == tomllib.loads(first)
    assert tomllib.loads(first)["models"][str(plain)]["range"] == {"image": [0, 1]}
    assert tomllib.loads(first)["jobs"] == 2


def test_paths_are_relative_to_the_file(shown, block, here):
    write(here.parent, 'inputs = ["data/x.npz", "y.npz"]\nlabels = "l.npy"\njson = "-"')

    found = shown("fuse", block)

    assert found["inputs"] == [str(here.parent / "data" / "x.npz"), str(here.parent / "y.npz")]
    assert found["labels"] == str(here.parent / "l.npy")
    assert found["json"] == "-"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('tolerance = "small"', "tolerance: expected a number, and not 'small'"),
        ("tolerance = -1.0", "tolerance: -1.0 is not in the range x>0"),
        ("threads = 1.5", "threads: expected a whole number, and not 1.5"),
        ("threads = true", "threads: expected a whole number, and not True"),
        ("strict = 1", "strict: expected true or false, and not 1"),
        ("provider = 3", "provider: expected a text, and not 3"),
        ("labels = []", "labels: expected a text, and not []"),
        ("shape = { image = [0] }", "shape: shape 'image=0' has an axis of size 0"),
        ('ignore = ["two-rots"]', "ignore: unknown code 'two-rots': did you mean 'two-roots'?"),
        ('[models."never*"]\nthreads = 0', 'models."never*".threads: 0 is not in the range x>=1'),
    ],
)
def test_a_value_that_does_not_suit_is_one_line(run, block, here, text, sentence):
    path = write(here, text)

    ran = run("fuse", block, "--no-bench")

    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {path}: {sentence}\n"


def test_settings_of_other_commands_are_let_be(run, block, here):
    write(here, "batch = [1, 2]\nseconds = 0.1\nmax-foldable = 3")

    assert run("fuse", block, "--no-bench").code == 0
    assert tomllib.loads(run("bench", block, "--show-config").out)["batch"] == [1, 2]


def test_the_command_line_undoes_what_does_not_go_together_with_it(run, block, here):
    write(here, "min-speedup = 99.0\ntolerance = 1e-3")

    assert run("fuse", block, "--no-bench", "--no-verify").code == 0
    assert "1 region can be folded" in run("fuse", block, "--check").err
    assert "are mutually exclusive" in run("fuse", block, "--no-bench", "--min-speedup", 2).err


def test_a_file_that_contradicts_itself_is_an_error(run, block, here):
    path = write(here, "min-speedup = 99.0\nno-bench = true")

    ran = run("fuse", block)

    assert ran.code == 2
    assert ran.err == f"error: {path}: min-speedup: --no-bench and --min-speedup are mutually exclusive\n"


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_and_no_file_do_not_go_together(run, block, here, swapped):
    options = [["--config", write(here, "")], ["--no-config"]]

    ran = run("fuse", block, *(option for part in (options[::-1] if swapped else options) for option in part))

    assert ran.code == 2
    assert "--config and --no-config are mutually exclusive" in ran.err


@pytest.mark.parametrize("command", [["inspect", "--all"], ["fuse", "--no-bench", "--all"]])
def test_ignored_refusals_are_in_no_report(run, tmp_path, here, command):
    path = tmp_path / "two.onnx"
    onnx.save(filled(TWO_ROOTS), path)
    write(here, 'ignore = ["two-roots"]')

    assert "two-roots" in run(*command, path, "--no-config").out
    assert "two-roots" in run(*command, path, "--no-config", "--json").out
    assert "two-roots" not in run(*command, path).out
    assert "two-roots" not in run(*command, path, "--json").out


def test_gates_hold_for_the_models_of_their_section(run, block, plain, here, monkeypatch):
    write(block.parent, '[models."block*"]\nmax-foldable = 1')
    monkeypatch.chdir(block.parent)

    assert run("check", block, plain).code == 0
    assert run("check", block, plain, "--max-foldable", 0).code == 1
