"""A file is whole or what it was before."""

import hashlib
import os
import stat
import threading

import numpy as np
import onnx
import pytest
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import numpy_helper
from onnx.external_data_helper import uses_external_data

from repvgg_onnx import ModelError, fuse, load_model, save_model
from repvgg_onnx.graph import save as save_module
from repvgg_onnx.graph.save import write_bytes
from repvgg_onnx.graph.storage import sides
from repvgg_onnx.graph.storage.encoding import key
from tests.folders import contents, full, names
from tests.models import build, repvgg_block, weights_of

OLD = b"what was there before"


def wide(seed=0):
    """A model with a kernel that is large enough to be moved out, and a bias that is not."""
    return build(
        "net (float[1,40,5,7] x) => (float[1,6,5,7] y) { y = Conv(x, w, b) }", w=(6, 40, 3, 1), b=(6,), seed=seed
    )


def side_of(path):
    """The side file that a model names, and that is there."""
    entries = [e for t in onnx.load(path, load_external_data=False).graph.initializer for e in t.external_data]
    (name,) = {entry.value for entry in entries if entry.key == "location"}
    return path.parent / name


def test_what_is_saved_is_what_is_loaded(tmp_path):
    model = repvgg_block()
    save_model(model, tmp_path / "m.onnx")
    save_model(model, str(tmp_path / "n.onnx"))
    assert load_model(tmp_path / "m.onnx") == model
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "n.onnx").read_bytes()
    assert names(tmp_path) == ["m.onnx", "n.onnx"]


def test_the_same_bytes_however_the_fields_were_filled(tmp_path):
    model = repvgg_block()
    model.metadata_props.add(key="a", value="1")
    save_model(model, tmp_path / "m.onnx")
    save_model(onnx.ModelProto.FromString(model.SerializeToString()), tmp_path / "n.onnx")
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "n.onnx").read_bytes()


@pytest.mark.parametrize("external_data", [False, True])
def test_fields_that_a_later_onnx_may_have_survive(tmp_path, external_data):
    later = key(1000, 5) + b"later"
    model = wide()
    for message in (model.graph.initializer[0], model.graph, model):
        message.MergeFromString(later)
    save_model(model, tmp_path / "m.onnx", external_data=external_data)
    found = load_model(tmp_path / "m.onnx")
    for message in (found, found.graph, found.graph.initializer[0]):
        assert [field.data for field in UnknownFieldSet(message)] == [b"later"]
    assert_same_weights(found, model)


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, function):
    path = tmp_path / "m.onnx"
    path.write_bytes(OLD)

    monkeypatch.setattr(os, function, full)
    with pytest.raises(ModelError, match="No space left on device"):
        save_model(repvgg_block(), path)
    assert contents(tmp_path) == {"m.onnx": OLD}


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_an_interrupt_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, function):
    path = tmp_path / "m.onnx"
    path.write_bytes(OLD)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, function, interrupt)
    with pytest.raises(KeyboardInterrupt):
        save_model(repvgg_block(), path)
    assert contents(tmp_path) == {"m.onnx": OLD}


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
    with pytest.raises(ModelError, match="cannot be written: File name too long"):
        save_model(repvgg_block(), tmp_path / ("a" * 300))
    assert names(tmp_path) == []


def test_the_longest_name_that_a_file_can_have(tmp_path):
    save_model(repvgg_block(), tmp_path / ("я" * 127))
    assert load_model(tmp_path / ("я" * 127)) == repvgg_block()


def test_a_link_to_nowhere_gets_its_file_and_one_to_itself_is_refused(tmp_path):
    (tmp_path / "link.onnx").symlink_to("file.onnx")
    save_model(repvgg_block(), tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert load_model(tmp_path / "file.onnx") == repvgg_block()
    (tmp_path / "loop.onnx").symlink_to("loop.onnx")
    with pytest.raises(ModelError, match="cannot be written: Too many levels of symbolic links"):
        save_model(repvgg_block(), tmp_path / "loop.onnx")
    assert names(tmp_path) == ["file.onnx", "link.onnx", "loop.onnx"]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    save_model(repvgg_block(), tmp_path / "pipe")
    reader.join(timeout=60)
    assert onnx.load_model_from_string(got[0]) == repvgg_block()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert names(tmp_path) == ["pipe"]


def test_a_device_is_written_to_and_stays_a_device():
    before = os.stat(os.devnull)
    save_model(repvgg_block(), os.devnull)
    after = os.stat(os.devnull)
    assert (before.st_ino, before.st_mode, before.st_rdev) == (after.st_ino, after.st_mode, after.st_rdev)
    with pytest.raises(ModelError, match="need an external data file"):
        save_model(wide(), os.devnull, external_data=True)


def test_tensors_go_to_a_side_file_when_asked(tmp_path):
    model = wide()
    before = model.SerializeToString()
    save_model(model, tmp_path / "m.onnx", external_data=True)
    assert model.SerializeToString() == before
    stored = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    assert {t.name: uses_external_data(t) for t in stored.graph.initializer} == {"w": True, "b": False}
    assert_same_weights(load_model(tmp_path / "m.onnx"), model)
    assert_same_weights(onnx.load(tmp_path / "m.onnx"), model)


def test_a_side_file_is_named_after_the_model_and_what_it_holds(tmp_path):
    save_model(wide(), tmp_path / "m.onnx", external_data=True)
    data = numpy_helper.to_array(wide().graph.initializer[0]).tobytes()
    name = f"m.onnx.{hashlib.sha256(data).hexdigest()[:16]}.data"
    assert names(tmp_path) == [name, "m.onnx"] if name < "m.onnx" else ["m.onnx", name]
    assert (tmp_path / name).read_bytes() == data


def test_tensors_in_a_side_file_begin_at_pages(tmp_path):
    model = build(
        "net (float[1,40,5,7] x) => (float[1,6,5,7] y) { y = Conv(x, v) z = Conv(x, w) }",
        v=(6, 40, 3, 1),
        w=(6, 40, 1, 3),
    )
    save_model(model, tmp_path / "m.onnx", external_data=True)
    stored = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    offsets = [e.value for t in stored.graph.initializer for e in t.external_data if e.key == "offset"]
    assert offsets == ["0", "4096"]
    assert side_of(tmp_path / "m.onnx").stat().st_size == 4096 + 6 * 40 * 3 * 4


def test_a_model_without_large_tensors_has_no_side_file(tmp_path):
    save_model(repvgg_block(), tmp_path / "m.onnx", external_data=True)
    assert names(tmp_path) == ["m.onnx"]
    assert load_model(tmp_path / "m.onnx") == repvgg_block()


def test_the_same_model_has_the_same_side_file(tmp_path):
    save_model(wide(), tmp_path / "m.onnx", external_data=True)
    before = contents(tmp_path)
    save_model(wide(), tmp_path / "m.onnx", external_data=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("external_data", [False, True])
def test_the_side_file_of_a_replaced_model_goes(tmp_path, external_data):
    path = tmp_path / "m.onnx"
    save_model(wide(), path, external_data=True)
    old = side_of(path)
    save_model(wide(seed=1), path, external_data=external_data)
    assert not old.exists()
    assert names(tmp_path) == sorted(["m.onnx", side_of(path).name] if external_data else ["m.onnx"])
    assert_same_weights(load_model(path), wide(seed=1))


def test_side_files_that_another_model_names_or_that_are_not_ours_stay(tmp_path):
    path = tmp_path / "m.onnx"
    save_model(wide(), path, external_data=True)
    old = side_of(path)
    (tmp_path / "copy.onnx").write_bytes(path.read_bytes())
    foreign = [f"m.onnx.{'0' * 15}.data", "m.onnx.data", f"n.onnx.{'0' * 16}.data", f"m.onnx.{'0' * 16}.data.bak"]
    for name in foreign:
        (tmp_path / name).write_bytes(OLD)
    save_model(wide(seed=1), path, external_data=True)
    assert names(tmp_path) == sorted(["m.onnx", "copy.onnx", old.name, side_of(path).name, *foreign])
    assert_same_weights(load_model(tmp_path / "copy.onnx"), wide())


def test_side_files_stay_where_some_model_cannot_be_searched(tmp_path, monkeypatch):
    path = tmp_path / "m.onnx"
    save_model(wide(), path, external_data=True)
    old = side_of(path)

    def fail(*_, **__):
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(sides.mmap, "mmap", fail)
    save_model(wide(seed=1), path, external_data=True)
    assert old.exists()
    assert side_of(path) != old


def test_models_over_the_limit_get_a_side_file_by_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr(save_module, "LARGEST_FILE", 1000)
    save_model(wide(), tmp_path / "m.onnx")
    assert names(tmp_path) == sorted(["m.onnx", side_of(tmp_path / "m.onnx").name])
    assert_same_weights(load_model(tmp_path / "m.onnx"), wide())


def test_what_is_too_large_without_its_tensors_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(save_module, "LARGEST_FILE", 10)
    with pytest.raises(ModelError, match="more than 2 GB of it are not initializers"):
        save_model(wide(), tmp_path / "m.onnx")
    assert names(tmp_path) == []


def assert_same_weights(first, second):
    one, two = weights_of(first), weights_of(second)
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "stop"])
@pytest.mark.parametrize("failing", [1, 2, 3])
@pytest.mark.parametrize("before", [wide, repvgg_block])
def test_a_side_file_and_its_model_are_replaced_together_or_not_at_all(tmp_path, monkeypatch, before, failing, error):
    path = tmp_path / "m.onnx"
    save_model(before(), path, external_data=True)
    old = contents(tmp_path)
    replace, calls = os.replace, []

    def fail(*names):
        calls.append(names)
        if len(calls) == failing:
            raise error
        replace(*names)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises((ModelError, KeyboardInterrupt)):
        save_model(wide(seed=1), path, external_data=True)
    assert len(calls) == failing
    assert contents(tmp_path) == old


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
