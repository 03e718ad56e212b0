"""A file is whole or what it was before."""

import os
import stat

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from repvgg_onnx import ModelError, fuse, load_model, save_model
from repvgg_onnx.graph import save as save_module
from repvgg_onnx.graph.save import serialize, write_bytes
from tests.models import build, repvgg_block, weights_of

OLD = b"what was there before"


def wide():
    """A model with a kernel that is large enough to be moved out, and a bias that is not."""
    return build("net (float[1,40,5,7] x) => (float[1,6,5,7] y) { y = Conv(x, w, b) }", w=(6, 40, 3, 1), b=(6,))


def test_what_is_saved_is_what_is_loaded(tmp_path):
    model = repvgg_block()
    save_model(model, tmp_path / "m.onnx")
    save_model(model, str(tmp_path / "n.onnx"))
    assert load_model(tmp_path / "m.onnx") == model
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "n.onnx").read_bytes() == serialize(model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "n.onnx"]


def test_the_same_bytes_however_the_fields_were_filled():
    model = repvgg_block()
    model.metadata_props.add(key="a", value="1")
    again = onnx.ModelProto.FromString(model.SerializeToString())
    assert serialize(model) == serialize(again)


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, function):
    path = tmp_path / "m.onnx"
    path.write_bytes(OLD)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(ModelError, match="No space left on device"):
        save_model(repvgg_block(), path)
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "kill"])
def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, error):
    path = tmp_path / "m.onnx"
    path.write_bytes(OLD)

    def fail(target, data):
        target.write_bytes(data[:10])
        raise error

    monkeypatch.setattr(save_module, "_write", fail)
    with pytest.raises((ModelError, KeyboardInterrupt)):
        save_model(repvgg_block(), path)
    assert path.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_of_an_old_file_are_kept_and_of_a_new_one_follow_the_umask(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(OLD)
    path.chmod(0o640)
    save_model(repvgg_block(), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    mask = os.umask(0o027)
    try:
        save_model(repvgg_block(), tmp_path / "n.onnx")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "n.onnx").stat().st_mode) == 0o640


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "m.onnx"
    target.write_bytes(OLD)
    link = tmp_path / "link.onnx"
    link.symlink_to(target)
    save_model(repvgg_block(), link)
    assert link.is_symlink()
    assert load_model(target) == repvgg_block()
    assert list((tmp_path / "real").iterdir()) == [target]


def test_a_folder_that_is_not_there_and_a_target_that_is_a_folder(tmp_path):
    with pytest.raises(ModelError, match="cannot be written"):
        save_model(repvgg_block(), tmp_path / "absent" / "m.onnx")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError, match="cannot be written"):
        save_model(repvgg_block(), tmp_path / "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_name_that_no_file_can_have(tmp_path):
    with pytest.raises(ModelError, match="cannot be written"):
        save_model(repvgg_block(), tmp_path / ("a" * 300))


def test_tensors_go_to_a_side_file_when_asked(tmp_path):
    model = wide()
    before = model.SerializeToString()
    save_model(model, tmp_path / "m.onnx", external_data=True)
    assert model.SerializeToString() == before
    stored = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    assert {t.name: uses_external_data(t) for t in stored.graph.initializer} == {"w": True, "b": False}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert_same_weights(load_model(tmp_path / "m.onnx"), model)


def test_an_old_side_file_is_replaced_and_not_extended(tmp_path):
    for _ in range(2):
        save_model(wide(), tmp_path / "m.onnx", external_data=True)
        assert (tmp_path / "m.onnx.data").stat().st_size == 6 * 40 * 3 * 4


def test_models_over_the_limit_get_a_side_file_by_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(save_module, "LARGEST_FILE", 1000)
    assert serialize(wide()) is None
    save_model(wide(), tmp_path / "m.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    assert_same_weights(load_model(tmp_path / "m.onnx"), wide())


def assert_same_weights(first, second):
    one, two = weights_of(first), weights_of(second)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("failing", [1, 2])
def test_a_side_file_and_its_model_are_replaced_together_or_not_at_all(tmp_path, monkeypatch, failing):
    path = tmp_path / "m.onnx"
    save_model(wide(), path, external_data=True)
    old = [(tmp_path / name).read_bytes() for name in ("m.onnx", "m.onnx.data")]
    other = build("net (float[1,40,5,7] x) => (float[1,2,5,7] y) { y = Conv(x, w) }", w=(2, 40, 3, 3), seed=1)
    replace, calls = os.replace, []

    def fail(*names):
        calls.append(names)
        if len(calls) == failing:
            raise OSError(28, "No space left on device")
        replace(*names)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(ModelError, match="No space left"):
        save_model(other, path, external_data=True)
    assert [(tmp_path / name).read_bytes() for name in ("m.onnx", "m.onnx.data")] == old
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]


def test_weights_in_typed_fields_survive(tmp_path):
    model = wide()
    array = numpy_helper.to_array(model.graph.initializer[0])
    typed = onnx.helper.make_tensor("w", onnx.TensorProto.FLOAT, array.shape, array.reshape(-1))
    model.graph.initializer[0].CopyFrom(typed)
    save_model(model, tmp_path / "m.onnx", external_data=True)
    assert_same_weights(load_model(tmp_path / "m.onnx"), model)


def test_write_bytes_writes_bytes(tmp_path):
    write_bytes(b"data", tmp_path / "report.json")
    assert (tmp_path / "report.json").read_bytes() == b"data"


def test_a_fused_model_with_external_data_round_trips(tmp_path):
    model = repvgg_block(40)
    save_model(model, tmp_path / "m.onnx", external_data=True)
    fused = fuse(tmp_path / "m.onnx").model
    assert_same_weights(fused, fuse(model).model)
