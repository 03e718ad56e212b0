"""The work that a graph makes is proportional to its length: calls are counted, and no time is."""

import inspect
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from repvgg_onnx import fuse
from repvgg_onnx.compiler import fuse as compiler_fuse
from repvgg_onnx.compiler import regions
from tests.compiler.generator import LONGEST, random_model
from tests.compiler.long_graphs import KINDS, blocks, muls_behind_a_conv
from tests.models import assert_same_outputs, assert_settled, build, ops, repvgg_block

LENGTHS = {"RepVGG blocks": 5, "diamonds": 12}
LENGTH = 20  # of the other kinds
BEND = 0.03  # of the calls for the shortest, by which twice as much more may be more than twice the more


def calls_of(model):
    """Python calls that fusing a model takes."""
    count = 0

    def note(_frame, event, _argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        fuse(model)
    finally:
        sys.setprofile(None)
    return count


def bend(make, length=LENGTH):
    """How far the calls for a length, twice and three times as much lie off a line, in those for the length."""
    fuse(make(1))  # what is set up only once
    once, twice, thrice = (calls_of(make(count * length)) for count in (1, 2, 3))
    return (thrice - 2 * twice + once) / once


@pytest.mark.parametrize("kind", KINDS)
def test_work_is_proportional_to_length(kind):
    assert bend(KINDS[kind], LENGTHS.get(kind, LENGTH)) < BEND


def test_counted_calls_tell_quadratic_work(monkeypatch):
    """The twin: where the members of every candidate are looked at, the count says so."""
    planned = regions.plan_of

    def wasteful(graph, removals, sink, frame, candidate):
        assert all(index >= 0 for index in candidate.members)
        return planned(graph, removals, sink, frame, candidate)

    monkeypatch.setattr(regions, "plan_of", wasteful)

    assert bend(muls_behind_a_conv) > BEND


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "RepVGG blocks"])
def test_a_long_linear_graph_is_one_node(kind):
    model = KINDS[kind](20)

    fusion = fuse(model)

    assert ops(fusion.model) == ["Conv"]
    assert_same_outputs(model, fusion.model, 1e-5)
    assert_settled(fusion)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "RepVGG blocks"])
def test_length_is_no_limit(kind):
    """A graph longer than Python's stack is deep."""
    model, limit = KINDS[kind](120), sys.getrecursionlimit()
    fuse(KINDS[kind](1))  # what is imported only once
    sys.setrecursionlimit(len(inspect.stack()) + 150)
    try:
        fusion = fuse(model)
    finally:
        sys.setrecursionlimit(limit)

    assert ops(fusion.model) == ["Conv"]


@pytest.fixture
def searches(monkeypatch):
    """Models that were analysed, one for each time."""
    seen, view_model = [], compiler_fuse.view_model
    monkeypatch.setattr(
        compiler_fuse, "view_model", lambda model, *args, **kw: seen.append(model) or view_model(model, *args, **kw)
    )
    return seen


def test_blocks_between_activations_are_searched_once(searches):
    model = blocks(3)

    assert len(fuse(model).regions) == 3
    assert len(searches) == 1
    assert searches[0] is model


def test_what_may_fold_further_is_searched_again(searches):
    """Behind the region stands an affine node that is not part of it."""
    text = """net (float[1,4,5,7] x) => (float[1,4,5,7] y) {
        a = Conv<pads=[1,1,1,1]>(x, w)  b = Mul(a, s)  y = Conv<pads=[1,1,1,1]>(b, v)
    }"""
    fusion = fuse(build(text, w=(4, 4, 3, 3), v=(4, 4, 3, 3), s=(4, 1, 1)))

    assert len(fusion.regions) == 1
    assert len(searches) == 2


def test_names_that_two_nodes_have_are_searched_again(searches):
    """Refusals are about names, so that those of removed nodes could not be told apart."""
    model = repvgg_block()
    for node in model.graph.node:
        node.name = "same"

    assert len(fuse(model).regions) == 1
    assert len(searches) == 2


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, LONGEST))
def test_one_search_less_changes_nothing(seed, length):
    model, _ = random_model(seed, length)
    once = fuse(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler_fuse, "is_final", lambda *_: False)
        again = fuse(model)

    assert once.model.SerializeToString(deterministic=True) == again.model.SerializeToString(deterministic=True)
    assert once.regions == again.regions
    more = set(again.refusals) - set(once.refusals)  # of what was emitted, which says nothing about the input
    assert set(once.refusals) <= set(again.refusals)
    assert {refusal.node for refusal in more} <= {region.sink for region in once.regions}
    assert len(once.doubts) == len(again.doubts)
