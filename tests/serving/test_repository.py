import os

import onnx
import pytest
from onnxruntime import InferenceSession

from repvgg_onnx.errors import CheckError, ModelError
from repvgg_onnx.graph.load import open_model
from repvgg_onnx.serving import repository as module
from repvgg_onnx.serving.messages import parse_config
from repvgg_onnx.serving.repository import add_version, require_name
from repvgg_onnx.serving.triton import TritonOptions, build_config
from tests.folders import full

from .models import conv, saved_with_side_file


@pytest.fixture
def opened(tmp_path):
    onnx.save(conv(), tmp_path / "net.onnx")
    return open_model(tmp_path / "net.onnx")


@pytest.fixture
def repository(tmp_path):
    return tmp_path / "models"


def config_of(opened, **options):
    return build_config(opened.model, TritonOptions("net", **options))


def files(folder):
    """Everything below a folder, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_version_is_a_folder_with_the_model_as_it_is(opened, repository):
    added = add_version(opened, config_of(opened), repository, version=3)

    assert files(repository) == ["net", "net/3", "net/3/model.onnx", "net/config.pbtxt"]
    assert added.model.read_bytes() == opened.path.read_bytes()
    assert parse_config(added.config.read_text()) == config_of(opened)
    assert added.config_written


def test_side_files_make_the_model_a_folder(tmp_path, repository):
    opened = open_model(saved_with_side_file(tmp_path / "net.onnx"))

    added = add_version(opened, config_of(opened), repository, version=1)

    folder = repository / "net" / "1" / "model.onnx"
    assert added.model == folder / "model.onnx"
    assert len(list(folder.iterdir())) == 2
    (tmp_path / "weights.bin").unlink()  # the copy stands alone
    assert [tensor.name for tensor in InferenceSession(added.model).get_inputs()] == ["image"]


def test_a_second_version_keeps_an_equal_configuration_as_it_is(opened, repository):
    first = add_version(opened, config_of(opened), repository, version=1)
    first.config.write_text("# by hand\n" + first.config.read_text())

    second = add_version(opened, config_of(opened), repository, version=2)

    assert not second.config_written
    assert first.config.read_text().startswith("# by hand\n")
    assert files(repository / "net") == ["1", "1/model.onnx", "2", "2/model.onnx", "config.pbtxt"]


def test_a_version_is_never_overwritten_unasked(opened, repository):
    add_version(opened, config_of(opened), repository, version=1)
    before = (repository / "net" / "1" / "model.onnx").stat()

    with pytest.raises(CheckError, match="version 1 is there already; --force"):
        add_version(opened, config_of(opened), repository, version=1)

    assert (repository / "net" / "1" / "model.onnx").stat() == before


def test_a_differing_configuration_is_never_overwritten_unasked(opened, repository):
    added = add_version(opened, config_of(opened), repository, version=1)
    before = added.config.read_bytes()

    with pytest.raises(CheckError, match=r"config\.pbtxt says something else of input, max_batch_size, output"):
        add_version(opened, config_of(opened, max_batch_size=8), repository, version=2)

    assert added.config.read_bytes() == before
    assert files(repository / "net") == ["1", "1/model.onnx", "config.pbtxt"]


def test_a_configuration_that_cannot_be_read_counts_as_different(opened, repository):
    (repository / "net").mkdir(parents=True)
    (repository / "net" / "config.pbtxt").write_text("nonsense")

    with pytest.raises(CheckError, match=r"not a Triton model configuration.*--force"):
        add_version(opened, config_of(opened), repository, version=1)
    assert add_version(opened, config_of(opened), repository, version=1, force=True).config_written


def test_force_replaces_both(opened, repository):
    folder = repository / "net" / "1"
    add_version(opened, config_of(opened), repository, version=1)
    (folder / "stale.txt").write_text("old")

    add_version(opened, config_of(opened, max_batch_size=8), repository, version=1, force=True)

    assert files(repository / "net") == ["1", "1/model.onnx", "config.pbtxt"]
    assert parse_config((repository / "net" / "config.pbtxt").read_text()).max_batch_size == 8


def test_a_version_may_replace_itself(opened, repository):
    added = add_version(opened, config_of(opened), repository, version=1)
    content = added.model.read_bytes()

    add_version(open_model(added.model), config_of(opened), repository, version=1, force=True)

    assert added.model.read_bytes() == content


def test_a_failure_while_the_model_is_written_leaves_nothing(opened, repository, monkeypatch):
    monkeypatch.setattr(module.shutil, "copyfileobj", full)

    with pytest.raises(ModelError, match="cannot be written: No space left on device"):
        add_version(opened, config_of(opened), repository, version=1)

    assert not repository.exists()


def test_a_failure_at_the_last_step_brings_the_old_version_back(opened, repository, monkeypatch):
    added = add_version(opened, config_of(opened), repository, version=1)
    (added.model.parent / "mark").write_text("old")
    rename, calls = os.rename, []

    def second_fails(source, target):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(source, target)

    monkeypatch.setattr(module.os, "rename", second_fails)

    with pytest.raises(ModelError, match="Input/output error"):
        add_version(opened, config_of(opened), repository, version=1, force=True)

    assert (added.model.parent / "mark").read_text() == "old"
    assert files(repository / "net") == ["1", "1/mark", "1/model.onnx", "config.pbtxt"]


def test_what_a_killed_writer_left_is_removed_by_the_next(opened, repository):
    left = repository / "net" / ".1.abc.repvgg-onnx.tmp"
    left.mkdir(parents=True)

    add_version(opened, config_of(opened), repository, version=1)

    assert not left.exists()


def test_a_repository_needs_a_folder_to_stand_in(opened, tmp_path):
    with pytest.raises(ModelError, match="No such file or directory"):
        add_version(opened, config_of(opened), tmp_path / "none" / "models", version=1)


@pytest.mark.parametrize("name", ["net", "Net-2.1_b", "7"])
def test_names_of_models(name):
    require_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", ".hidden", "-x", "a b", "ü", "a\n"])
def test_what_is_no_name_of_a_model(name):
    with pytest.raises(CheckError, match="not a valid model name"):
        require_name(name)
