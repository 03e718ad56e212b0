"""How the classes of two classifiers compare, beside their outputs."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from repvgg_onnx.checks.agreement import Accuracy, Agreement
from repvgg_onnx.checks.parity import verify
from repvgg_onnx.errors import CheckError
from tests.checks.models import model, relu_block
from tests.models import perturbed

CLASSES = "g (float[N,4] x) => (float[N,6] y, float[N] z) { y = MatMul(x, kernel) z = ReduceSum<keepdims = 0>(y, one) }"
CLASS_WEIGHTS = {"kernel": (4, 6), "one": np.array([1])}


def classifier() -> onnx.ModelProto:
    return model(CLASSES, CLASS_WEIGHTS)


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((count, 4)).astype(np.float32)


def right_classes(x: np.ndarray) -> np.ndarray:
    return (x @ numpy_helper.to_array(classifier().graph.initializer[0])).argmax(axis=1)


def test_agreement_is_counted_on_all_feeds_where_none_is_the_users():
    (agreement,) = verify(classifier(), classifier(), shapes={"x": (5, 4)}, seeds=(0, 1)).agreements
    assert agreement == Agreement("y", 20, 20, Accuracy(), Accuracy())


def test_agreement_and_accuracy_are_counted_on_the_users_rows_once():
    x = rows(40)
    labels = right_classes(x)
    labels[:10] = (labels[:10] + 1) % 6
    (agreement,) = verify(classifier(), classifier(), inputs={"x": x, "labels": labels}).agreements
    assert (agreement.rows, agreement.same) == (40, 40)
    assert agreement.before == agreement.after
    assert (agreement.before.rows, agreement.before.top1) == (40, 30)
    assert 30 < agreement.before.top5 <= 40


def test_a_model_that_chooses_other_classes_is_seen_to():
    x = rows(40)
    arguments = {"inputs": {"x": x}, "labels": right_classes(x), "seeds": (0,)}
    (agreement,) = verify(classifier(), perturbed(classifier(), 2.0, name="kernel"), **arguments).agreements
    assert agreement.before.top1 == 40
    assert agreement.after.top1 == agreement.same < 40


def test_outputs_that_are_no_logits_have_no_agreement():
    assert verify(relu_block(), relu_block(), seeds=(0,)).agreements == ()


def test_labels_that_are_for_nothing_are_refused():
    x = np.ones((3, 4, 5, 7), np.float32)
    with pytest.raises(CheckError, match="labels are given, but no output"):
        verify(relu_block(), relu_block(), inputs={"x": x}, labels=np.arange(3), seeds=())
