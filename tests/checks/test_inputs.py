import numpy as np
import pytest

from repvgg_onnx.checks.inputs import build_feeds
from repvgg_onnx.checks.session import TensorSpec
from repvgg_onnx.errors import CheckError, RunError
from tests.checks.models import BFLOAT16


def specs(**types: tuple[str, tuple]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, f"tensor({type_})", shape) for name, (type_, shape) in types.items()}


IMAGE = specs(x=("float", ("N", 4, 5, 7)))
BATCH_OF_TWO = specs(x=("float", (2, 4)))


def test_feeds_are_seeded_signed_and_distinct():
    feeds = build_feeds(IMAGE, seeds=(3, 8))
    labels = ["normal, seed 3", "normal, seed 8", "border, seed 3", "picture 0 to 1, seed 3"]
    assert [feed.label for feed in feeds] == labels
    again = build_feeds(IMAGE, seeds=(3, 8))
    assert all(np.array_equal(a.values["x"], b.values["x"]) for a, b in zip(feeds, again, strict=True))
    assert not np.array_equal(feeds[0].values["x"], feeds[1].values["x"])
    for feed in feeds:
        assert feed.values["x"].shape == (1, 4, 5, 7)
        assert feed.values["x"].dtype == np.float32
    for feed in feeds[:3]:
        assert 0.3 < (feed.values["x"] < 0).mean() < 0.7


def test_two_inputs_do_not_get_the_same_values():
    for feed in build_feeds(specs(a=("float", (4, 6)), b=("float", (4, 6))), seeds=(0,)):
        assert not np.array_equal(feed.values["a"], feed.values["b"])


@pytest.mark.parametrize(
    ("shape", "inside"),
    [
        ((2, 4, 5, 7), np.s_[:, :, 1:-1, 1:-1]),
        ((2, 5, 7, 3), np.s_[:, 1:-1, 1:-1, :]),
        ((2, 4, 5, 7, 9), np.s_[:, :, 1:-1, 1:-1, 1:-1]),
        ((2, 4, 9), np.s_[:, :, 1:-1]),
        ((2, 6), np.s_[:, 1:-1]),
        ((6,), np.s_[1:-1]),
    ],
)
def test_the_border_feed_is_large_on_the_spatial_border_only_and_alternates(shape, inside):
    values = build_feeds(specs(x=("float", shape)), seeds=(0,))[1].values["x"]
    border = np.ones(shape, bool)
    border[inside] = False
    assert np.abs(values[border]).min() > 100 * np.abs(values[~border]).max()
    assert np.array_equal(values[border] > 0, np.indices(shape).sum(axis=0)[border] % 2 == 0)


def test_the_border_feed_of_a_scalar_is_large():
    values = build_feeds(specs(x=("double", ())), seeds=(0,))[1].values["x"]
    assert values.shape == ()
    assert abs(values) >= 5


@pytest.mark.parametrize(
    ("type_", "dtype", "low", "high"),
    [
        ("int64", np.int64, 0, 9),
        ("int32", np.int32, 0, 9),
        ("uint64", np.uint64, 0, 9),
        ("uint8", np.uint8, 0, 255),
        ("int8", np.int8, -128, 127),
        ("int16", np.int16, -(2**15), 2**15 - 1),
        ("bool", np.bool_, 0, 1),
    ],
)
def test_integers_stay_in_their_range_and_use_it(type_, dtype, low, high):
    values = build_feeds(specs(x=(type_, (40, 60))), seeds=(0,))[0].values["x"]
    assert values.dtype == dtype
    assert low <= values.min() <= low + (high - low) / 20
    assert high - (high - low) / 20 <= values.max() <= high


@pytest.mark.parametrize(("type_", "dtype"), [("float16", np.float16), ("bfloat16", BFLOAT16), ("double", np.float64)])
def test_every_floating_type_is_drawn_finite_in_its_own_type(type_, dtype):
    for feed in build_feeds(specs(x=(type_, (2, 4, 5, 7))), seeds=(0,)):
        assert feed.values["x"].dtype == dtype
        assert np.isfinite(feed.values["x"].astype(np.float64)).all()


def test_strings_must_be_given():
    texts = specs(s=("string", (2,)))
    with pytest.raises(CheckError, match=r"'s' is tensor\(string\), which cannot be drawn: give it with --inputs"):
        build_feeds(texts)
    given = np.array(["a", "b"], object)
    (feed,) = build_feeds(texts, inputs={"s": given}, seeds=())
    assert feed.values["s"].tolist() == ["a", "b"]


@pytest.mark.parametrize("rows", [2, 4])
def test_feeds_that_are_drawn_take_the_strings_that_are_given(rows):
    texts = specs(s=("string", (2,)), x=("float", (2, 3)))
    given = np.array(["a", "b", "c", "d"][:rows])
    feeds = build_feeds(texts, inputs={"s": given, "x": np.ones((rows, 3), np.float32)}, seeds=(0, 1))
    assert [feed.values["s"].tolist() for feed in feeds] == [["a", "b"]] * 5 + [["c", "d"]] * (rows // 2 - 1)
    assert [bool(feed.given) for feed in feeds] == [False] * 4 + [True] * (rows // 2)
    assert not np.array_equal(feeds[0].values["x"], feeds[1].values["x"])


def test_strings_that_the_arrays_leave_out_must_be_given():
    texts = specs(s=("string", (2,)), x=("float", (2, 3)))
    with pytest.raises(CheckError, match="give it with --inputs"):
        build_feeds(texts, inputs={"x": np.ones((2, 3), np.float32)})


def test_sequences_are_refused():
    with pytest.raises(RunError, match="only tensors can be fed"):
        build_feeds({"x": TensorSpec("x", "seq(tensor(float))", ())})


def test_nothing_to_feed_is_refused():
    with pytest.raises(CheckError, match="nothing to feed"):
        build_feeds(IMAGE, seeds=())


def test_user_arrays_bind_dynamic_axes_for_every_feed_and_come_last():
    x = np.arange(3 * 4 * 5 * 7, dtype=np.float32).reshape(3, 4, 5, 7)
    feeds = build_feeds(IMAGE, inputs={"x": x, "labels": np.arange(3)}, seeds=(0,))
    assert [feed.label for feed in feeds] == ["normal, seed 0", "border, seed 0", "picture 0 to 1, seed 0", "inputs"]
    assert all(feed.values["x"].shape == x.shape for feed in feeds)
    assert all(feed.values.keys() == {"x"} for feed in feeds)
    assert np.array_equal(feeds[-1].values["x"], x)


def test_inputs_that_are_not_given_are_drawn():
    two = specs(x=("float", ("N", 4)), i=("int64", ("N",)))
    feed = build_feeds(two, inputs={"x": np.ones((3, 4), np.float32)}, seeds=(0,))[-1]
    assert feed.label == "inputs"
    assert np.array_equal(feed.values["x"], np.ones((3, 4)))
    assert feed.values["i"].shape == (3,)


def test_more_rows_than_a_fixed_batch_are_run_batch_by_batch():
    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    feeds = build_feeds(BATCH_OF_TWO, inputs={"x": x}, seeds=())
    assert [feed.label for feed in feeds] == [f"inputs, batch {n} of 3" for n in (1, 2, 3)]
    assert np.array_equal(np.concatenate([feed.values["x"] for feed in feeds]), x)


def test_a_shape_sets_how_many_rows_of_a_dynamic_batch_are_run_at_once():
    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    feeds = build_feeds(specs(x=("float", ("N", 4))), inputs={"x": x}, shapes={"x": (3, 4)}, seeds=())
    assert [feed.values["x"].shape for feed in feeds] == [(3, 4), (3, 4)]


def test_an_array_of_one_batch_is_used_with_every_batch_of_another():
    two = specs(x=("float", (2, 4)), scale=("float", (2, 1)))
    arrays = {"x": np.arange(24, dtype=np.float32).reshape(6, 4), "scale": np.ones((2, 1), np.float32)}
    feeds = build_feeds(two, inputs=arrays, seeds=())
    assert len(feeds) == 3
    assert all(np.array_equal(feed.values["scale"], arrays["scale"]) for feed in feeds)


@pytest.mark.parametrize(
    ("arrays", "shapes", "message"),
    [
        ({"y": np.ones((2, 4), np.float32)}, {}, "none of the arrays given is an input of the model, which takes x"),
        ({"x": np.ones((5, 4), np.float32)}, {}, "has 5 rows, which is not a multiple of 2"),
        ({"x": np.ones((2, 6), np.float32)}, {}, "shape 2x6 does not fit input 'x', which is 2x4"),
        ({"x": np.ones((2, 4, 1), np.float32)}, {}, "does not fit"),
        ({"x": np.ones((0, 4), np.float32)}, {}, "does not fit"),
        ({"x": np.float32(1)}, {}, "does not fit"),
        ({"x": np.ones((2, 4), np.float64)}, {}, "takes float32 values, but the array given holds float64"),
        ({"x": np.ones((2, 4), np.int64)}, {}, "takes float32 values, but the array given holds int64"),
        ({"x": np.ones((2, 4), np.float32)}, {"x": (2, 9)}, "its shape was to be"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_one_line(arrays, shapes, message):
    with pytest.raises(CheckError) as caught:
        build_feeds(BATCH_OF_TWO, inputs=arrays, shapes=shapes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_arrays_of_different_numbers_of_batches_are_refused():
    two = specs(x=("float", (2, 4)), z=("float", (2,)))
    arrays = {"x": np.ones((6, 4), np.float32), "z": np.ones(4, np.float32)}
    with pytest.raises(CheckError, match="different numbers of batches"):
        build_feeds(two, inputs=arrays)


@pytest.mark.parametrize(
    ("type_", "given", "taken"),
    [
        ("float", np.float16, np.float32),
        ("float", np.uint8, np.float32),
        ("double", np.float32, np.float64),
        ("int64", np.int32, np.int64),
        ("bfloat16", np.float32, BFLOAT16),
    ],
)
def test_safe_casts_are_made(type_, given, taken):
    array = np.array([[1, 2, 3, 4]], given)
    (feed,) = build_feeds(specs(x=(type_, (1, 4))), inputs={"x": array}, seeds=())
    assert feed.values["x"].dtype == taken
    assert feed.values["x"].astype(given).tolist() == array.tolist()


# Ranges


@pytest.mark.parametrize(
    ("type_", "bounds"),
    [
        ("float", (-0.25, 1.5)),
        ("double", (100.0, 101.0)),
        ("float16", (-2, -1)),
        ("bfloat16", (0, 4)),
        ("int64", (3, 29521)),
        ("int8", (-5, 5)),
        ("uint64", (2**63, 2**64 - 1)),
        ("bool", (0, 1)),
    ],
)
def test_a_range_is_kept_and_used_in_the_type_of_the_input(type_, bounds):
    low, high = bounds
    for feed in build_feeds(specs(x=(type_, (20, 30, 4))), ranges={"x": bounds}, seeds=(0, 1)):
        values = feed.values["x"]
        assert values.dtype == specs(x=(type_, ()))["x"].dtype
        smallest, largest = (
            (values.min(), values.max()) if type_ == "uint64" else (float(values.min()), float(values.max()))
        )
        assert low <= smallest < low + (high - low) / 4 + 1
        assert high - (high - low) / 4 - 1 < largest <= high


def test_both_ends_of_a_range_of_integers_are_drawn():
    values = build_feeds(specs(x=("int32", (40, 5))), ranges={"x": (-1, 2)}, seeds=(0,))[0].values["x"]
    assert set(values.flat) == {-1, 0, 1, 2}
    between = build_feeds(specs(x=("int32", (40, 5))), ranges={"x": (0.5, 2.5)}, seeds=(0,))[0].values["x"]
    assert set(between.flat) == {1, 2}


def test_the_border_feed_of_a_range_is_near_its_ends_on_the_border_and_near_its_middle_inside():
    values = build_feeds(specs(x=("float", (2, 4, 5, 7))), ranges={"x": (0, 255)}, seeds=(0,))[1].values["x"]
    inside = values[:, :, 1:-1, 1:-1]
    assert np.abs(inside - 127.5).max() < 0.2
    edge = values[:, :, 0, :]
    assert np.abs(edge - 127.5).min() >= 127.5 / 2
    assert edge.min() < 64 < 191 < edge.max()


def test_a_range_holds_for_its_input_only():
    two = specs(x=("float", (4, 60)), z=("float", (4, 60)))
    feed = build_feeds(two, ranges={"z": (5, 6)}, seeds=(0,))[0]
    assert feed.values["z"].min() >= 5
    assert feed.values["x"].min() < 0


@pytest.mark.parametrize(
    ("type_", "bounds", "message"),
    [
        ("uint8", (-5, 300), "range -5,300 does not fit input 'x', which takes uint8 values"),
        ("int64", (0.2, 0.8), "does not fit input 'x'"),
        ("float16", (0, 1e6), "does not fit input 'x', which takes float16 values"),
        ("bool", (0, 2), "takes bool values"),
        ("float", (2, 1), "is empty"),
        ("float", (0, np.inf), "is not finite"),
        ("int32", (np.nan, 1), "is not finite"),
    ],
)
def test_ranges_that_do_not_fit_are_refused_in_one_line(type_, bounds, message):
    with pytest.raises(CheckError) as caught:
        build_feeds(specs(x=(type_, (2, 3))), ranges={"x": bounds})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_range_of_no_input_is_refused():
    with pytest.raises(CheckError, match="no input 'z': its inputs are 'x'"):
        build_feeds(IMAGE, ranges={"z": (0, 1)})


# Several sources and their labels


def test_several_sources_are_fed_in_turn_each_in_its_own_shape():
    arrays = [np.ones((rows, 4), np.float32) for rows in (3, 5)]
    feeds = build_feeds(specs(x=("float", ("N", 4))), inputs=[{"x": array} for array in arrays], seeds=(0,))
    assert [feed.values["x"].shape for feed in feeds] == [(3, 4), (3, 4), (3, 4), (3, 4), (5, 4)]
    assert [feed.given for feed in feeds] == [(), (), (), ("x",), ("x",)]


def test_labels_follow_their_rows_through_the_batches():
    x = np.arange(24, dtype=np.float32).reshape(6, 4)
    feeds = build_feeds(BATCH_OF_TWO, inputs={"x": x, "labels": np.arange(6)}, seeds=(0,))
    assert [None if feed.labels is None else feed.labels.tolist() for feed in feeds] == [
        None,
        None,
        None,
        [0, 1],
        [2, 3],
        [4, 5],
    ]


def test_labels_of_their_own_are_for_all_sources_in_order_and_win():
    dynamic = specs(x=("float", ("N", 4)))
    first, second = ({"x": np.ones((rows, 4), np.float32), "labels": np.zeros(rows, int)} for rows in (2, 3))
    feeds = build_feeds(dynamic, inputs=[first, second], labels=np.arange(5), seeds=(0,))
    assert [feed.labels.tolist() for feed in feeds if feed.given] == [[0, 1], [2, 3, 4]]
    assert all(feed.labels is None for feed in feeds if not feed.given)


@pytest.mark.parametrize("rows", [5, 7])
def test_labels_of_another_number_of_rows_are_refused(rows):
    x = np.ones((6, 4), np.float32)
    for arguments in ({"inputs": {"x": x, "labels": np.arange(rows)}}, {"inputs": {"x": x}, "labels": np.arange(rows)}):
        with pytest.raises(CheckError, match=f"{rows} labels do not fit inputs of 6 rows"):
            build_feeds(BATCH_OF_TWO, **arguments)
    with pytest.raises(CheckError, match="do not fit inputs of 0 rows"):
        build_feeds(BATCH_OF_TWO, labels=np.arange(rows))


# NaN and infinity


def test_nan_and_infinity_of_the_user_are_fed_as_they_are():
    x = np.array([[np.nan, np.inf, -np.inf, 1]] * 2, np.float32)
    (feed,) = build_feeds(BATCH_OF_TWO, inputs={"x": x}, seeds=())
    assert np.array_equal(feed.values["x"], x, equal_nan=True)


@pytest.mark.parametrize("bounds", [None, (-6e4, 6e4)])
def test_no_drawn_value_is_nan_or_infinite(bounds):
    for feed in build_feeds(specs(x=("float16", (9, 11))), ranges={"x": bounds} if bounds else None):
        assert np.isfinite(feed.values["x"]).all()
