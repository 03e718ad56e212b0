"""Side files: what a model may point to, and that everything else is refused before it is opened."""

import os
import socket
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from repvgg_onnx import ModelError, fuse, load_model
from repvgg_onnx.graph.load import open_model
from repvgg_onnx.graph.storage import external, files
from repvgg_onnx.graph.storage.external import ExternalRange, read, resolve, resolve_all
from tests.hostile.models import BYTES, TEXT, assert_refused, outside, placed, scaled
from tests.models import assert_same_outputs

KERNEL = scaled().graph.initializer[0].raw_data
ESCAPES = [
    "../weights.bin",
    "../../etc/passwd",
    "inner/../../weights.bin",
    "inner/../weights.bin",
    "/etc/passwd",
    "//host/share",
    "..\\weights.bin",
    "C:\\weights.bin",
    "C:weights.bin",
    "\\weights.bin",
    "weights.bin\0.png",
    "",
    ".",
    "*/_ORT_MEM_ADDR_/*",
]


@pytest.fixture
def never_opened(monkeypatch):
    """Opening or mapping a side file fails the test."""

    def fail(place):
        pytest.fail(f"{place.path} was read")

    monkeypatch.setattr(external, "read", fail)
    monkeypatch.setattr(files, "read", fail)


@pytest.mark.parametrize("location", ESCAPES, ids=ascii)
def test_a_location_outside_of_the_folder_is_refused_before_it_is_opened(tmp_path, run, never_opened, location):
    (tmp_path / "weights.bin").write_bytes(KERNEL)
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    path = placed(folder, ("location", location))

    with pytest.raises(ModelError, match="external data cannot be read: tensor 'w'"):
        fuse(path)
    assert_refused(run("fuse", path), path, "external data cannot be read", [path, folder / "inner"])


def test_a_link_out_of_the_folder_is_refused(tmp_path, run, never_opened):
    (tmp_path / "weights.bin").write_bytes(KERNEL)
    folder = tmp_path / "folder"
    folder.mkdir()
    link = folder / "link.bin"
    link.symlink_to("../weights.bin")
    path = placed(folder, ("location", "link.bin"))

    assert_refused(run("fuse", path), path, "a link out of the model's folder", [path, link])


def test_a_folder_that_is_a_link_out_is_refused(tmp_path, never_opened):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "weights.bin").write_bytes(KERNEL)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ModelError, match="a link out"):
        fuse(placed(tmp_path / "folder", ("location", "inner/weights.bin")))


def test_links_inside_the_folder_and_a_folder_reached_by_a_link_are_fine(tmp_path):
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "weights.bin").write_bytes(KERNEL)
    (folder / "link.bin").symlink_to("inner/weights.bin")
    placed(folder, ("location", "link.bin"))
    (tmp_path / "shortcut").symlink_to("folder")

    loaded = load_model(tmp_path / "shortcut" / "model.onnx")

    assert_same_outputs(scaled(), loaded)
    assert len(fuse(tmp_path / "shortcut" / "model.onnx").regions) == 1


def test_a_circle_of_links_is_refused(tmp_path):
    (tmp_path / "a.bin").symlink_to("b.bin")
    (tmp_path / "b.bin").symlink_to("a.bin")
    with pytest.raises(ModelError, match="external data"):
        fuse(placed(tmp_path, ("location", "a.bin")))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def folder_of_that_name(path: Path) -> None:
    path.mkdir()


def link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def waiting_socket(path: Path) -> None:
    os.chdir(path.parent)  # addresses of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes and devices")
@pytest.mark.parametrize("make", [pipe, folder_of_that_name, link_to_a_device, waiting_socket])
def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path, monkeypatch, run, never_opened, make):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "weights.bin")
    path = placed(tmp_path, ("location", "weights.bin"))

    assert_refused(run("fuse", path), path, "external data", [path, tmp_path / "weights.bin"])


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes and devices")
def test_a_model_that_is_a_pipe_or_a_device_is_refused_at_once(tmp_path, run):
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    assert_refused(run("fuse", path), path, "is not a regular file", [path])
    with pytest.raises(ModelError, match="is not a regular file"):
        fuse("/dev/zero")


@pytest.mark.parametrize(
    "entries",
    [
        [("offset", "1")],
        [("offset", "65")],
        [("offset", "-1")],
        [("offset", "9" * 18)],
        [("offset", "9" * 5000)],
        [("offset", "0x0")],
        [("offset", "1e1")],
        [("offset", "")],
        [("offset", " 0")],
        [("offset", "\u0660")],
        [("length", "63")],
        [("length", "65")],
        [("length", "0")],
        [("length", "-64")],
        [("length", str(2**63))],
        [("length", "")],
        [("location", "weights.bin")],
        [("length", "64"), ("length", "64")],
    ],
    ids=lambda entries: ascii(entries)[:40],
)
def test_a_range_that_does_not_fit_is_refused_before_it_is_read(tmp_path, run, never_opened, entries):
    side = tmp_path / "weights.bin"
    side.write_bytes(KERNEL)
    path = placed(tmp_path, ("location", "weights.bin"), *entries)

    with pytest.raises(ModelError, match="tensor 'w'"):
        fuse(path)
    assert_refused(run("fuse", path), path, "external data", [path, side])


@pytest.mark.parametrize("dims", [[4, 4, 1, 2], [4, 4, -1, 1], [2**40, 2**40], [2**63 - 1], []], ids=str)
def test_a_shape_that_asks_for_other_bytes_is_refused_before_they_are_read(tmp_path, never_opened, dims):
    (tmp_path / "weights.bin").write_bytes(KERNEL)
    model = scaled()
    outside(model.graph.initializer[0], ("location", "weights.bin"), ("length", str(BYTES)))
    model.graph.initializer[0].dims[:] = dims
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match="tensor 'w'"):
        fuse(tmp_path / "model.onnx")


@pytest.mark.parametrize("data_type", [0, 8, 99], ids=["undefined", "string", "unknown"])
def test_types_without_a_size_are_refused(tmp_path, never_opened, data_type):
    (tmp_path / "weights.bin").write_bytes(KERNEL)
    model = scaled()
    outside(model.graph.initializer[0], ("location", "weights.bin"))
    model.graph.initializer[0].data_type = data_type
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(ModelError, match="whose elements have no known size"):
        fuse(tmp_path / "model.onnx")


def test_without_a_length_a_tensor_takes_what_it_needs(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"padding." + KERNEL + b"more")
    model = load_model(placed(tmp_path, ("location", "weights.bin"), ("offset", "8")))
    assert model.graph.initializer[0].raw_data == KERNEL


def two_outside(folder: Path, *places: tuple[int, int]) -> onnx.ModelProto:
    """A model with a float tensor for each offset and length in one side file of 64 bytes."""
    (folder / "weights.bin").write_bytes(bytes(range(64)))
    model = scaled()
    for number, (offset, length) in enumerate(places):
        tensor = model.graph.initializer.add(name=f"t{number}", data_type=onnx.TensorProto.FLOAT, dims=[length // 4])
        outside(tensor, ("location", "weights.bin"), ("offset", str(offset)), ("length", str(length)))
    return model


def test_tensors_may_share_their_bytes_but_not_overlap_otherwise(tmp_path):
    places = resolve_all(two_outside(tmp_path, (0, 32), (32, 32), (0, 32), (16, 0)).graph.initializer, tmp_path)
    assert [(place.offset, place.length) for _, place in places] == [(0, 32), (32, 32), (0, 32), (16, 0)]
    for overlapping in ([(0, 32), (28, 32)], [(0, 64), (16, 16)], [(0, 16), (0, 32)]):
        with pytest.raises(ModelError, match=r"tensors overlap in 'weights\.bin'"):
            resolve_all(two_outside(tmp_path, *overlapping).graph.initializer, tmp_path)


def test_a_small_file_cannot_stand_for_a_huge_model(tmp_path):
    many = two_outside(tmp_path, *[(0, 64)] * 5)
    with pytest.raises(ModelError, match="too many tensors name the same bytes"):
        resolve_all(many.graph.initializer, tmp_path)


def in_attribute(model: onnx.ModelProto) -> onnx.TensorProto:
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32([1, 2])))
    model.graph.node.append(node)
    return model.graph.node[-1].attribute[0].t


def in_function(model: onnx.ModelProto) -> onnx.TensorProto:
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.float32([1, 2])))
    made = helper.make_function("local", "f", [], ["c"], [node], [helper.make_opsetid("", 17)])
    model.functions.append(made)
    return model.functions[0].node[0].attribute[0].t


def in_sparse_values(model: onnx.ModelProto) -> onnx.TensorProto:
    values = numpy_helper.from_array(np.float32([1, 2]), "sparse")
    indices = numpy_helper.from_array(np.int64([0, 1]))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    return model.graph.sparse_initializer[0].values


def in_body(model: onnx.ModelProto) -> onnx.TensorProto:
    body = helper.make_graph([], "body", [], [], [numpy_helper.from_array(np.float32([1, 2]), "inner")])
    model.graph.node.append(helper.make_node("If", ["c"], [], then_branch=body, else_branch=body))
    return model.graph.node[-1].attribute[0].g.initializer[0]


@pytest.mark.parametrize("find", [in_attribute, in_function, in_sparse_values, in_body])
def test_every_tensor_of_a_model_is_looked_at(tmp_path, never_opened, find):
    model = scaled()
    outside(find(model), ("location", "../weights.bin"))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="not lie below the model's folder"):
        load_model(tmp_path / "model.onnx")


@pytest.mark.parametrize("find", [in_attribute, in_sparse_values])
def test_every_tensor_of_a_model_is_loaded(tmp_path, find):
    (tmp_path / "weights.bin").write_bytes(np.float32([3, 4]).tobytes())
    model = scaled()
    outside(find(model), ("location", "weights.bin"))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    for loaded in (load_model(tmp_path / "model.onnx"), open_model(tmp_path / "model.onnx").model):
        assert numpy_helper.to_array(find_again(loaded, find)).tolist() == [3, 4]


def find_again(model: onnx.ModelProto, find) -> onnx.TensorProto:
    if find is in_attribute:
        return model.graph.node[-1].attribute[0].t
    return model.graph.sparse_initializer[0].values


def test_reading_gives_the_bytes_of_the_range_and_no_more(tmp_path):
    content = bytes(range(256)) * 64
    (tmp_path / "weights.bin").write_bytes(content)
    for offset, length in ((0, 1), (5000, 300), (4096, 4096), (len(content) - 7, 7), (12, 0)):
        view = read(ExternalRange(tmp_path / "weights.bin", offset, length))
        assert view.tobytes() == content[offset : offset + length]
        assert view.readonly


def test_a_side_file_that_shrinks_between_check_and_reading_is_refused(tmp_path):
    path = placed(tmp_path, ("location", "weights.bin"))
    (tmp_path / "weights.bin").write_bytes(KERNEL)
    place = resolve(onnx.load(path, load_external_data=False).graph.initializer[0], tmp_path)
    (tmp_path / "weights.bin").write_bytes(KERNEL[:-1])
    with pytest.raises(ModelError, match=r"weights\.bin"):
        read(place)


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_a_side_file_that_becomes_a_link_or_a_pipe_is_not_followed(tmp_path):
    (tmp_path / "secret.bin").write_bytes(KERNEL)
    (tmp_path / "weights.bin").symlink_to("secret.bin")
    with pytest.raises(ModelError, match="external data"):
        read(ExternalRange(tmp_path / "weights.bin", 0, BYTES))
    os.mkfifo(tmp_path / "pipe.bin")
    with pytest.raises(ModelError, match="external data"):
        read(ExternalRange(tmp_path / "pipe.bin", 0, BYTES))


def test_bytes_and_models_have_no_folder(tmp_path):
    path = placed(tmp_path, ("location", "weights.bin"))
    (tmp_path / "weights.bin").write_bytes(KERNEL)
    for source in (path.read_bytes(), onnx.load(path, load_external_data=False)):
        with pytest.raises(ModelError, match="pass the model's path instead"):
            fuse(source)


def test_the_model_itself_may_be_named_by_its_own_tensors_only_in_range(tmp_path):
    model = scaled(TEXT)
    outside(model.graph.initializer[0], ("location", "model.onnx"), ("offset", "100000"))
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="extends past the end"):
        fuse(tmp_path / "model.onnx")


@pytest.mark.parametrize("command", ["verify", "bench"])
@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "link.bin"])
def test_the_commands_that_only_run_models_check_them_first(tmp_path, run, never_opened, command, location):
    (tmp_path / "weights.bin").write_bytes(KERNEL)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link.bin").symlink_to("../weights.bin")
    good = folder / "good.onnx"
    onnx.save(scaled(), good)
    path = placed(folder, ("location", location))

    ran = run(command, good, path)

    assert_refused(ran, path, "external data cannot be read", [good, folder / "link.bin", path])


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes")
@pytest.mark.parametrize("command", ["verify", "bench"])
def test_the_commands_that_only_run_models_do_not_wait_for_a_pipe(tmp_path, run, command):
    path = tmp_path / "model.onnx"
    os.mkfifo(path)
    assert_refused(run(command, path, path), path, "is not a regular file", [path])


def test_a_tensor_that_is_stored_in_the_model_as_well_is_refused(tmp_path):
    (tmp_path / "weights.bin").write_bytes(KERNEL)
    model = onnx.load(placed(tmp_path, ("location", "weights.bin")), load_external_data=False)
    model.graph.initializer[0].raw_data = b""
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert len(fuse(tmp_path / "model.onnx").regions) == 1

    model.graph.initializer[0].float_data.extend([1.0] * 16)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="tensor 'w' is stored in the model as well"):
        fuse(tmp_path / "model.onnx")


def test_further_names_of_a_side_file_are_no_further_bytes(tmp_path):
    (tmp_path / "0.bin").write_bytes(KERNEL)
    model = scaled()
    outside(model.graph.initializer[0], ("location", "0.bin"))
    for number in range(1, 2 * external.REPEATS):
        os.link(tmp_path / "0.bin", tmp_path / f"{number}.bin")
        again = model.graph.initializer.add()
        again.CopyFrom(model.graph.initializer[0])
        again.name, again.external_data[0].value = f"w{number}", f"{number}.bin"
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="too many tensors name the same bytes"):
        open_model(tmp_path / "model.onnx")


@pytest.mark.parametrize("index", [-1, 16])
def test_indices_in_a_side_file_are_checked_when_they_have_been_read(tmp_path, index):
    model = scaled()
    dense = model.graph.initializer[0]
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.array([index]), "places")
    (tmp_path / "places.bin").write_bytes(outside(indices, ("location", "places.bin")))
    model.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=indices, dims=dense.dims))
    del model.graph.initializer[0]
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="indices that do not fit"):
        open_model(tmp_path / "model.onnx")
