"""Tensors that nobody touches come along, wherever the input has them and wherever the output puts them."""

import stat
import sys

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx import fuse, load_model, save_model
from repvgg_onnx.graph import save
from repvgg_onnx.graph.load import LARGEST_AT_ONCE
from tests.durability.models import LITTLE, training_model
from tests.folders import contents, contents_of_files, names
from tests.models import weights_of

QUICK = ("--no-verify", "--no-bench", "--quiet")


def with_a_survivor():
    """A model with branches to fold, and after them a large kernel that no fold touches."""
    model = training_model()
    kernel = np.random.default_rng(5).standard_normal((64, 48, 3, 3), np.float32)
    assert kernel.nbytes > LARGEST_AT_ONCE
    model.graph.initializer.append(numpy_helper.from_array(kernel, "survivor"))
    output = model.graph.output[0]
    model.graph.node.append(onnx.helper.make_node("Relu", ["y"], ["active"]))
    model.graph.node.append(onnx.helper.make_node("Conv", ["active", "survivor"], ["z"], pads=[1, 1, 1, 1]))
    output.CopyFrom(onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1, 64, 5, 7]))
    return model


def assert_fused(path):
    expected, found = weights_of(fuse(with_a_survivor()).model), weights_of(load_model(path))
    assert expected.keys() == found.keys() == {"survivor", "y.kernel", "y.bias"}
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("limit", [save.LARGEST_FILE, LITTLE], ids=["to one file", "to a pair"])
@pytest.mark.parametrize("external_data", [False, True], ids=["from one file", "from a pair"])
@pytest.mark.parametrize("arguments", [["--in-place"], ["-o", "beside.onnx"], ["-o", "sub/else.onnx"]], ids=" ".join)
def test_survivors_come_along(run, tmp_path, monkeypatch, arguments, external_data, limit):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    save_model(with_a_survivor(), "net.onnx", external_data=external_data)
    before = contents_of_files(tmp_path)
    monkeypatch.setattr(save, "LARGEST_FILE", limit)

    assert run("fuse", "net.onnx", *arguments, *QUICK).code == 0

    target = tmp_path / (arguments[1] if len(arguments) > 1 else "net.onnx")
    assert_fused(target)
    sides = [name for name in names(target.parent) if name.startswith(target.name + ".")]
    assert len(sides) == (limit == LITTLE)
    if target.name != "net.onnx":
        assert before.items() <= contents_of_files(tmp_path).items()


@pytest.mark.parametrize("limit", [save.LARGEST_FILE, LITTLE], ids=["one file", "pair"])
def test_the_checks_run_on_what_is_written(run, tmp_path, monkeypatch, limit):
    monkeypatch.setattr(save, "LARGEST_FILE", limit)
    save_model(with_a_survivor(), tmp_path / "net.onnx", external_data=True)
    ran = run("fuse", tmp_path / "net.onnx", "--bench-seconds", "0.1")
    assert (ran.code, ran.err) == (0, "")
    assert "same outputs" in ran.out
    assert_fused(tmp_path / "net.fused.onnx")


def test_nothing_to_fold_in_a_pair_is_copied_with_its_side_file(run, tmp_path):
    fused = fuse(with_a_survivor()).model
    save_model(fused, tmp_path / "net.onnx", external_data=True)
    (tmp_path / "sub").mkdir()
    for target in (tmp_path / "beside.onnx", tmp_path / "sub" / "else.onnx"):
        assert run("fuse", tmp_path / "net.onnx", "-o", target, *QUICK).code == 0
        assert_fused(target)
    assert (tmp_path / "beside.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()
    assert len(contents(tmp_path / "sub")) == 2


def test_the_side_file_of_an_input_stays_as_long_as_a_copy_names_it(run, tmp_path):
    save_model(with_a_survivor(), tmp_path / "net.onnx", external_data=True)
    (tmp_path / "copy.onnx").write_bytes((tmp_path / "net.onnx").read_bytes())
    assert run("fuse", tmp_path / "net.onnx", "--in-place", *QUICK).code == 0
    assert_fused(tmp_path / "net.onnx")
    assert load_model(tmp_path / "copy.onnx") == with_a_survivor()


@pytest.mark.parametrize(
    "arguments",
    [
        ["fuse", "net.onnx", "-o", "SIDE"],
        ["fuse", "net.onnx", "--json=SIDE"],
        ["inspect", "net.onnx", "--json=SIDE"],
    ]
    + [[command, "net.onnx", "net.onnx", "--json=SIDE"] for command in ("verify", "bench")],
    ids=lambda arguments: " ".join(arguments),
)
def test_a_side_file_of_the_input_is_not_overwritten(run, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    side = "side.json"  # which ends as a report does
    onnx.save(with_a_survivor(), "net.onnx", save_as_external_data=True, location=side)
    before = contents(tmp_path)
    assert before.keys() == {"net.onnx", side}

    ran = run(*(argument.replace("SIDE", side) for argument in arguments))

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert f"error: {side} would overwrite {tmp_path / side}" in ran.err or "is kept" in ran.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("backup", ["out.onnx.bak", "OUT.ONNX", "out.onnx~"])
def test_the_side_file_of_a_backup_stays(tmp_path, backup):
    save_model(training_model(0), tmp_path / "out.onnx", external_data=True)
    (tmp_path / backup).write_bytes((tmp_path / "out.onnx").read_bytes())
    save_model(training_model(1), tmp_path / "out.onnx", external_data=True)

    np.testing.assert_equal(weights_of(load_model(tmp_path / backup)), weights_of(training_model(0)))
    assert len(names(tmp_path)) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="needs permissions")
def test_who_may_not_read_the_model_may_not_read_its_side_file(tmp_path):
    path = tmp_path / "out.onnx"
    path.write_bytes(b"old")
    path.chmod(0o600)
    save_model(training_model(), path, external_data=True)
    assert [stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()] == [0o600, 0o600]


def test_the_report_does_not_replace_the_output_under_another_spelling(run, tmp_path):
    onnx.save(training_model(), tmp_path / "net.onnx")
    (tmp_path / "inner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("inner/../out.onnx", "link/out.onnx"):
        ran = run("fuse", tmp_path / "net.onnx", "-o", tmp_path / "out.onnx", *QUICK, f"--json={tmp_path / name}")
        assert (ran.code, "would overwrite" in ran.err) == (2, True)
        assert not (tmp_path / "out.onnx").exists()
