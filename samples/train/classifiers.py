"""Any image network of the zoo, by its full or its short name, as a classifier."""

import difflib
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx.errors import CheckError
from samples import zoo

FAMILY = "repvgg-"
"""What short names leave out."""


def full_name(name: str) -> str:
    """The name of the zoo that a user means by ``a0``, ``B1g4`` or ``RepVGG-A0``.

    Raises:
        CheckError: there is none.
    """
    wanted = name.lower()
    for candidate in (wanted, FAMILY + wanted):
        if candidate in zoo.names():
            return candidate
    known = [*zoo.names(), *(each.removeprefix(FAMILY) for each in zoo.names())]
    close = difflib.get_close_matches(wanted, known, n=1, cutoff=0.5)
    raise CheckError(f"unknown network {name!r}{f'; did you mean {close[0]}?' if close else ''}")


def image_channels(name: str) -> int:
    """Channels of the images that the network called ``name`` takes.

    Raises:
        CheckError: it does not take images of one or three channels.
    """
    shape = zoo.architecture(name).input_shape
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise CheckError(f"{name} takes inputs of {'x'.join(map(str, shape[1:]))}, not images")
    return shape[1]


def usual_size(name: str) -> int:
    """Height and width of the images that the network called ``name`` usually takes."""
    return zoo.architecture(name).input_shape[-1]


def classifier(name: str, *, classes: int, size: int, seed: int) -> nn.Module:
    """The network called ``name`` in eval mode with random weights, as a classifier of images of size×size.

    A network that ends in feature maps, as those of a few blocks do, gets global average pooling and a linear layer.

    Raises:
        CheckError: the network does not take such images, or its outputs are of another kind.
    """
    network = zoo.build(name, num_classes=classes, seed=seed)
    shape = _output_shape(network, name, size)
    if shape == (1, classes):
        return network
    if len(shape) != 4:
        raise CheckError(f"{name} has {shape[-1]} outputs and cannot be made a classifier of {classes} classes")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(shape[1], classes)
    parts = {"network": network, "gap": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "linear": head}
    return nn.Sequential(OrderedDict(parts)).eval()


def _output_shape(network: nn.Module, name: str, size: int) -> tuple[int, ...]:
    sample = torch.zeros(1, image_channels(name), size, size)
    try:
        with torch.no_grad():
            return tuple(network(sample).shape)
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise CheckError(f"{name} does not take images of {size}x{size}: {reason}") from error
