import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from repvgg_onnx.checks.agreement import Accuracy, Agreement, agreement_of, total
from tests.checks.models import BFLOAT16

SCORES = np.array(
    [[9, 8, 7, 6, 5, 4, 3], [0, 1, 2, 3, 4, 5, 6], [3, 9, 1, 0, 2, 8, 7], [5, 5, 5, 5, 5, 5, 5]], np.float32
)


def test_classes_and_right_ones_are_counted():
    other = SCORES.copy()
    other[1] = other[1][::-1]
    found = agreement_of("y", SCORES, other, np.array([0, 6, 2, 1]))
    assert found == Agreement("y", 4, 3, Accuracy(4, 2, 3), Accuracy(4, 1, 2))


def test_without_labels_nothing_is_right_or_wrong():
    assert agreement_of("y", SCORES, SCORES) == Agreement("y", 4, 4, Accuracy(), Accuracy())
    assert agreement_of("y", SCORES, SCORES, np.arange(3)).before.rows == 0


@pytest.mark.parametrize(("label", "top1", "top5"), [(0, 1, 1), (4, 0, 1), (5, 0, 0)])
def test_of_equal_scores_the_lower_class_counts_as_the_higher(label, top1, top5):
    found = agreement_of("y", SCORES[3:], SCORES[3:], np.array([label]))
    assert found.before == Accuracy(1, top1, top5)


@pytest.mark.parametrize("label", [-1, 7, 255])
def test_a_class_that_does_not_exist_is_never_right(label):
    assert agreement_of("y", SCORES[:1], SCORES[:1], np.array([label])).before == Accuracy(1, 0, 0)
    few = SCORES[:1, :3]
    assert agreement_of("y", few, few, np.array([label])).before == Accuracy(1, 0, 0)


def test_a_score_that_is_nan_is_never_right():
    spoilt = np.full((1, 6), np.nan, np.float32)
    assert agreement_of("y", spoilt, spoilt, np.array([0])).before == Accuracy(1, 0, 0)


@pytest.mark.parametrize(
    "value",
    [SCORES[:, :1], SCORES[0], SCORES[np.newaxis], SCORES.astype(np.int64), [SCORES], None],
    ids=["one class", "no rows", "rank 3", "integers", "a sequence", "nothing"],
)
def test_what_does_not_look_like_logits_is_left_out(value):
    assert agreement_of("y", value, value) is None


def test_outputs_of_other_shapes_are_left_out():
    assert agreement_of("y", SCORES, SCORES[:2]) is None
    assert agreement_of("y", SCORES, None) is None


@pytest.mark.parametrize("dtype", [np.float16, BFLOAT16, np.float64])
def test_every_floating_point_type_is_looked_at(dtype):
    scores = SCORES.astype(dtype)
    assert agreement_of("y", scores, scores, np.array([0, 6, 1, 0])) == Agreement(
        "y", 4, 4, Accuracy(4, 4, 4), Accuracy(4, 4, 4)
    )


@given(st.integers(2, 9), st.integers(0, 99))
def test_ranks_are_those_of_a_stable_sort(classes, seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (6, classes)).astype(np.float32)
    labels = rng.integers(0, classes, 6)
    order = np.argsort(-scores, axis=1, kind="stable")
    found = agreement_of("y", scores, scores, labels).before
    assert found.top1 == sum(label == row[0] for label, row in zip(labels, order, strict=True))
    assert found.top5 == sum(label in row[:5] for label, row in zip(labels, order, strict=True))


def test_runs_are_summed_by_output():
    y, z = (Agreement(name, 2, 1, Accuracy(2, 1, 2), Accuracy(2, 0, 1)) for name in "yz")
    assert total([y, z, y]) == (Agreement("y", 4, 2, Accuracy(4, 2, 4), Accuracy(4, 0, 2)), z)
