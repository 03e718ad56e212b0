"""The sample that judges exactness: what it prints and when it fails."""

import re

import pytest

from tests.programs import SAMPLES, loaded

pytest.importorskip("torch")


@pytest.fixture
def exactness(monkeypatch):
    return loaded(SAMPLES / "benchmarks" / "exactness.py", monkeypatch)


def test_the_table_has_a_line_for_each_network_and_the_code_follows_the_median(exactness, capsys):
    code = exactness.main(["--models", "repvgg-1x1-block", "mobileone-block", "--seeds", "2"])
    head, *lines, verdict = capsys.readouterr().out.splitlines()
    assert head.split() == ["network", "original", "fused", "ratio", "fold"]
    assert [line.split()[0] for line in lines] == ["repvgg-1x1-block", "mobileone-block"]
    for line in lines:
        original, fused, ratio, fold = map(float, line.split()[1:])
        assert 1e-9 < original < 1e-5
        assert 1e-9 < fused < 1e-5
        assert ratio == pytest.approx(fused / original, rel=0.1)
        assert 1e-9 < fold < original
    pattern = r"median ratio (\d\.\d\d); fused at least as close in \d of 2 networks, the fold itself in 2 of 2"
    median = re.fullmatch(pattern, verdict)[1]
    assert code == (0 if float(median) < 1 else 1)


@pytest.mark.parametrize(("ratios", "passed"), [((0.5, 0.9, 4.0), True), ((0.5, 1.1, 1.2), False), ((1.0,), True)])
def test_the_median_over_networks_decides(exactness, ratios, passed):
    words, verdict = exactness.judged([exactness.Distance("net", 1e-7, ratio * 1e-7, 1e-8) for ratio in ratios])
    assert verdict is passed
    assert f"at least as close in {sum(ratio <= 1 for ratio in ratios)} of {len(ratios)}" in words


def test_a_fold_that_is_itself_farther_than_the_original_fails(exactness):
    near, far = exactness.Distance("near", 1e-7, 9e-8, 1e-8), exactness.Distance("far", 1e-7, 9e-8, 2e-7)
    assert exactness.judged([near])[1]
    assert exactness.judged([near, far]) == (
        "median ratio 0.90; fused at least as close in 2 of 2 networks, the fold itself in 1 of 2",
        False,
    )


def test_an_exact_original_is_as_good_as_a_network_can_be(exactness):
    assert exactness.Distance("net", 0.0, 0.0, 0.0).ratio == 1
    assert exactness.Distance("net", 0.0, 1e-7, 0.0).ratio > 1


def test_every_network_of_a_few_blocks_is_judged_by_default(exactness):
    models = exactness.default_models()
    assert len(models) == len(set(models)) > 40
    assert {"repvgg-a0", "repvgg-b0", "repvgg-psp", "dbb-block"} <= set(models)
