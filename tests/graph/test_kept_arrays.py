"""Arrays that are to become tensors: kept outside the model, written from where they are, forgotten when unused."""

import mmap

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx import ModelError, fuse, load_model, save_model
from repvgg_onnx.compiler import write
from repvgg_onnx.graph.load import open_model
from repvgg_onnx.graph.save import stage_model
from repvgg_onnx.graph.storage import wire
from repvgg_onnx.graph.storage.files import TensorFiles, array_of
from repvgg_onnx.graph.storage.staging import staging
from repvgg_onnx.graph.storage.tensors import is_external
from tests.models import repvgg_block


@pytest.fixture
def all_are_large(monkeypatch):
    monkeypatch.setattr(wire, "SMALLEST_TAKEN", 1)
    monkeypatch.setattr(write, "SMALLEST_KEPT", 1)


@pytest.mark.parametrize("elem_type", ["FLOAT", "DOUBLE", "FLOAT16", "BFLOAT16"])
def test_a_kept_array_is_read_and_loaded_like_any_tensor(elem_type, tmp_path):
    dtype = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.DataType.Value(elem_type))
    array = np.arange(30).reshape(2, 3, 5).astype(dtype)
    files = TensorFiles(tmp_path)
    tensor = files.keep(array.swapaxes(0, 2), "w")

    assert is_external(tensor)
    assert np.array_equal(array_of(tensor, files), array.swapaxes(0, 2))
    files.load(tensor)
    assert tensor == numpy_helper.from_array(np.ascontiguousarray(array.swapaxes(0, 2)), "w")


def test_what_no_tensor_refers_to_is_forgotten(tmp_path):
    files = TensorFiles(tmp_path)
    kept, dropped = (files.keep(np.ones((4, 6), np.float32), name) for name in ("kept", "dropped"))
    files.keep_only([kept, numpy_helper.from_array(np.ones(3), "inside")])

    assert array_of(kept, files).shape == (4, 6)
    with pytest.raises(ModelError, match="'dropped'"):
        files.data(dropped)


def test_no_file_may_name_what_is_in_memory(tmp_path):
    model = repvgg_block()
    tensor = model.graph.initializer[0]
    files = TensorFiles(tmp_path)
    model.graph.initializer[0].CopyFrom(files.keep(numpy_helper.to_array(tensor), tensor.name))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match="not lie below the model's folder"):
        open_model(tmp_path / "m.onnx")


def test_a_fused_file_is_the_same_whether_its_arrays_were_kept_or_not(all_are_large, tmp_path):
    source = tmp_path / "m.onnx"
    onnx.save(repvgg_block(), source)
    opened = open_model(source)
    fusion = fuse(opened)
    kernel = next(tensor for tensor in fusion.model.graph.initializer if tensor.name.endswith(".kernel"))
    with staging(tmp_path / "kept.onnx") as place:
        stage_model(fusion.model, place, fusion.files)
        place.commit()
    save_model(fuse(load_model(source)).model, tmp_path / "whole.onnx")

    assert is_external(kernel)
    assert (tmp_path / "kept.onnx").read_bytes() == (tmp_path / "whole.onnx").read_bytes()


def test_a_model_fused_from_a_path_holds_its_arrays(all_are_large, tmp_path):
    onnx.save(repvgg_block(), tmp_path / "m.onnx")
    fused = fuse(tmp_path / "m.onnx").model

    assert fused == fuse(repvgg_block()).model
    assert not any(map(is_external, fused.graph.initializer))


def test_what_was_released_can_be_read_again(tmp_path):
    (tmp_path / "data").write_bytes(bytes(range(256)) * 64)
    with (tmp_path / "data").open("rb") as stream:
        mapped = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    files = TensorFiles(tmp_path, mapped)
    before = bytes(mapped)
    files.release()

    assert bytes(mapped) == before
    TensorFiles(tmp_path, memoryview(b"no file")).release()
