"""The networks of the paper as ONNX files, from samples/zoo or, where it has none, from torchvision."""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from published import Network

sys.path.insert(0, str(Path(__file__).parents[2]))

from repvgg_onnx import fuse, save_model
from samples import zoo

INPUT = "image"


class Unavailable(Exception):  # noqa: N818
    """A network cannot be built here; the message says why and what to install."""


def write(network: Network, folder: Path) -> Path:
    """The file of ``network`` in ``folder``, written unless it is there: any batch, random weights.

    Raises:
        Unavailable: its definition needs a package that is not installed.
        RepvggOnnxError: torch is not installed.
    """
    path = folder / f"{network.stem}.onnx"
    if not path.exists():
        model = trained(network.name, network.size)
        save_model(fuse(model).model if network.fused else model, path)
    return path


def trained(name: str, size: int) -> onnx.ModelProto:
    """The network as it was trained, with every branch and every normalization, for images of ``size`` × ``size``.

    Its statistics are random: otherwise all biases of a size would be equal, and equal constants are stored once.
    """
    module = _from_torchvision(name) if name in _TORCHVISION else zoo.build(name)
    return zoo.export(zoo.perturb_statistics(module.eval()), shape=(1, 3, size, size), fold=False, dynamic_batch=True)


def _from_torchvision(name: str) -> Any:
    try:
        models = importlib.import_module("torchvision.models")
    except (ImportError, OSError, RuntimeError) as error:  # the last of a build for another torch
        raise Unavailable(f"torchvision is needed ({str(error).splitlines()[0]}): pip install torchvision") from error
    return _TORCHVISION[name](models)


def _efficientnet(models: Any, *, name: str) -> Any:
    return getattr(models, name)(weights=None)


def _regnet(models: Any, *, depth: int, w_0: int, w_a: float, w_m: float, group_width: int) -> Any:
    """RegNetX by its five parameters.

    Source: Radosavovic, Kosaraju, Girshick, He, Dollár, "Designing Network Design Spaces", 2020, and the
        configurations of its release.
    """
    parameters = models.regnet.BlockParams.from_init_params(
        depth=depth, w_0=w_0, w_a=w_a, w_m=w_m, group_width=group_width
    )
    return models.regnet.RegNet(parameters)


_TORCHVISION: dict[str, Callable[[Any], Any]] = {
    "efficientnet-b0": partial(_efficientnet, name="efficientnet_b0"),
    "efficientnet-b3": partial(_efficientnet, name="efficientnet_b3"),
    "regnetx-3.2gf": partial(_regnet, depth=25, w_0=88, w_a=26.31, w_m=2.25, group_width=48),
    "regnetx-12gf": partial(_regnet, depth=19, w_0=168, w_a=73.36, w_m=2.37, group_width=112),
}
