"""How classes compare, and where two models begin to differ, on a terminal."""

import math

import pytest

from repvgg_onnx.checks.bisection import TensorParity
from repvgg_onnx.report.bisection import bisection_report
from repvgg_onnx.report.terminal import parity_report
from tests.report.test_terminal import rendered, squeezed
from tests.report.values import agreement, bisection, parity, tensor

EVIL = "\x1b]0;owned\x07\x1b[2J"


def test_accuracies_are_shown_where_labels_are_known():
    text = " ".join(squeezed(rendered(parity_report(parity(agreements=(agreement(), agreement(labelled=0)))))))

    assert "y: same class in 449 of 450 rows; top-1 right 98.89 % before, 98.67 % after;" in text
    assert "top-5 100.00 % before, 99.78 % after y: same class in 449 of 450 rows" in text


def test_the_first_difference_is_described_and_the_worst_tensors_are_listed():
    assert squeezed(rendered(bisection_report(bisection()))) == [
        "3 shared tensors compared at ORT_DISABLE_ALL, tolerance 1e-05",
        "first difference: tensor t_1 of Conv node_1: error 0.25",
        "the tensors that it is computed from agree to 1e-07; seen on normal, seed 0",
        "2 nodes between them: node_0, node_1",
        "",
        "worst tensors operator error inputs",
        "t_2 Conv inf 0.25",
        "t_1 Conv 0.25 1e-07",
        "t_0 Conv 1e-07 0",
    ]


def test_models_that_agree_everywhere_are_said_to():
    lines = squeezed(rendered(bisection_report(bisection(tensor(0, 0.0)))))

    assert lines[:2] == ["1 shared tensor compared at ORT_DISABLE_ALL, tolerance 1e-05", "no tensor differs"]


def test_other_origins_are_named_and_reasons_given():
    odd = tensor(0, math.inf, origin=True, reason="the shape is (1, 2) instead of (1, 3)")
    text = " ".join(squeezed(rendered(bisection_report(bisection(odd, tensor(5, 0.5, origin=True))))))

    assert "tensor t_0 of Conv node_0: the shape is (1, 2) instead of (1, 3)" in text
    assert "errors also arise at t_5" in text
    assert "nodes between them" not in text


def test_an_obstacle_is_all_there_is_to_say():
    assert rendered(bisection_report(bisection(obstacle="the second model fails to run"))) == (
        "the second model fails to run\n"
    )


@pytest.mark.parametrize("width", [80, 60])
def test_many_tensors_of_long_names_fit_the_screen(width):
    many = [
        TensorParity("x" * 200 + str(i), "n" * 90, "Conv" * 9, ("n",) * 40, 0.5, 0.1, True, "inputs") for i in range(40)
    ]
    lines = rendered(bisection_report(bisection(*many)), width).splitlines()

    assert max(map(len, lines)) <= width
    assert lines[-1] == "and 30 tensors more, see --json"


def test_names_from_the_model_cannot_steer_the_terminal():
    evil = TensorParity(EVIL, EVIL, EVIL, (EVIL, EVIL), 0.5, 0.1, True, "inputs", EVIL)
    text = rendered(bisection_report(bisection(evil, evil))) + rendered(bisection_report(bisection(obstacle=EVIL)))

    assert "\x1b" not in text
    assert "\x07" not in text
