"""What the RepVGG paper says, from ``tables.json``, as comparisons that can be made again."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = Path(__file__).with_name("tables.json")
REFERENCE = "ResNet-50"
SCENE = 240
"""Height and width of the images for segmentation; 713 in the paper."""

COLUMNS = ("params_M", "theo_flops_B", "wino_muls_B")
"""What a network costs: Params (M), Theo FLOPs (B), Wino MULs (B)."""

DEVIATIONS = {
    ("ResNeXt-101", "wino_muls_B"): "4/9 of every 3x3 convolution of stride 1 makes 7.7",
    ("RegNetX-3.2GF", "wino_muls_B"): "4/9 of every 3x3 convolution of stride 1 makes 2.6",
    ("RegNetX-12GF", "wino_muls_B"): "4/9 of every 3x3 convolution of stride 1 makes 9.9",
    ("EfficientNet-B3", "params_M"): "12,189,584 parameters, which the paper cuts after two decimals everywhere else",
}
"""Figures of the paper, by row and column, that do not follow from its own rules, and what does."""


@dataclass(frozen=True)
class Network:
    """One ONNX file.

    Attributes:
        name: in the zoo, or of torchvision.
        fused: whether it is fused or has every branch and normalization.
        size: height and width of its images.
    """

    name: str
    fused: bool = True
    size: int = 224

    @property
    def stem(self) -> str:
        """A file name without its suffix."""
        return f"{self.name}-{self.size}-{'fused' if self.fused else 'trained'}"


Cost = Mapping[str, float | None]
"""The columns ``COLUMNS`` of a row of tables 4 and 5, as printed; None where there is a dash."""


@dataclass(frozen=True)
class Comparison:
    """Two networks, how many times as fast the paper found the second, and what it says of its cost.

    Attributes:
        table: its number.
        label: the row, as the paper writes it.
        reference: what the speed is divided by.
        network: what is measured.
        ratio: examples per second of ``network`` over those of ``reference``, on a 1080Ti at batch 128 (16 in table 8).
        cost: the columns of tables 4 and 5.
    """

    table: int
    label: str
    reference: Network
    network: Network
    ratio: float
    cost: Cost | None = None


def printed(column: str, value: int) -> float:
    """A count as the paper prints it: parameters cut after two decimals of millions, billions rounded to one."""
    return math.floor(value / 1e4) / 100 if column == "params_M" else round(value / 1e9, 1)


def comparisons(scene: int = SCENE) -> list[Comparison]:
    """Every row that can be measured again, by table; table 8 on images of ``scene`` × ``scene``."""
    tables = json.loads(TABLES.read_text(encoding="utf-8"))
    return [*_baselines(tables), *_branches(tables), *_segmentation(tables, scene)]


def _baselines(tables: dict[str, Any]) -> Iterator[Comparison]:
    """Tables 4 and 5: every network beside ResNet-50."""
    rows = {number: list(_records(tables[f"table{number}"])) for number in (4, 5)}
    speed = next(row["speed"] for row in rows[4] if row["model"] == REFERENCE)
    for table, records in rows.items():
        for row in records:
            cost = {column: row[column] for column in COLUMNS}
            size = 300 if row["model"] == "EfficientNet-B3" else 224  # of 1.8 billion multiply-adds
            network = Network(row["model"].lower(), size=size)
            yield Comparison(table, row["model"], Network(REFERENCE.lower()), network, row["speed"] / speed, cost)


def _branches(tables: dict[str, Any]) -> Iterator[Comparison]:
    """Table 6: B0 with fewer branches, before and after. Afterwards all are one plain network, the first row."""
    rows = list(_records(tables["table6_branch_ablation_B0"]))
    names = {
        (False, False): ("3x3", "repvgg-b0-plain"),
        (True, False): ("3x3 + identity", "repvgg-b0-identity"),
        (False, True): ("3x3 + 1x1", "repvgg-b0-1x1"),
        (True, True): ("3x3 + 1x1 + identity", "repvgg-b0"),
    }
    for row in rows:
        label, name = names[row["identity_branch"], row["conv1x1_branch"]]
        ratio = rows[0]["speed_without_reparam"] / row["speed_without_reparam"]
        yield Comparison(6, label, Network(name, fused=False), Network(name), ratio)


def _segmentation(tables: dict[str, Any], scene: int) -> Iterator[Comparison]:
    """Table 8: PSPNet on RepVGG beside PSPNet on RepVGG-B1g2."""
    speeds = {row["backbone"]: row["speed"] for row in _records(tables["table8_cityscapes_pspnet"])}
    reference = Network("pspnet-repvgg-b1g2", size=scene)
    for backbone, speed in speeds.items():
        if backbone.startswith("RepVGG"):
            network = Network(f"pspnet-{backbone.lower()}", size=scene)
            yield Comparison(8, f"PSPNet {backbone}", reference, network, speed / speeds["RepVGG-B1g2"])


def _records(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows with the names of their columns."""
    return (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
