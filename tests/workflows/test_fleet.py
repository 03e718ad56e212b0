"""Many models fused by any executor, with the errors of each kept to itself."""

import multiprocessing
import os
import pickle
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import onnx
import pytest

import repvgg_onnx.workflows.fleet as fleet
from repvgg_onnx import CheckError, fuse_many
from repvgg_onnx.checks.parity import verify
from repvgg_onnx.workflows.fleet import fuse_into, run_all
from tests.cli.models import BLOCK, PLAIN, filled, two_and_one
from tests.models import perturbed, repvgg_block


@pytest.fixture
def models(tmp_path):
    """Two models to fold, one without anything to fold, and a file that is no model."""
    folder = tmp_path / "models"
    two_and_one(folder)
    (folder / "d.onnx").write_bytes(b"not a model")
    return sorted(folder.iterdir())


def assert_as_expected(files, models, out):
    assert [file.path for file in files] == models
    assert [file.written for file in files] == [out / "a.onnx", out / "b.onnx", out / "c.onnx", None]
    assert [file.error for file in files] == [None, None, None, "is not an ONNX model, or is truncated"]
    assert [len(file.regions) for file in files] == [1, 1, 0, 0]
    assert [file.parity and file.parity.passed for file in files] == [True, True, None, None]
    assert sorted(path.name for path in out.iterdir()) == ["a.onnx", "b.onnx", "c.onnx"]
    assert verify(models[0], out / "a.onnx").passed
    assert (out / "c.onnx").read_bytes() == models[2].read_bytes()


def test_without_a_folder_each_stands_beside_its_model(models):
    files = fuse_many(models)
    assert [file.written for file in files if file.written] == [
        file.path.with_name(f"{file.path.stem}.fused.onnx") for file in files if file.written
    ]
    assert any(file.written and file.written.exists() for file in files)


def test_here_one_after_the_other(models, tmp_path):
    assert_as_expected(fuse_many(models, tmp_path / "out"), models, tmp_path / "out")


def test_on_threads(models, tmp_path):
    with ThreadPoolExecutor(2) as executor:
        assert_as_expected(fuse_many(map(str, models), tmp_path / "out", executor=executor), models, tmp_path / "out")


def test_on_processes(models, tmp_path):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert_as_expected(fuse_many(models, tmp_path / "out", executor=executor), models, tmp_path / "out")


@pytest.mark.parametrize("processes", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning:distributed.*", "ignore::ResourceWarning")
def test_on_a_dask_cluster(models, tmp_path, monkeypatch, processes):
    monkeypatch.chdir(tmp_path)
    from distributed import Client, LocalCluster

    out = tmp_path / "out"
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0", "local_directory": str(tmp_path)}
    with LocalCluster(processes=processes, **options) as cluster, Client(cluster) as client:
        files = fuse_many(models, out, executor=client.get_executor(), threads=1)

    assert_as_expected(files, models, out)


def test_what_travels_is_small(tmp_path):
    onnx.save(repvgg_block(64), tmp_path / "large.onnx")

    file = fuse_into(tmp_path / "large.onnx", tmp_path / "out")

    assert file.written is not None
    assert len(pickle.dumps(file)) < 10_000 < file.written.stat().st_size
    assert pickle.loads(pickle.dumps(file)) == file


def test_arguments_reach_every_model(models, tmp_path):
    np.savez(tmp_path / "data.npz", image=np.ones((3, 4, 5, 7), np.float32))

    few, more = (
        fuse_many(models[:1], tmp_path / "out", inputs=inputs)[0] for inputs in (None, [tmp_path / "data.npz"])
    )

    assert len(more.parity.feeds) == len(few.parity.feeds) + 1


def test_an_argument_that_does_not_exist_is_an_error_at_once(models, tmp_path):
    with pytest.raises(TypeError, match="thread"):
        fuse_many(models, tmp_path / "out", thread=1)

    assert not (tmp_path / "out").exists()


def test_an_argument_that_does_not_fit_is_an_error_of_each_model(models, tmp_path):
    files = fuse_many(models[:2], tmp_path / "out", shapes={"picture": (1, 2)})

    assert ["picture" in file.error for file in files] == [True, True]
    assert [file.written for file in files] == [None, None]


def test_what_differs_as_it_was_written_is_not_kept(models, tmp_path, monkeypatch):
    stage_model = fleet.stage_model
    monkeypatch.setattr(fleet, "stage_model", lambda model, place: stage_model(perturbed(model), place))

    (file,) = fuse_many(models[:1], tmp_path / "out")

    assert (file.regions, file.parity, file.error) == ((), None, None)
    assert {refusal.code for refusal in file.refusals} == {"check-failed"}
    assert (tmp_path / "out" / "a.onnx").read_bytes() == models[0].read_bytes()


def test_assumptions_are_what_outputs_are_compared_with(tmp_path):
    model = filled(BLOCK.replace("BatchNormalization (image", "BatchNormalization <training_mode = 1> (image"))
    del model.graph.output[1:]
    onnx.save(model, tmp_path / "training.onnx")

    (file,) = fuse_many([tmp_path / "training.onnx"], tmp_path / "out", assume_inference=True)

    assert file.error is None
    assert file.notes
    assert file.parity.passed


def test_side_files_come_along(tmp_path):
    onnx.save(filled(PLAIN), tmp_path / "net.onnx", save_as_external_data=True, location="net.data", size_threshold=0)

    (file,) = fuse_many([tmp_path / "net.onnx"], tmp_path / "out")

    assert verify(tmp_path / "net.onnx", file.written).passed


def test_a_folder_that_cannot_be_made_is_an_error_of_the_model(models, tmp_path):
    (tmp_path / "out").write_bytes(b"")

    assert fuse_many(models[:1], tmp_path / "out")[0].error == "cannot be written: File exists"


def test_two_models_of_one_name(models, tmp_path):
    with pytest.raises(CheckError, match=r"would both be written to .*a\.onnx"):
        fuse_many([models[0], tmp_path / "other" / "a.onnx"], tmp_path / "out")


def test_no_model_is_written_over_itself(models):
    with pytest.raises(CheckError, match="would be written over itself"):
        fuse_many(models, models[0].parent)


def test_a_worker_that_is_lost_is_in_the_summary(models, tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "fuse_into", die)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        files = fuse_many(models[:2], tmp_path / "out", executor=executor)

    assert all(file.error.startswith("its worker gave no result: BrokenProcessPool") for file in files)


def die(path, output, **arguments):
    os._exit(9)


class Slow(ThreadPoolExecutor):
    """Begins one task and keeps the others waiting."""

    def submit(self, function, /, *arguments):
        if self._work_queue.qsize() == 0 and not getattr(self, "begun", False):
            self.begun = True
            return super().submit(function, *arguments)
        return Future()


@pytest.mark.parametrize("executor", [None, Slow(1)], ids=["here", "elsewhere"])
def test_what_is_not_begun_has_no_result(executor):
    seen = []
    results = run_all(str, [1, 2, 3], executor, lambda *_: "lost", done=lambda result: seen.append(result) or True)

    assert results == ["1", None, None]
    assert seen == ["1"]


def test_an_interruption_cancels_what_is_not_begun():
    waiting = []

    class Waiting(ThreadPoolExecutor):
        def submit(self, function, /, *arguments):
            future = super().submit(function, *arguments) if not waiting else Future()
            waiting.append(future)
            return future

    def interrupted(_):
        raise KeyboardInterrupt

    with Waiting(1) as executor, pytest.raises(KeyboardInterrupt):
        run_all(str, [1, 2, 3], executor, lambda *_: "lost", done=interrupted)

    assert [future.cancelled() for future in waiting] == [False, True, True]
