"""Private folders: whose they are, and when they go."""

import os
import subprocess
import sys

import pytest

from repvgg_onnx.graph.storage import locks
from repvgg_onnx.graph.storage.locks import is_abandoned, locked
from repvgg_onnx.graph.storage.staging import SUFFIX, staging
from tests.folders import names


def test_a_private_folder_is_nobody_elses_and_goes_with_its_block(tmp_path):
    with staging(tmp_path / "m.onnx") as place:
        assert place.folder.parent == tmp_path
        assert place.file.name == "m.onnx"
        assert place.folder.stat().st_mode & 0o077 == 0
        assert not is_abandoned(place.folder)
    assert names(tmp_path) == []


def test_nothing_is_there_before_the_commit(tmp_path):
    with staging(tmp_path / "m.onnx") as place:
        with place.create("m.onnx") as stream:
            stream.write(b"new")
        assert not (tmp_path / "m.onnx").exists()
        place.commit()
        assert (tmp_path / "m.onnx").read_bytes() == b"new"


def test_folders_of_living_writers_stay(tmp_path):
    with staging(tmp_path / "m.onnx") as first, staging(tmp_path / "m.onnx") as second:
        assert first.folder != second.folder
        assert names(tmp_path) == sorted([first.folder.name, second.folder.name])


def test_folders_of_dead_writers_of_the_same_target_go(tmp_path):
    code = f"""
import os
from repvgg_onnx.graph.storage.staging import staging
with staging({str(tmp_path / "m.onnx")!r}) as place:
    (place.folder / "m.onnx").write_bytes(b"half")
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 9
    (left,) = names(tmp_path)
    with staging(tmp_path / "other.onnx"):
        assert left in names(tmp_path)
    with staging(tmp_path / "m.onnx"):
        assert left not in names(tmp_path)
    assert names(tmp_path) == []


def test_what_only_looks_like_a_private_folder_stays(tmp_path):
    (tmp_path / ".m.onnx.backup.tmp").mkdir()
    (tmp_path / f".m.onnx.file{SUFFIX}").write_bytes(b"a file")
    (tmp_path / f".m.onnx.link{SUFFIX}").symlink_to(tmp_path / ".m.onnx.backup.tmp")
    before = names(tmp_path)
    with staging(tmp_path / "m.onnx"):
        pass
    assert names(tmp_path) == before


@pytest.fixture
def lockless(monkeypatch):
    """A system without locks on folders."""
    monkeypatch.setattr(locks, "fcntl", None)


@pytest.mark.usefixtures("lockless")
def test_without_locks_only_what_is_old_is_abandoned(tmp_path):
    with staging(tmp_path / "m.onnx") as place:
        assert not is_abandoned(place.folder)
        os.utime(place.folder, (0, 0))
        assert is_abandoned(place.folder)


@pytest.mark.usefixtures("lockless")
def test_without_locks_files_are_written_all_the_same(tmp_path):
    with staging(tmp_path / "m.onnx") as place:
        with place.create("m.onnx") as stream:
            stream.write(b"new")
        place.commit()
    assert names(tmp_path) == ["m.onnx"]


def test_a_folder_that_is_not_there_is_not_abandoned(tmp_path):
    assert not is_abandoned(tmp_path / "none")


def test_a_lock_goes_with_its_block(tmp_path):
    with locked(tmp_path):
        assert not is_abandoned(tmp_path)
    assert is_abandoned(tmp_path)
