import pytest

from repvgg_onnx.report.cases import KINDS, State, cases, headline
from repvgg_onnx.report.model import Outcome, Verdict
from repvgg_onnx.report.run import Verification
from tests.report.values import (
    foldable,
    fused,
    not_begun,
    parity,
    region_parity,
    report,
    run_of,
    unusable,
    wrong_shape,
)


def states(*outcomes):
    return [(case.name, case.state) for case in cases(run_of(*outcomes))]


def test_every_kind_of_check_is_a_case():
    assert states(fused(min_speedup=1.1)) == [
        ("foldable regions", State.PASSED),
        ("outputs", State.PASSED),
        ("region sum_0/fused", State.PASSED),
        ("speedup", State.PASSED),
    ]


def test_foldable_regions_fail_a_check_unless_they_are_allowed():
    assert states(foldable()) == [("foldable regions", State.FAILED)]
    assert states(foldable(error=None)) == [("foldable regions", State.PASSED)]


def test_what_was_not_looked_at_is_an_error_or_skipped():
    assert states(unusable(), not_begun()) == [("model", State.UNUSABLE), ("model", State.SKIPPED)]


@pytest.mark.parametrize(
    ("verdict", "name"),
    [(Verdict.PARITY_FAILED, "outputs"), (Verdict.TOO_SLOW, "speedup"), (Verdict.REGION_FAILED, "region sum_4/fused")],
)
def test_a_failed_check_is_one_failed_case(verdict, name):
    wrong = report(
        verdict=verdict,
        parity=wrong_shape() if verdict is Verdict.PARITY_FAILED else parity(),
        rolled_back=(region_parity(4, error=0.1),),
    )

    failed = [case for case in cases(run_of(Outcome("net.onnx", wrong, 1, "it failed"))) if case.failed]

    assert [case.name for case in failed] == [name]
    assert failed[0].code in KINDS


def test_a_region_that_was_rolled_back_fails_nothing():
    rolled = fused(rolled_back=(region_parity(4, error=0.1),))

    assert ("region sum_4/fused", State.SKIPPED) in states(rolled)


def test_every_output_of_two_models_is_a_case():
    (case,) = cases(run_of(subject=Verification("a.onnx", "b.onnx", wrong_shape())))

    assert (case.model, case.name, case.state) == ("b.onnx", "output y", State.FAILED)
    assert "the shape is (1, 2) instead of (1, 3)" in case.sentence


@pytest.mark.parametrize(
    ("run", "line"),
    [
        (
            run_of(fused()),
            "3 regions folded, same outputs (error 2.4e-07, own noise 1.9e-07), 1.14x faster (95% CI 1.12-1.16)",
        ),
        (run_of(foldable()), "3 regions can be folded"),
        (run_of(foldable(error=None)), "3 regions to fold"),
        (run_of(foldable(error=None, regions=())), "nothing to fold"),
        (run_of(fused(), unusable()), "2 models: 1 fused, 1 not usable"),
        (run_of(subject=Verification("a", "b", parity())), "Same outputs, worst error 2.4e-07"),
    ],
)
def test_the_headline_says_how_it_ended(run, line):
    assert headline(run) == line
