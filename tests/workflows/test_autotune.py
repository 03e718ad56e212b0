"""Doubtful folds are measured, and what is not surely better than the choice of the cost rule does not change it."""

from types import SimpleNamespace

import pytest

import repvgg_onnx.workflows.autotune as workflows_autotune
from repvgg_onnx import CheckError, Decisions, autotune, fuse, verify
from repvgg_onnx.checks.latency import Conditions, Latency
from repvgg_onnx.checks.statistics import Ratio, Timing
from repvgg_onnx.workflows.prove import prove
from tests.models import assert_same_outputs, batch_norm, build, ops

TWICE = """net (float[N,2,5,7] x) => (float[N,6,5,7] y) {
    r = Relu(x)
    a = Conv(r, w1)  b = Conv<pads=[1,1,1,1]>(a, v1)  c = Relu(b)
    d = Conv(c, w2)  e = Conv<pads=[1,1,1,1]>(d, v2)  f = Relu(e)
    g = Conv<group=2, pads=[1,1,1,1]>(f, d3)  h = Conv(g, p3)  y = Relu(h)
}"""
FIRST, SECOND, LAST = ("r", "b"), ("c", "e"), ("f", "h")


def twice():
    """Two compositions that the cost rule folds, which differ in their weights only, and one that it turns down."""
    shapes = {"w": (6, 2, 1, 1), "v": (2, 6, 3, 3)}
    numbered = {f"{name}{number}": shape for number in (1, 2) for name, shape in shapes.items()}
    return build(TWICE, **numbered, d3=(2, 1, 3, 3), p3=(6, 2, 1, 1))


def latency(low, high):
    conditions = Conditions("1.31.1", "CPUExecutionProvider", "ORT_ENABLE_ALL", 1, {"x": (1, 2, 5, 7)}, 10, 1.0)
    middle, timing = (low + high) / 2, Timing(1000, 1100, 50, (1000,))
    return Latency(timing, timing, middle, low, high, Ratio(middle, low, high).verdict, 200, conditions)


FASTER, SLOWER, EQUAL = latency(1.1, 1.2), latency(0.8, 0.9), latency(0.95, 1.05)


def is_whole(model):
    """Whether it is the network, and no part of it."""
    return model.graph.output[-1].name == "y"


class Races(list):
    """Races that end as the test says, each noted as its models, its seconds and what else it was given.

    Attributes:
        parts: results by the sink of a region; not distinguishable for the others.
        wholes: results of the whole against the input, the last one for all that follow.
    """

    def __init__(self):
        self.parts = {}
        self.wholes = [FASTER]

    def __call__(self, models, how, running):
        before, after = models
        self.append((before, after, how.seconds, running))
        if is_whole(before):
            latency = self.wholes.pop(0) if len(self.wholes) > 1 else self.wholes[0]
        else:
            latency = self.parts.get(after.graph.output[-1].name, EQUAL)
        return SimpleNamespace(latency=lambda: latency)

    @property
    def sinks(self):
        return [after.graph.output[-1].name for before, after, *_ in self if not is_whole(before)]


@pytest.fixture
def races(monkeypatch):
    made = Races()
    monkeypatch.setattr(workflows_autotune, "measure", made)
    return made


def folded(tuned):
    return {(region.root, region.sink) for region in tuned.fusion.regions}


def test_what_cannot_be_told_apart_stays_as_the_cost_rule_has_it(races):
    model = twice()
    tuned = autotune(model)
    assert tuned.fusion.model == fuse(model).model
    assert folded(tuned) == {FIRST, SECOND}
    assert [judgement.folded for judgement in tuned.judgements] == [True, True, False]
    assert {judgement.reason for judgement in tuned.judgements} == {"as the cost rule says"}
    assert (tuned.outcome, len(tuned.races)) == ("tuned", 1)


def test_alike_regions_are_measured_once_and_in_graph_order(races):
    tuned = autotune(twice())
    assert races.sinks == ["b", "h"]
    assert tuned.judgements[0].latency is tuned.judgements[1].latency


def test_both_forms_of_a_region_begin_before_its_activation_and_compute_the_same(races):
    autotune(twice())
    kept, folded_form, _, _ = races[0]
    assert [ops(kept), ops(folded_form)] == [["Relu", "Conv", "Conv"], ["Relu", "Conv"]]
    assert input_sizes(races[0]) == {"x": (1, 2, 5, 7)}
    kept, folded_form, _, _ = races[1]
    assert [ops(kept), ops(folded_form)] == [["Relu", "Conv", "Conv"], ["Relu", "Conv"]]
    assert input_sizes(races[1]) == {"e": (1, 2, 5, 7)}
    assert verify(kept, folded_form, shapes=input_sizes(races[1])).passed


def input_sizes(race):
    return race[3].shapes


def test_a_fold_that_is_surely_slower_is_dropped(races):
    races.parts["b"] = SLOWER
    model = twice()
    tuned = autotune(model)
    assert not tuned.fusion.regions
    assert tuned.fusion.model is model
    assert {refusal.code for refusal in tuned.fusion.refusals} == {"kept-by-decision", "not-cheaper"}
    assert [judgement.reason for judgement in tuned.judgements] == [
        "as measured",
        "as measured",
        "as the cost rule says",
    ]
    assert tuned.races == ()


def test_a_region_that_was_turned_down_is_folded_if_it_is_surely_faster(races):
    races.parts["h"] = FASTER
    model = twice()
    tuned = autotune(model)
    assert folded(tuned) == {FIRST, SECOND, LAST}
    assert ops(tuned.fusion.model) == ["Relu", "Conv"] * 3 + ["Relu"]
    assert_same_outputs(model, tuned.fusion.model)


def test_the_decisions_make_the_same_model_again(races):
    races.parts |= {"b": SLOWER, "h": FASTER}
    model = twice()
    tuned = autotune(model)
    again = fuse(model, decisions=tuned.decisions)
    assert again.model.SerializeToString() == tuned.fusion.model.SerializeToString()
    assert tuned.decisions.folds == {FIRST: False, SECOND: False, LAST: True}
    assert not fuse(again.model, decisions=tuned.decisions).regions
    assert [region.sink for region in prove(model, decisions=tuned.decisions).regions] == ["h"]


def test_a_whole_that_is_slower_gives_back_what_is_doubtful(races):
    races.wholes = [SLOWER, FASTER]
    model = build(
        TWICE.replace("y = Relu(h)", "i = BatchNormalization(h, gamma, beta, mean, var)  y = Relu(i)"),
        w1=(6, 2, 1, 1),
        v1=(2, 6, 3, 3),
        w2=(6, 2, 1, 1),
        v2=(2, 6, 3, 3),
        d3=(2, 1, 3, 3),
        p3=(6, 2, 1, 1),
        **batch_norm(6),
    )
    tuned = autotune(model)
    assert tuned.outcome == "given-back"
    assert folded(tuned) == {("g", "i")}
    assert [race.verdict for race in tuned.races] == ["slower", "faster"]
    assert not any(judgement.folded for judgement in tuned.judgements)
    assert "because the whole was slower" in tuned.judgements[0].reason
    assert fuse(model, decisions=tuned.decisions).model == tuned.fusion.model


def test_a_whole_that_is_slower_even_so_is_the_input(races):
    races.wholes = [SLOWER]
    model = build(
        "net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv(x, w)  b = Mul(a, s)  y = Relu(b) }",
        w=(4, 4, 1, 1),
        s=(1,),
    )
    tuned = autotune(model)
    assert (tuned.outcome, len(tuned.races)) == ("input-kept", 1)
    assert tuned.decisions == Decisions(keep_all=True)
    assert tuned.fusion.model is model
    assert not tuned.fusion.regions


def test_nothing_to_fold_is_nothing_to_measure(races):
    model = build("net (float[1,4,5,7] x) => (float[1,4,5,7] y) { y = Relu(x) }")
    tuned = autotune(model)
    assert tuned.fusion.model is model
    assert (list(races), tuned.judgements, tuned.races, tuned.outcome) == ([], (), (), "tuned")


def test_plain_folds_are_never_measured(races):
    model = build(
        "net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv<pads=[1,1,1,1]>(x, w)  y = Add(a, x) }",
        w=(4, 4, 3, 3),
    )
    assert len(autotune(model).fusion.regions) == 1
    assert races.sinks == []


def test_the_time_is_shared(races):
    autotune(twice(), seconds=8.0)
    assert [seconds for _, _, seconds, _ in races] == [4.0, 2.0, 1.0]


def test_every_race_is_run_under_the_conditions_of_the_caller(races):
    autotune(twice(), shapes={"x": (4, 2, 5, 7)}, provider="CPUExecutionProvider", threads=2, seed=3)
    assert {(running.provider, running.threads) for *_, running in races} == {("CPUExecutionProvider", 2)}
    assert [running.shapes for *_, running in races] == [
        {"x": (4, 2, 5, 7)},
        {"e": (4, 2, 5, 7)},
        {"x": (4, 2, 5, 7)},
    ]


def test_what_others_read_is_computed_in_both_forms(races):
    """A fold that leaves a member behind saves less than it would alone."""
    text = """net (float[1,2,5,7] x) => (float[1,2,5,7] y, float[1,8,5,7] z) {
        r = Relu(x)  a = Conv(r, w)  b = Conv(a, v)  y = Relu(b)  z = Sigmoid(a)
    }"""
    autotune(build(text, w=(8, 2, 1, 1), v=(2, 8, 1, 1)))
    (kept, folded_form, _, _), *_ = races
    assert ops(kept) == ["Relu", "Conv", "Conv"]
    assert ops(folded_form) == ["Relu", "Conv", "Conv"]
    assert [value.name for value in folded_form.graph.output] == ["a", "b"]


def test_a_region_whose_sizes_nobody_knows_is_left_to_the_cost_rule(races):
    text = """net (float[1,2,5,7] x, int64[4] s) => (float[A,B,C,D] y) {
        r = Reshape(x, s)  a = Conv(r, w)  b = Conv(a, v)  y = Relu(b)
    }"""
    model = build(text, w=(6, 2, 1, 1), v=(2, 6, 3, 3))
    (judgement,) = autotune(model).judgements
    assert (judgement.folded, judgement.latency) == (True, None)
    assert judgement.reason == "as the cost rule says, since it cannot be measured alone"
    assert races.sinks == []


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_no_time_is_refused(seconds):
    with pytest.raises(CheckError, match="seconds to measure"):
        autotune(twice(), seconds=seconds)


def test_a_real_run_ends_in_a_model_that_computes_the_same():
    model = twice()
    tuned = autotune(model, seconds=0.2)
    assert len(tuned.judgements) == 3
    assert all(judgement.latency.pairs >= 6 for judgement in tuned.judgements)
    assert tuned.judgements[0].latency.conditions.shapes == {"x": (1, 2, 5, 7)}
    assert fuse(model, decisions=tuned.decisions).model == tuned.fusion.model
    assert_same_outputs(model, tuned.fusion.model, x=(1, 2, 5, 7))
