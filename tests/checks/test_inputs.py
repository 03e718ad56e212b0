import numpy as np
import pytest

from repvgg_onnx.checks.inputs import build_feeds, load_inputs
from repvgg_onnx.checks.session import TensorSpec
from repvgg_onnx.errors import CheckError
from tests.checks.models import BFLOAT16


def specs(**types: tuple[str, tuple]) -> dict[str, TensorSpec]:
    return {name: TensorSpec(name, f"tensor({type_})", shape) for name, (type_, shape) in types.items()}


IMAGE = specs(x=("float", ("N", 4, 5, 7)))
BATCH_OF_TWO = specs(x=("float", (2, 4)))


def test_feeds_are_seeded_signed_and_distinct():
    feeds = build_feeds(IMAGE, seeds=(3, 8))
    assert [feed.label for feed in feeds] == ["normal, seed 3", "normal, seed 8", "border, seed 3"]
    again = build_feeds(IMAGE, seeds=(3, 8))
    assert all(np.array_equal(a.values["x"], b.values["x"]) for a, b in zip(feeds, again, strict=True))
    assert not np.array_equal(feeds[0].values["x"], feeds[1].values["x"])
    for feed in feeds:
        assert feed.values["x"].shape == (1, 4, 5, 7)
        assert feed.values["x"].dtype == np.float32
        assert 0.3 < (feed.values["x"] < 0).mean() < 0.7


def test_two_inputs_do_not_get_the_same_values():
    (feed, _) = build_feeds(specs(a=("float", (4, 6)), b=("float", (4, 6))), seeds=(0,))
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


def test_sequences_are_refused():
    with pytest.raises(CheckError, match="only tensors can be fed"):
        build_feeds({"x": TensorSpec("x", "seq(tensor(float))", ())})


def test_nothing_to_feed_is_refused():
    with pytest.raises(CheckError, match="nothing to feed"):
        build_feeds(IMAGE, seeds=())


def test_user_arrays_bind_dynamic_axes_for_every_feed_and_come_last():
    x = np.arange(3 * 4 * 5 * 7, dtype=np.float32).reshape(3, 4, 5, 7)
    feeds = build_feeds(IMAGE, inputs={"x": x, "labels": np.arange(3)}, seeds=(0,))
    assert [feed.label for feed in feeds] == ["normal, seed 0", "border, seed 0", "inputs"]
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
        ({"x": np.ones((5, 4), np.float32)}, {}, "has 5 rows, which is no multiple of 2"),
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


def test_an_npz_file_is_read(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=np.ones((2, 4), np.float32), labels=np.arange(2))
    assert sorted(load_inputs(path)) == ["labels", "x"]
    (feed,) = build_feeds(BATCH_OF_TWO, inputs=str(path), seeds=())
    assert np.array_equal(feed.values["x"], np.ones((2, 4)))


def test_files_that_cannot_be_inputs_are_refused(tmp_path):
    text, single, objects, broken = (tmp_path / name for name in ("a.txt", "b.npy", "c.npz", "d.npz"))
    text.write_text("hello")
    np.save(single, np.ones(3))
    np.savez(objects, x=np.array([{"a": 1}], object))
    np.savez(broken, x=np.ones(4000))
    content = bytearray(broken.read_bytes())
    content[300:400] = bytes(100)
    broken.write_bytes(content)
    for path, words in (
        (text, "not an .npz"),
        (single, "not an .npz"),
        (objects, "pickle"),
        (broken, "cannot be read"),
    ):
        with pytest.raises(CheckError, match=words) as caught:
            load_inputs(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(CheckError, match="does not exist"):
        load_inputs(tmp_path / "absent.npz")
