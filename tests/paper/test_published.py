"""The comparisons that are drawn from the paper's tables."""

import pytest

from samples.zoo import names


def test_the_ratios_are_those_of_the_paper() -> None:
    from published import comparisons

    ratios = {(row.table, row.label): round(row.ratio, 2) for row in comparisons()}
    assert [ratio for (table, _), ratio in ratios.items() if table == 6] == [1.00, 1.15, 1.47, 1.71]
    assert ratios[4, "RepVGG-A0"] == round(3256 / 719, 2)
    assert ratios[5, "RepVGG-B3"] == round(363 / 719, 2)
    assert ratios[8, "PSPNet RepVGG-B1g2-fast"] == round(10.9 / 8.0, 2)
    assert [label for (_, label), ratio in ratios.items() if ratio == 1] == ["ResNet-50", "3x3", "PSPNet RepVGG-B1g2"]


def test_every_network_is_in_the_zoo_or_in_torchvision() -> None:
    from networks import _TORCHVISION
    from published import comparisons

    networks = {network.name for row in comparisons() for network in (row.network, row.reference)}
    assert networks - set(names()) == set(_TORCHVISION)


def test_table_6_compares_each_network_with_itself_before() -> None:
    from published import Network, comparisons

    rows = [row for row in comparisons() if row.table == 6]
    assert all(row.reference == Network(row.network.name, fused=False) for row in rows)
    assert [row.network.fused for row in rows] == [True] * 4


def test_scenes_are_of_the_size_asked_for() -> None:
    from published import comparisons

    assert {(row.table == 8, row.network.size) for row in comparisons(48)} == {(True, 48), (False, 224), (False, 300)}


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [("params_M", 8_309_384, 8.30), ("theo_flops_B", 1_361_451_008, 1.4), ("wino_muls_B", 747_296_768, 0.7)],
)
def test_counts_are_printed_as_in_the_paper(column: str, value: int, shown: float) -> None:
    from published import printed

    assert printed(column, value) == shown
