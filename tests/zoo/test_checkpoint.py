"""Checkpoints load whatever they are wrapped in; bad ones are refused in one line."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from repvgg_onnx.errors import ModelError
from repvgg_onnx.zoo import build
from samples.zoo import deploy, perturb_statistics

torch = pytest.importorskip("torch")


def equal_states(one: Any, other: Any) -> bool:
    left, right = one.state_dict(), other.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def trained() -> Any:
    return perturb_statistics(build("repvgg-a0", seed=7), 7)


WRAPPERS = {
    "plain": dict,
    "state_dict": lambda state: {"epoch": 3, "state_dict": dict(state)},
    "data-parallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "without counters": lambda state: {k: v for k, v in state.items() if "num_batches_tracked" not in k},
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_round_trip(trained: Any, wrapper: str, tmp_path: Path) -> None:
    torch.save(WRAPPERS[wrapper](trained.state_dict()), tmp_path / "w.pth")
    loaded = build("repvgg-a0", checkpoint=tmp_path / "w.pth")
    assert equal_states(loaded, trained)
    assert not loaded.training


def test_round_trip_of_the_deployed_form(trained: Any, tmp_path: Path) -> None:
    deployed = deploy(trained).float()
    torch.save(deployed.state_dict(), tmp_path / "w.pth")
    assert equal_states(build("repvgg-a0", deployed=True, checkpoint=tmp_path / "w.pth"), deployed)


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        build("repvgg-a0", checkpoint=path, **options)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_the_other_form_does_not_fit(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(trained.state_dict(), path)
    text = refusal(path, deployed=True)
    assert "missing stage0.rbr_reparam.weight, stage0.rbr_reparam.bias, stage1.0.rbr_reparam.weight and 41 more" in text
    assert "not part of it stage0.rbr_" in text


def test_a_head_of_another_size_does_not_fit(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(trained.state_dict(), path)
    assert refusal(path, num_classes=6).endswith("of another shape linear.weight, linear.bias")


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    assert "No such file" in refusal(path)
    path.write_bytes(b"")
    assert "not a torch checkpoint" in refusal(path)
    path.write_text("these are not the weights you are looking for")
    assert "not a torch checkpoint" in refusal(path)
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")
    assert "run 'git lfs pull'" in refusal(path)


def test_a_truncated_checkpoint(trained: Any, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(trained.state_dict(), path)
    path.write_bytes(path.read_bytes()[:100_000])
    assert "not a torch checkpoint" in refusal(path)


def test_content_that_is_no_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    for content in ([1, 2], {"epoch": 3}, torch.zeros(2)):
        torch.save(content, path)
        assert "holds no state dict" in refusal(path)


class Hostile:
    """Unpickling this writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_checkpoint_does_not_run(save: Any, tmp_path: Path) -> None:
    save({"linear.weight": Hostile(tmp_path / "ran")}, tmp_path / "w.pth")
    assert "not a torch checkpoint of plain tensors" in refusal(tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()
