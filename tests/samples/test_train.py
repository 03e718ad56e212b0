"""``samples/train``: from images to a fused file, in one go and in pieces, and what it refuses."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx import CheckError, Fusion, ModelError, fuse

torch = pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

TRAIN = Path(__file__).parents[2] / "samples" / "train"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(TRAIN.parents[1]), "NO_COLOR": "1"}
SMALL = ("--model", "plain-block", "--size", "16", "--limit", "48", "--seconds", "0.01", "--threads", "1")


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sample's folder is on the path, as when it is run; torch's global settings are put back."""
    monkeypatch.syspath_prepend(str(TRAIN))
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TRAIN / "train.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=ENVIRONMENT)


def small_training(seed: int, epochs: int = 3) -> Any:
    """A small network about to be trained on 48 digits of 16×16."""
    from classifiers import classifier
    from image_sets import digits
    from learning import Recipe, Training, Variation

    torch.manual_seed(seed)
    network = classifier("repvgg-plain-block", classes=10, size=16, seed=seed)
    return Training(
        network, digits(16, 3).training.thinned(48), Recipe(epochs, batch_size=20, vary=Variation(2, flip=True))
    )


def flat(state: Any) -> list[Any]:
    """Tensors and numbers of a nested state, in order."""
    if isinstance(state, dict):
        return [each for value in state.values() for each in flat(value)]
    if isinstance(state, list | tuple):
        return [each for value in state for each in flat(value)]
    return [state]


def assert_same(one: Any, two: Any) -> None:
    """Equal to the bit."""
    left, right = flat(one), flat(two)
    assert len(left) == len(right) > 20
    for a, b in zip(left, right, strict=True):
        assert torch.equal(a, b) if torch.is_tensor(a) else a == b


def pictures(folder: Path, classes: tuple[str, ...] = ("bright", "dark"), count: int = 6) -> Path:
    """PNGs and JPEGs of 18×11, those of a class of one brightness."""
    generator = np.random.default_rng(0)
    for part in ("train", "val"):
        for level, name in enumerate(classes):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(200 - 180 * level, 240 - 180 * level, (11, 18, 3), dtype=np.uint8)
                suffix = "jpg" if number % 2 else "PNG"
                Image.fromarray(pixels).save(folder / part / name / f"{number}.{suffix}")
    return folder


# names and networks


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("a0", "repvgg-a0"),
        ("A0", "repvgg-a0"),
        ("B1g4", "repvgg-b1g4"),
        ("RepVGG-B3", "repvgg-b3"),
        ("b0-1x1", "repvgg-b0-1x1"),
        ("resnet-18", "resnet-18"),
        ("diracnet-block", "diracnet-block"),
    ],
)
def test_networks_have_short_names(given: str, name: str) -> None:
    from classifiers import full_name

    assert full_name(given) == name


@pytest.mark.parametrize(("given", "close"), [("a7", "a"), ("b1g3", "b1g"), ("repvg-a0", "repvgg-a0")])
def test_unknown_names_get_a_suggestion(given: str, close: str) -> None:
    from classifiers import full_name

    with pytest.raises(CheckError, match=rf"^unknown network '{given}'; did you mean {close}\S*\?$"):
        full_name(given)


def test_networks_without_a_classifier_get_one() -> None:
    from classifiers import classifier

    plain = classifier("repvgg-strided-block", classes=7, size=17, seed=5)
    again = classifier("repvgg-strided-block", classes=7, size=17, seed=5)
    whole = classifier("repvgg-a0", classes=7, size=33, seed=5)

    images = torch.rand(2, 3, 17, 17)
    with torch.no_grad():
        assert plain(images).shape == (2, 7)
        assert torch.equal(plain(images), again(images))
    assert type(whole).__name__ == "RepVGG"
    assert whole.linear.out_features == 7


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tdnn-block", "takes inputs of 12x61, not images"),
        ("repvit-heads", "has 11 outputs and cannot be made a classifier of 10 classes"),
        ("repmlp-block", "takes inputs of 4x5x7, not images"),
    ],
)
def test_what_is_no_image_network_is_refused(name: str, message: str) -> None:
    from classifiers import classifier

    with pytest.raises(CheckError, match=message):
        classifier(name, classes=10, size=16, seed=0)


# images


def test_digits_are_enlarged_and_repeated_on_every_channel() -> None:
    from image_sets import DIGITS, digits

    data = digits(32, 3)
    images = data.test.read(torch.tensor([3, 440]))
    with np.load(DIGITS / "digits.npz") as content:
        small = torch.from_numpy(content["image"][[3, 440]])

    assert (len(data.training), len(data.test), data.classes[9]) == (1347, 450, "9")
    assert images.shape == (2, 3, 32, 32)
    assert torch.equal(images[:, 0], images[:, 2])
    averaged = torch.nn.functional.avg_pool2d(images[:, :1], 4)
    assert torch.corrcoef(torch.stack([averaged.flatten(), small.flatten()]))[0, 1] > 0.95
    assert (images.min(), images.max()) == (0, 1)


def test_batches_come_in_order_and_whole() -> None:
    from image_sets import digits

    images = digits(8, 1).test
    order = torch.tensor([5, 3, 9, 0, 7])
    batches = list(images.batches(order, 2))

    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    assert torch.equal(torch.cat([read for read, _ in batches]), images.read(order))
    assert torch.equal(torch.cat([labels for _, labels in batches]), images.labels[order])


def test_thinned_images_are_spread_over_all() -> None:
    from image_sets import digits

    images = digits(8, 1).test
    few = images.thinned(4)

    assert few.names == ("digits 0", "digits 150", "digits 299", "digits 449")
    assert torch.equal(few.read(torch.tensor([1, 3])), images.read(torch.tensor([150, 449])))
    assert torch.equal(few.labels, images.labels[[0, 150, 299, 449]])
    assert images.thinned(None) is images.thinned(450) is images


def test_a_folder_of_pictures_is_classes_and_squares(tmp_path: Path) -> None:
    from image_sets import folder

    data = folder(pictures(tmp_path), 9, 3)
    images = data.training.read(torch.arange(12))

    assert data.classes == ("bright", "dark")
    assert data.training.names[:2] == ("train/bright/0.PNG", "train/bright/1.jpg")
    assert data.test.labels.tolist() == [0] * 6 + [1] * 6
    assert images.shape == (12, 3, 9, 9)
    assert images.dtype == torch.float32
    assert images[:6].min() > 0.7
    assert images[6:].max() < 0.3


def test_a_picture_is_cropped_around_its_centre(tmp_path: Path) -> None:
    from image_sets import picture

    pixels = np.zeros((8, 24, 3), dtype=np.uint8)
    pixels[:4, 8:16, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    square = picture(tmp_path / "wide.png", 8, 3)

    assert torch.equal(square, torch.from_numpy(pixels[:, 8:16]).permute(2, 0, 1) / 255)
    assert picture(tmp_path / "wide.png", 4, 1).shape == (1, 4, 4)


def no_folder(folder: Path) -> None:
    folder.rename(folder.with_name("away"))


def no_classes(folder: Path) -> None:
    for each in (folder / "val").iterdir():
        each.rename(folder / each.name)


def other_classes(folder: Path) -> None:
    (folder / "val" / "dark").rename(folder / "val" / "dim")


def no_pictures(folder: Path) -> None:
    for each in (folder / "train" / "dark").iterdir():
        each.rename(each.with_suffix(".txt"))


def one_class(folder: Path) -> None:
    for part in ("train", "val"):
        (folder / part / "dark").rename(folder / f"{part}-dark")


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (no_folder, r"train is not a folder; wanted are train/<class>/\*\.png"),
        (no_classes, "val is empty; wanted is one folder for each class"),
        (other_classes, "val has no folder for dark, the other one has"),
        (no_pictures, "dark has no pictures"),
        (one_class, "train has one class only: bright"),
    ],
)
def test_folders_that_are_not_laid_out_so_are_refused(
    tmp_path: Path, harm: Callable[[Path], None], message: str
) -> None:
    from image_sets import folder

    harm(pictures(tmp_path / "set", count=1))
    with pytest.raises(ModelError, match=message):
        folder(tmp_path / "set", 8, 3)


def test_what_is_not_a_picture_is_named(tmp_path: Path) -> None:
    from image_sets import folder

    pictures(tmp_path, count=2)
    (tmp_path / "val" / "dark" / "0.PNG").write_bytes(b"\x89PNG no picture")
    data = folder(tmp_path, 8, 3)

    assert len(list(data.training.in_order(3))) == 2
    with pytest.raises(ModelError, match=r"dark/0\.PNG is not a picture that can be read"):
        list(data.test.in_order(3))


# learning


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


# the program


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The real program on RepVGG-A0 and a few digits."""
    folder = tmp_path_factory.mktemp("trained")
    options = ("--model", "A0", "--epochs", "1", "--limit", "64", "--seconds", "0.05", "--threads", "1")
    return folder, run(*options, "--output", folder)


def test_a_network_is_trained_exported_fused_and_compared(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = trained

    assert done.returncode == 0, done.stderr
    exported, fused = (onnx.load(folder / f"repvgg-a0{suffix}.onnx") for suffix in ("", ".fused"))
    assert "22 regions folded" in done.stdout
    assert done.stdout.endswith("predictions are identical for all 64 test images\n")
    rows = re.findall(r"^(as trained, in torch|exported|fused) +(\d+) +(\d+\.\d\d%)( +[\d,]+)?$", done.stdout, re.M)
    assert [(name, right, bool(speed)) for name, right, _, speed in rows] == [
        ("as trained, in torch", rows[0][1], False),
        ("exported", rows[0][1], True),
        ("fused", rows[0][1], True),
    ]
    assert rows[0][2] == f"{int(rows[0][1]) / 64:.2%}"
    assert re.search(r"^[\d.]+x .+ \(95% CI .+, 1 thread, 64x3x32x32, \d+ pairs in \d+ session", done.stdout, re.M)
    assert [node.op_type for node in fused.graph.node].count("Conv") == 22
    assert [node.op_type for node in exported.graph.node].count("Conv") == 44
    assert [entry.value for entry in fused.metadata_props if entry.key == "classes"] == [json.dumps(list("0123456789"))]
    assert re.search(r"^epoch 1 of 1: loss \d\.\d{4}, [\d.]+% of the test images right$", done.stderr, re.M)


def test_what_was_trained_is_not_lost(trained: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    import train

    folder, _ = trained
    before = (folder / "checkpoint.pt").read_bytes()
    options = ["--model", "a0", "--epochs", "1", "--limit", "64", "--output", str(folder)]
    assert train.main(options) == 2
    assert (folder / "checkpoint.pt").read_bytes() == before


def test_an_interrupted_program_goes_on_to_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import train

    options = [*SMALL, "--epochs", "3", "--batch-size", "16"]
    assert train.main([*options, "--output", str(tmp_path / "whole")]) == 0

    def interrupting(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    save = train.save_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(train, "save_checkpoint", interrupting)
        assert train.main([*options, "--output", str(tmp_path / "pieces")]) == 130
        assert train.main([*options, "--output", str(tmp_path / "pieces"), "--resume"]) == 130
    assert "--resume goes on after the last whole epoch" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "pieces").iterdir()] == ["checkpoint.pt"]
    assert train.main([*options, "--output", str(tmp_path / "pieces"), "--resume"]) == 0

    assert "2 of 3 epochs are done already" in capsys.readouterr().err
    for name in ("repvgg-plain-block.onnx", "repvgg-plain-block.fused.onnx"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "pieces" / name).read_bytes()
    assert train.main([*options, "--output", str(tmp_path / "pieces"), "--resume"]) == 0
    assert train.main([*options, "--output", str(tmp_path / "pieces"), "--fresh"]) == 0


def test_a_network_is_trained_on_a_folder_of_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import train

    data = pictures(tmp_path / "pictures", count=8)
    output = tmp_path / "out"
    options = [*SMALL, "--data", str(data), "--epochs", "8", "--batch-size", "4", "--output", str(output)]
    assert train.main(options) == 0

    shown = capsys.readouterr().out
    assert re.search(r"^fused +16 +100\.00%", shown, re.M)
    fused = onnx.load(output / "repvgg-plain-block.fused.onnx")
    assert fused.metadata_props[0].value == '["bright", "dark"]'


def test_images_that_are_seen_differently_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sign of the last kernel is lost in the fold."""
    import handover
    import train

    def wrong(path: Path) -> Fusion:
        fusion = fuse(path)
        model = onnx.ModelProto.FromString(fusion.model.SerializeToString())
        name = next(node for node in model.graph.node if node.op_type == "Gemm").input[1]
        (kernel,) = (entry for entry in model.graph.initializer if entry.name == name)
        kernel.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(kernel), name))
        return replace(fusion, model=model)

    monkeypatch.setattr(handover, "fuse", wrong)
    assert train.main([*SMALL, "--epochs", "2", "--output", str(tmp_path)]) == 1
    shown = capsys.readouterr().out
    (count,) = re.findall(r"^predictions differ (\d+) times:$", shown, re.M)
    listed = re.findall(r"^digits \d+: \d as trained, in torch, \d fused$", shown, re.M)
    assert len(listed) == min(int(count), 10)
    assert (f"and {int(count) - 10} more" in shown) == (int(count) > 10)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--model", "a9"), 2, "unknown network 'a9'; did you mean a"),
        (("--model", "tdnn-block"), 2, "tdnn-block takes inputs of 12x61, not images"),
        (("--model", "replknet-block", "--data", "nowhere"), 3, "nowhere/train is not a folder"),
        ((*SMALL, "--device", "abacus"), 2, "torch cannot train on 'abacus' here"),
        ((*SMALL, "--resume"), 3, "No such file"),
        ((*SMALL, "--resume", "--fresh"), 2, "--resume goes on from the checkpoint that --fresh forgets"),
        (("--epochs", "0"), 2, "0 is not at least 1"),
        (("--lr", "nan"), 2, "nan is not above 0"),
        (("--batch-size", "1"), 2, "1 is not at least 2"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], code: int, message: str
) -> None:
    import train

    try:
        found = train.main([*options, "--output", str(tmp_path / "out")])
    except SystemExit as left:
        found = left.code
    assert found == code
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert not (tmp_path / "out").exists()


def test_a_network_that_cannot_be_exported_is_not_trained(tmp_path: Path) -> None:
    done = run("--model", "repvgg-psp", "--limit", "8", "--output", tmp_path / "out")
    message = "error: torch cannot export the network for images of 32x32: Unsupported: ONNX export of operator"

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_every_option_is_in_the_help_and_in_the_readme() -> None:
    done = run("--help")
    options = set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}
    readme = (TRAIN / "README.md").read_text(encoding="utf-8")

    assert done.returncode == 0
    assert done.stdout.startswith("usage: train.py")
    assert {"--model", "--data", "--epochs", "--resume"} <= options
    assert options == set(re.findall(r"`(--[a-z-]+)", readme))
