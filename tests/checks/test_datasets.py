import io

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx.checks.datasets import load_datasets, load_labels
from repvgg_onnx.errors import CheckError
from tests.checks.models import BFLOAT16

X, Z = np.arange(8, dtype=np.float32).reshape(2, 4), np.arange(3)
NAMES = ("x", "z")


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


def array_file(path, array):
    np.save(path, array)
    return path


def data_set(folder, *arrays, outputs=()):
    folder.mkdir(parents=True)
    for kind, values in (("input", arrays), ("output", outputs)):
        for number, array in enumerate(values):
            tensor = numpy_helper.from_array(array, "any name")
            (folder / f"{kind}_{number}.pb").write_bytes(tensor.SerializeToString())
    return folder


def only(source, names=NAMES):
    (dataset,) = load_datasets(source, names)
    return dataset


def test_a_mapping_and_an_archive_hold_arrays_by_name(tmp_path):
    path = archive(tmp_path / "data.npz", z=Z, x=X, other=X)
    for dataset, label in (
        (only({"z": Z, "x": X, "other": X}), "inputs"),
        (only(path), "data.npz"),
        (only(str(path)), "data.npz"),
    ):
        assert dataset.label == label
        assert list(dataset.arrays) == ["x", "z"]
        assert np.array_equal(dataset.arrays["x"], X)
        assert dataset.labels is None


def test_an_array_file_is_the_only_input(tmp_path):
    path = array_file(tmp_path / "x.npy", X)
    dataset = only(path, ("x",))
    assert dataset.label == "x.npy"
    assert np.array_equal(dataset.arrays["x"], X)
    with pytest.raises(CheckError, match="one array without a name, but the model takes 2: x, z"):
        only(path)


def test_the_content_of_a_file_decides_and_not_its_name(tmp_path):
    assert only(archive(tmp_path / "a.npz", x=X).rename(tmp_path / "a.npy")).label == "a.npy"
    assert only(array_file(tmp_path / "b.npy", X).rename(tmp_path / "b.npz"), ("x",)).label == "b.npz"


def test_a_test_data_set_holds_inputs_in_the_models_order(tmp_path):
    folder = data_set(tmp_path / "test_data_set_0", X, Z, outputs=(X,))
    dataset = only(folder)
    assert dataset.label == "test_data_set_0"
    assert np.array_equal(dataset.arrays["x"], X)
    assert np.array_equal(dataset.arrays["z"], Z)


def test_expected_outputs_are_not_read(tmp_path):
    folder = data_set(tmp_path / "data", X, outputs=(X,))
    (folder / "output_0.pb").write_bytes(b"rubbish")
    assert list(only(folder).arrays) == ["x"]


def test_a_folder_of_test_data_sets_is_read_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 0):
        data_set(tmp_path / f"test_data_set_{number}", X + number)
    data_set(tmp_path / "test_data_set_old", X)
    (tmp_path / "test_data_set_7").touch()
    found = load_datasets(tmp_path, NAMES)
    assert [dataset.label for dataset in found] == ["test_data_set_0", "test_data_set_2", "test_data_set_10"]
    assert np.array_equal(found[2].arrays["x"], X + 10)


def test_an_input_that_a_data_set_leaves_out_is_left_out(tmp_path):
    folder = data_set(tmp_path / "data", X, Z)
    (folder / "input_0.pb").unlink()
    assert list(only(folder).arrays) == ["z"]


def test_every_type_of_a_test_data_set_is_read(tmp_path):
    texts = np.array(["a", "b"], object)
    half = X.astype(np.float16)
    brain = X.astype(BFLOAT16)
    dataset = only(data_set(tmp_path / "data", texts, half, brain), ("t", "h", "b"))
    assert [array.dtype for array in dataset.arrays.values()] == [np.dtype(object), np.float16, BFLOAT16]
    assert dataset.arrays["t"].tolist() == ["a", "b"]


def test_several_sources_keep_their_order(tmp_path):
    sources = [archive(tmp_path / "a.npz", x=X), {"x": X}, data_set(tmp_path / "data", X)]
    assert [dataset.label for dataset in load_datasets(sources, NAMES)] == ["a.npz", "inputs", "data"]


# Labels


def test_labels_are_one_dimensional_integers_beside_the_inputs(tmp_path):
    path = archive(tmp_path / "data.npz", x=X, labels=np.array([3, 5], np.uint8))
    assert only(path).labels.tolist() == [3, 5]
    assert only({"x": X, "labels": np.ones(2)}).labels is None
    assert only({"x": X, "labels": np.ones((2, 1), int)}).labels is None


def test_an_input_called_labels_is_an_input():
    dataset = only({"x": X, "labels": np.arange(2)}, ("x", "labels"))
    assert list(dataset.arrays) == ["x", "labels"]
    assert dataset.labels is None


def test_labels_of_their_own(tmp_path):
    assert load_labels(np.arange(4)).tolist() == [0, 1, 2, 3]
    assert load_labels(array_file(tmp_path / "labels.npy", np.arange(4))).tolist() == [0, 1, 2, 3]
    for wrong in (np.ones(4), np.ones((4, 1), int), np.array(["a"], dtype=str)):
        with pytest.raises(CheckError, match="labels are a list of class numbers"):
            load_labels(wrong)
    with pytest.raises(CheckError, match="is an archive"):
        load_labels(archive(tmp_path / "labels.npz", labels=np.arange(4)))
    with pytest.raises(CheckError, match="does not exist"):
        load_labels(tmp_path / "absent.npy")


# Files that cannot be used


def text(path):
    path.write_text("hello")


def empty(path):
    path.touch()


def pickled(path):
    np.savez(path, x=np.array([{"a": 1}], object))


def pickled_array(path):
    with path.open("wb") as stream:
        np.save(stream, np.array([{"a": 1}], object))


def spoilt(path):
    np.savez(path, x=np.ones(4000))
    content = bytearray(path.read_bytes())
    content[300:400] = bytes(100)
    path.write_bytes(content)


def cut_off(path):
    with path.open("wb") as stream:
        np.save(stream, np.ones(4000))
    path.write_bytes(path.read_bytes()[:2000])


def enormous(path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**60,)})
    path.write_bytes(header.getvalue())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (text, "neither an .npz archive nor an .npy array"),
        (empty, "neither an .npz archive nor an .npy array"),
        (pickled, "pickle"),
        (pickled_array, "pickle"),
        (spoilt, "cannot be read"),
        (cut_off, "cannot be read"),
        (enormous, "cannot be read"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_files_that_are_no_inputs_are_refused_in_one_line(tmp_path, make, words):
    path = tmp_path / "inputs"
    make(path.with_suffix(".npz"))
    with pytest.raises(CheckError, match=words) as caught:
        load_datasets(path.with_suffix(".npz"), ("x",))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_file_is_read_or_refused_and_never_anything_else(tmp_path, seed):
    rng = np.random.default_rng(seed)
    whole = {
        "a.npz": archive(tmp_path / "a.npz", x=X).read_bytes(),
        "a.npy": array_file(tmp_path / "a.npy", X).read_bytes(),
        "data/input_0.pb": (data_set(tmp_path / "data", X) / "input_0.pb").read_bytes(),
    }
    refused = []
    for name, content in whole.items():
        path = tmp_path / name
        for _ in range(150):
            damaged = bytearray(content[: rng.integers(len(content))] if rng.random() < 0.3 else content)
            for place in rng.integers(max(len(damaged), 1), size=rng.integers(1, 4) if damaged else 0):
                damaged[place] ^= 1 << rng.integers(8)
            path.write_bytes(damaged)
            try:
                load_datasets(path if path.suffix != ".pb" else path.parent, ("x",))
            except CheckError as error:
                refused.append(str(error))
    assert len(refused) > 100
    assert not any("\n" in sentence for sentence in refused)


@pytest.mark.parametrize("content", [b"", b"\x08", b"hello", bytes(100), b"\xff" * 50])
def test_what_is_no_tensor_is_refused_in_one_line(tmp_path, content):
    (data_set(tmp_path / "data", X) / "input_0.pb").write_bytes(content)
    with pytest.raises(CheckError, match=r"input_0\.pb cannot be read: ") as caught:
        load_datasets(tmp_path / "data", NAMES)
    assert "\n" not in str(caught.value)


def test_a_tensor_in_another_file_is_refused(tmp_path):
    folder = data_set(tmp_path / "data", X)
    tensor = onnx.TensorProto(dims=(2, 4), data_type=onnx.TensorProto.FLOAT, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../../etc/passwd")
    (folder / "input_0.pb").write_bytes(tensor.SerializeToString())
    with pytest.raises(CheckError, match="points to another file"):
        load_datasets(folder, NAMES)


def test_folders_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(CheckError, match="neither test_data_set_"):
        load_datasets(tmp_path, NAMES)
    (tmp_path / "test_data_set_0").mkdir()
    with pytest.raises(CheckError, match=r"holds no input_\*\.pb"):
        load_datasets(tmp_path, NAMES)
    data_set(tmp_path / "many", X, Z, X)
    with pytest.raises(CheckError, match=r"input_2\.pb is for input number 2, but the model takes 2"):
        load_datasets(tmp_path / "many", NAMES)


def test_what_is_not_there_or_not_an_input_is_refused(tmp_path):
    with pytest.raises(CheckError, match="does not exist"):
        load_datasets(tmp_path / "absent.npz", NAMES)
    with pytest.raises(CheckError, match="none of the arrays given is an input of the model, which takes x, z"):
        load_datasets({"labels": Z}, NAMES)
    with pytest.raises(CheckError, match="none of the arrays"):
        load_datasets(archive(tmp_path / "empty.npz"), NAMES)
