import pytest

from repvgg_onnx import fuse
from repvgg_onnx.census.topology import Operation, topology
from repvgg_onnx.report.html.drawing import LARGEST, Box, Fork, after_picture, before_picture
from tests.cli.models import BLOCK, filled
from tests.report.values import region


def told(chain):
    """A chain in a line of text: boxes by their titles, forks in brackets."""
    return " ".join(
        f"{step.times}*{step.title}" if isinstance(step, Box) and step.times > 1 else _told(step) for step in chain
    )


def _told(step):
    if isinstance(step, Box):
        return step.title
    sign = " + " if step.summed else " | "
    return f"({sign.join((f'{times}*' if times > 1 else '') + told(branch) for times, branch in step.chains)})"


def drawn(text, sink="y", **changes):
    """The picture of a region of the operations that a text lists: ``y = Add a b`` in each line."""
    known = {}
    for line in text.split("; "):
        made, _, read = line.partition(" = ")
        op_type, *inputs = read.split()
        known[made] = Operation(op_type, "", tuple(inputs), (made,))
    members = tuple(type(region().members[0])(name, operation.op_type) for name, operation in known.items())
    return told(before_picture(region(members=members, root="x", sink=sink, **changes), known).chain)


def test_a_region_is_drawn_as_a_sum_of_chains():
    picture = before_picture(fuse(filled(BLOCK)).regions[0], topology(filled(BLOCK)))

    assert told(picture.chain) == "image (Conv + Conv + BatchNormalization) 2*Add all"
    assert picture.label == "Before: Conv, Conv, BatchNormalization, Add, Add"
    fork = picture.chain[1]
    assert isinstance(fork, Fork)
    assert [(times, branch[0].kind, branch[0].detail, branch[0].name) for times, branch in fork.chains] == [
        (1, "conv", "3x3", "dense"),
        (1, "conv", "1x1", "point"),
        (1, "op", "", "skip"),
    ]


@pytest.mark.parametrize(
    ("text", "picture"),
    [
        ("a = Conv x; y = Mul a", "x Conv Mul y"),
        ("a = Conv x; y = Add a x", "x (Conv + identity) Add y"),
        ("a = Conv x; b = Conv x; c = Mul x; d = Add a b; y = Add d c", "x (2*Conv + Mul) 2*Add y"),
        ("a = Conv x; b = Mul x; c = Add b x; y = Sum c a", "x ((Mul + identity) Add + Conv) Sum y"),
        ("a = Conv x; b = Mul x; c = Add a b; d = Neg c; y = Add d x", "x ((Conv + Mul) Add Neg + identity) Add y"),
        ("s = Conv x; a = Mul s; b = Neg s; y = Add a b", "x Conv (Mul + Neg) Add y"),
        ("s = Conv x; a = Mul s; y = Add s a", "x Conv (identity + Mul) Add y"),
        ("a = Conv x; b = Neg x; y = Concat a b", "x (Conv | Neg) Concat y"),
        ("a = Conv x; b = Neg x; c = Sub a b; y = Sub c x", "x ((Conv | Neg) Sub | identity) Sub y"),
        ("a = Conv x other; y = Mul other a", "x Conv Mul y"),
        ("y = Conv other", "x Conv y"),
        ("y = Add x x", "x (2*identity) Add y"),
    ],
)
def test_what_hangs_together_is_drawn_so(text, picture):
    assert drawn(text) == picture


def test_the_folded_node_stands_between_root_and_sink():
    picture = after_picture(region(strides=(2, 2), group=2))

    assert [box.title for box in picture.chain] == ["x_0", "Conv", "sum_0"]
    assert picture.chain[1].detail == "3x3, stride 2, group 2"
    assert picture.label == "After: one Conv 3x3, stride 2, group 2, 4 to 6 channels"


@pytest.mark.parametrize("known", [None, {}, {"conv_0": Operation("Conv", "", (), ())}])
def test_branches_are_drawn_where_the_nodes_are_not_known(known):
    assert told(before_picture(region(), known).chain) == "x_0 (3x3 Conv + 1x1 Conv + identity) Sum sum_0"


def test_one_branch_needs_no_sum():
    assert told(before_picture(region(branches=("3x3 Conv",)), None).chain) == "x_0 3x3 Conv sum_0"


def test_a_region_that_is_large_or_would_be_is_drawn_by_its_branches():
    long = "; ".join(f"t{index + 1} = Neg t{index}" for index in range(LARGEST))
    diamonds = "; ".join(f"a{i} = Neg t{i}; b{i} = Mul t{i}; t{i + 1} = Add a{i} b{i}" for i in range(20))
    branches = ("3x3 Conv", "identity")

    assert drawn(long, sink=f"t{LARGEST}").count("Neg") == LARGEST
    assert drawn(f"{long}; y = Neg t{LARGEST}", branches=branches) == "x (3x3 Conv + identity) Sum y"
    assert drawn(diamonds, sink="t20", branches=branches) == "x (3x3 Conv + identity) Sum t20"
