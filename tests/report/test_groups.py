import pytest

from repvgg_onnx.report.groups import branch_sum, folded_node, group_refusals, group_regions
from tests.report.values import refusal, region


def test_alike_regions_are_one_group_in_order_of_first_appearance():
    regions = [region(0), region(1, ("7x7 Conv", "1x1 Conv"), (7, 7)), region(2, c_in=8, c_out=10, strides=(2, 2))]

    first, second = group_regions(regions)

    assert first.regions == (regions[0], regions[2])
    assert (first.branches, first.folded) == ("3x3 Conv + 1x1 Conv + identity", "3x3 Conv")
    assert second.regions == (regions[1],)


def test_the_order_of_branches_does_not_tell_regions_apart():
    (group,) = group_regions([region(0, ("3x3 Conv", "identity")), region(1, ("identity", "3x3 Conv"))])

    assert group.branches == "3x3 Conv + identity"
    assert len(group.regions) == 2


@pytest.mark.parametrize(
    "change",
    [{"kernel_shape": (5, 3)}, {"group": 2}, {"op_type": "ConvTranspose"}, {"branches": ("3x3 Conv", "3x3 Conv")}],
    ids=lambda change: next(iter(change)),
)
def test_kernel_group_operator_and_branches_tell_regions_apart(change):
    assert len(group_regions([region(0), region(1, **change)])) == 2


def test_depthwise_regions_of_different_width_are_alike():
    (group,) = group_regions([region(0, group=4), region(1, group=8, c_in=8, c_out=8)])

    assert group.folded == "3x3 Conv, depthwise"


def test_nothing_makes_no_groups():
    assert group_regions([]) == ()
    assert group_refusals([]) == ()


def test_equal_branches_are_counted():
    assert branch_sum(region(branches=("3x3 Conv", "3x3 Conv", "identity"))) == "2 x 3x3 Conv + identity"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kernel_shape": (3, 5)}, "3x5 Conv"),
        ({"group": 2}, "3x3 Conv, group 2"),
        ({"group": 4}, "3x3 Conv, depthwise"),
        ({"kernel_shape": (), "op_type": "Gemm"}, "Gemm"),
        ({"kernel_shape": (5,)}, "5 Conv"),
    ],
)
def test_the_folded_node_in_words(change, words):
    assert folded_node(region(**change)) == words


def test_refusals_are_gathered_by_code_the_most_frequent_first():
    groups = group_refusals([refusal(0, "training-mode"), refusal(1), refusal(2)])

    assert [group.code for group in groups] == ["strides-differ", "training-mode"]
    assert groups[0].nodes == ("add_1", "add_2")
    assert groups[0].sentence == refusal(1).sentence
