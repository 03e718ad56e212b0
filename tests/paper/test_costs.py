"""Params, Theo FLOPs and Wino MULs of tables 4 and 5, from the fused ONNX files."""

from pathlib import Path
from typing import Any

import pytest

FAST = ("RepVGG-A0", "RepVGG-A1", "RepVGG-B0")
TORCHVISION = ("EfficientNet-B0", "EfficientNet-B3", "RegNetX-3.2GF", "RegNetX-12GF")
SLOW = (
    "ResNet-18", "ResNet-34", "ResNet-50", "ResNet-101", "ResNet-152", "ResNeXt-50", "ResNeXt-101", "VGG-16",
    "RepVGG-A2", "RepVGG-B1g4", "RepVGG-B1g2", "RepVGG-B1", "RepVGG-B2g4", "RepVGG-B2", "RepVGG-B3g4", "RepVGG-B3",
    *TORCHVISION,
)  # fmt: skip

# What the paper's own rules give where it prints something else.
BY_THE_RULES = {
    "ResNeXt-101": {"wino_muls_B": 7.7},
    "RegNetX-3.2GF": {"wino_muls_B": 2.6},
    "RegNetX-12GF": {"wino_muls_B": 9.9},
    "EfficientNet-B3": {"params_M": 12.18},
}


def counted(label: str, folder: Path) -> tuple[Any, Any]:
    """What the file of a row of the paper costs, and what the paper says."""
    from measures import count
    from networks import Unavailable, write
    from published import comparisons

    row = next(row for row in comparisons() if row.label == label)
    try:
        write(row.network, folder)
    except Unavailable as reason:
        pytest.skip(str(reason))
    return count(write(row.network, folder), row.network.size), row.cost


@pytest.mark.parametrize("label", [*FAST, *(pytest.param(label, marks=pytest.mark.slow) for label in SLOW)])
def test_the_fused_file_costs_what_the_paper_says(label: str, tmp_path: Path) -> None:
    from published import DEVIATIONS

    counts, published = counted(label, tmp_path)
    wanted = published | BY_THE_RULES.get(label, {})
    assert {column: value for column, value in counts.as_printed().items() if wanted[column] is not None} == {
        column: value for column, value in wanted.items() if value is not None
    }
    assert {(label, column) for column in counts.differences(published)} <= DEVIATIONS.keys()


def test_every_row_is_counted() -> None:
    from published import DEVIATIONS, comparisons

    assert {row.label for row in comparisons() if row.cost} == {*FAST, *SLOW}
    assert {label for label, _ in DEVIATIONS} == set(BY_THE_RULES)


def test_a_wrong_count_is_found() -> None:
    from measures import Counts

    published = {"params_M": 8.3, "theo_flops_B": 1.4, "wino_muls_B": None}
    assert Counts(8_309_384, 1_361_451_008, 747_296_768).differences(published) == []
    assert Counts(8_310_000, 1_361_451_008, 747_296_768).differences(published) == ["params_M"]
    assert Counts(8_309_384, 1_451_000_000, 747_296_768).differences(published | {"wino_muls_B": 0.8}) == [
        "theo_flops_B",
        "wino_muls_B",
    ]
