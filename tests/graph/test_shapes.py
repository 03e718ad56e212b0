import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_onnx.errors import CheckError
from repvgg_onnx.graph.shapes import bind_shapes, parse_shape

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x=1,3,224,320", ("x", (1, 3, 224, 320))),
        ("x:1x3x224x320", ("x", (1, 3, 224, 320))),
        ("x=1 , 3", ("x", (1, 3))),
        ("input:0=2,5", ("input:0", (2, 5))),
        ("a=b=7", ("a=b", (7,))),
    ],
)
def test_a_shape_is_parsed(text, expected):
    assert parse_shape(text) == expected


@pytest.mark.parametrize("text", ["", "x", "x=", "=1,3", "1,3,5,7", "x=1,,3", "x=-1,3", "x=1,a", "x=1,0", "x=1.5"])
def test_text_that_is_no_shape_is_refused_with_itself(text):
    with pytest.raises(CheckError, match="shape " + repr(text).replace(".", r"\.")):
        parse_shape(text)


@given(name=st.text(min_size=1).filter(lambda name: "\n" not in name), sizes=SIZES, sep=st.sampled_from("=:"))
def test_parsing_undoes_writing(name, sizes, sep):
    assert parse_shape(f"{name}{sep}{','.join(map(str, sizes))}") == (name, tuple(sizes))


@pytest.mark.parametrize(
    ("declared", "bound"),
    [
        (("N", 3, "H", "W"), (1, 3, 224, 224)),
        (("N", "C", "H", "W"), (1, 3, 224, 224)),
        (("N", "H", "W", 3), (1, 224, 224, 3)),
        ((None, 6, None, None), (1, 6, 224, 224)),
        ((-1, 6, -1, 9), (1, 6, 224, 9)),
        (("N", 3, "D", "H", "W"), (1, 3, 32, 32, 32)),
        (("N", 6, "L"), (1, 6, 64)),
        (("N", "T"), (1, 64)),
        ((2, 4), (2, 4)),
        ((0, 4), (0, 4)),
        ((), ()),
    ],
)
def test_defaults(declared, bound):
    assert bind_shapes({"x": declared}, {}) == {"x": bound}


def test_a_given_shape_wins_and_binds_the_names_it_shares():
    declared = {"mask": ("N", "H", "W"), "x": ("N", 3, "H", "W"), "k": ("N",)}
    assert bind_shapes(declared, {"x": (2, 3, 5, 7)}) == {"mask": (2, 5, 7), "x": (2, 3, 5, 7), "k": (2,)}


def test_the_highest_rank_chooses_the_size_of_a_shared_name():
    declared = {"mask": ("N", "H", "W"), "x": ("N", 3, "H", "W")}
    assert bind_shapes(declared, {}) == {"mask": (1, 224, 224), "x": (1, 3, 224, 224)}


def test_a_scalar_or_open_rank_takes_any_shape():
    assert bind_shapes({"x": ()}, {"x": (4, 6)}) == {"x": (4, 6)}


@pytest.mark.parametrize(
    ("given_shapes", "message"),
    [
        ({"z": (1,)}, "no input 'z': its inputs are 'x', 'y'"),
        ({"x": (2, 3, 5)}, "shape 2x3x5 does not fit input 'x', which is Nx3x"),
        ({"x": (2, 4, 5, 7)}, "shape 2x4x5x7 does not fit"),
        ({"x": (2, 3, 0, 7)}, "empty axis"),
        ({"x": (2, 3, 5, 7), "y": (4,)}, "axis 'N' is 4 in input 'y' but 2 in another input"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(given_shapes, message):
    with pytest.raises(CheckError) as caught:
        bind_shapes({"x": ("N", 3, None, "W"), "y": ("N",)}, given_shapes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@given(sizes=SIZES)
def test_a_full_shape_binds_to_itself(sizes):
    names = tuple(f"axis{index}" for index in range(len(sizes)))
    assert bind_shapes({"x": names}, {"x": sizes}) == {"x": tuple(sizes)}
    assert bind_shapes({"x": sizes}, {}) == {"x": tuple(sizes)}
