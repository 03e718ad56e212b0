import re

import pytest

from repvgg_onnx import fuse
from repvgg_onnx.report.html.drawing import LARGEST, after_picture, before_picture
from repvgg_onnx.report.html.layering import place
from repvgg_onnx.report.topology import Operation, topology
from tests.cli.models import BLOCK, filled
from tests.report.values import region

EDGES = [("root", "a"), ("root", "b"), ("a", "sum"), ("b", "sum"), ("root", "all"), ("sum", "all"), ("all", "sink")]
WIDTHS = dict.fromkeys(("root", "a", "b", "sum", "all", "sink"), 50.0)


def block():
    return fuse(filled(BLOCK)).regions[0], topology(filled(BLOCK))


def test_edges_lead_down_and_long_ones_have_a_waypoint_in_each_layer():
    placed = place(WIDTHS, EDGES)

    assert [placed.centres[name][1] for name in WIDTHS] == [0, 1, 1, 2, 3, 4]
    assert placed.layers == 5
    for (above, below), path in zip(EDGES, placed.paths, strict=True):
        assert path[0] == placed.centres[above]
        assert path[-1] == placed.centres[below]
        assert [layer for _, layer in path] == list(range(path[0][1], path[-1][1] + 1))


def test_nodes_of_a_layer_do_not_overlap_and_lie_inside():
    placed = place(WIDTHS, EDGES)
    (a, _), (b, _) = placed.centres["a"], placed.centres["b"]

    assert abs(a - b) >= 50
    assert all(25 <= x <= placed.width - 25 for x, _ in placed.centres.values())


def test_waypoints_keep_out_of_the_way_of_what_hangs_together():
    placed = place(
        {"r": 50.0, "a": 50.0, "b": 50.0, "s": 50.0}, [("r", "a"), ("r", "s"), ("r", "b"), ("b", "s"), ("a", "s")]
    )

    assert {placed.centres["a"][1], placed.centres["b"][1]} == {1}
    assert len(placed.paths[1]) == 3


def test_a_region_is_drawn_as_its_nodes_hang_together():
    found, known = block()

    picture = before_picture(found, known)

    assert [(placed.box.kind, placed.box.title, placed.box.detail) for placed in picture.boxes] == [
        ("tensor", "image", ""),
        ("conv", "Conv", "3x3"),
        ("conv", "Conv", "1x1"),
        ("op", "BatchNormalization", ""),
        ("op", "Add", ""),
        ("op", "Add", ""),
        ("tensor", "all", ""),
    ]
    assert len(picture.lines) == 8  # three from the root, two into each Add beyond the first, one into the sink
    assert picture.label == "Before: Conv, Conv, BatchNormalization, Add, Add"


def test_boxes_and_lines_lie_inside_the_picture():
    picture = before_picture(*block())

    for placed in picture.boxes:
        assert 0 <= placed.x <= placed.x + placed.width <= picture.width
        assert 0 <= placed.y <= placed.y + placed.height <= picture.height
    for line in picture.lines:
        points = [tuple(map(float, pair.split(","))) for pair in re.findall(r"[\d.]+,[\d.]+", line)]
        assert all(0 <= x <= picture.width and 0 <= y <= picture.height for x, y in points)


def test_the_folded_node_stands_between_root_and_sink():
    picture = after_picture(region(strides=(2, 2), group=2))

    assert [placed.box.title for placed in picture.boxes] == ["x_0", "Conv", "sum_0"]
    assert picture.boxes[1].box.detail == "3x3, stride 2, group 2"
    assert picture.label == "After: one Conv 3x3, stride 2, group 2, 4 to 6 channels"


@pytest.mark.parametrize("known", [None, {}, {"conv_0": Operation("Conv", "", (), ())}])
def test_branches_are_drawn_where_the_nodes_are_not_known(known):
    picture = before_picture(region(), known)

    assert [placed.box.title for placed in picture.boxes] == ["x_0", "3x3 Conv", "1x1 Conv", "identity", "Sum", "sum_0"]


def test_one_branch_needs_no_sum():
    picture = before_picture(region(branches=("3x3 Conv",)), None)

    assert [placed.box.title for placed in picture.boxes] == ["x_0", "3x3 Conv", "sum_0"]


def test_large_regions_are_drawn_by_their_branches():
    members = tuple(type(region().members[0])(f"n{i}", "Add") for i in range(LARGEST + 1))
    known = {member.name: Operation("Add", "", (f"t{i}",), (f"t{i + 1}",)) for i, member in enumerate(members)}

    assert len(before_picture(region(members=members), known).boxes) == 6
    assert len(before_picture(region(members=members[:-1]), known).boxes) == LARGEST + 2
