"""Networks by short and full names, made to classify images."""

import pytest

from repvgg_onnx import CheckError
from tests.samples.train.running import torch


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
