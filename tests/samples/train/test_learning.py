"""Training, in one go and in pieces."""

from pathlib import Path
from typing import Any

import pytest

from repvgg_onnx import CheckError, ModelError
from tests.samples.train.running import assert_same, small_training, torch


def test_only_kernels_and_matrices_decay() -> None:
    training = small_training(0)
    decay = {id(value): group["weight_decay"] for group in training.optimizer.param_groups for value in group["params"]}
    named = dict(training.network.named_parameters())

    assert len(decay) == len(named)
    assert {name for name, value in named.items() if decay[id(value)]} == {
        name for name, value in named.items() if value.ndim > 1
    }


def test_the_learning_rate_falls_to_nothing() -> None:
    training = small_training(0, epochs=2)
    first = training.schedule.get_last_lr()
    losses: list[float] = []
    mean = training.run_epoch(losses.append)
    middle = training.schedule.get_last_lr()
    training.run_epoch(losses.append)

    assert (training.steps, training.epochs_done) == (2, 2)  # 48 images, 20 at a time
    assert mean == pytest.approx(sum(losses[:2]) / 2)
    assert (first, middle, training.schedule.get_last_lr()) == ([0.02] * 2, pytest.approx([0.01] * 2), [0, 0])
    assert not training.network.training


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    training = small_training(0)
    with torch.no_grad():
        training.network.linear.bias.fill_(float("nan"))
    with pytest.raises(CheckError, match="the loss is nan in epoch 1; try a smaller learning rate"):
        training.run_epoch(lambda _: None)


def test_every_image_moves_by_up_to_the_reach_on_its_own() -> None:
    from learning import Variation

    images = torch.arange(1.0, 36).reshape(1, 1, 5, 7).expand(300, -1, -1, -1)
    varied = Variation(1)(images)
    found = {tuple(place) for place in (varied == 18).nonzero()[:, 2:].tolist()}

    assert varied.shape == images.shape
    assert found == {(2 + down, 3 + right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert torch.equal(Variation(0)(images), images)


def test_about_half_of_the_images_are_mirrored() -> None:
    from learning import Variation

    images = torch.arange(1.0, 36).reshape(1, 1, 5, 7).expand(300, -1, -1, -1)
    varied = Variation(0, flip=True)(images)
    mirrored = (varied == images.flip(-1)).all(-1).all(-1).sum().item()

    assert 100 < mirrored < 200
    assert (varied == images).all(-1).all(-1).sum() == 300 - mirrored


def test_a_training_in_two_pieces_is_the_same_to_the_bit(tmp_path: Path) -> None:
    from learning import load_checkpoint, save_checkpoint

    whole = small_training(1)
    for _ in range(3):
        whole.run_epoch(lambda _: None)
    first = small_training(1)
    first.run_epoch(lambda _: None)
    save_checkpoint(first, {"seed": 1}, tmp_path / "checkpoint.pt")

    second = small_training(2)
    load_checkpoint(second, {"seed": 1}, tmp_path / "checkpoint.pt")
    for _ in range(2):
        second.run_epoch(lambda _: None)

    assert_same(whole.state(), second.state())
    assert not torch.equal(first.network.linear.weight, second.network.linear.weight)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path: Path) -> None:
    from learning import load_checkpoint, save_checkpoint

    training = small_training(1)
    save_checkpoint(training, {"lr": 0.1, "epochs": 3}, tmp_path / "checkpoint.pt")
    with pytest.raises(CheckError, match=r"was made with epochs = 3, and this is 4"):
        load_checkpoint(training, {"lr": 0.1, "epochs": 4}, tmp_path / "checkpoint.pt")


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("sprung"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"format": "another"}, "is not a checkpoint of this program"),
        ([1, 2], "is not a checkpoint of this program"),
        ({"format": "repvgg-onnx samples/train 1", "network": {}}, "does not fit the network, or is damaged"),
        ({"trap": Trap()}, "is not a torch checkpoint of plain tensors"),
    ],
)
def test_files_that_are_no_checkpoints_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, message: str
) -> None:
    from learning import load_checkpoint

    monkeypatch.chdir(tmp_path)
    torch.save(content, "checkpoint.pt")
    with pytest.raises(ModelError, match=message):
        load_checkpoint(small_training(0), {}, "checkpoint.pt")
    assert not Path("sprung").exists()


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    from learning import load_checkpoint, save_checkpoint

    path = tmp_path / "checkpoint.pt"
    save_checkpoint(small_training(0), {}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelError, match="is not a torch checkpoint"):
        load_checkpoint(small_training(0), {}, path)


def test_a_failure_while_saving_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from learning import load_checkpoint, save_checkpoint

    path, training = tmp_path / "checkpoint.pt", small_training(0)
    save_checkpoint(training, {}, path)
    before = path.read_bytes()

    def full(content: Any, stream: Any) -> None:
        stream.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(ModelError, match="No space left"):
        save_checkpoint(training, {}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    load_checkpoint(training, {}, path)
