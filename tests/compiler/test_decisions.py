"""What decisions change, what they leave, and which folds are doubtful."""

import pytest

from repvgg_onnx import CheckError, Decisions, fuse
from repvgg_onnx.compiler.decisions import Ends
from tests.models import assert_explained, assert_same_outputs, batch_norm, branch_to_fold, build, ops, repvgg_block

CHAIN = """net (float[1,2,5,7] x) => (float[1,4,5,7] y) {
    r = Relu(x)  a = Conv(r, w)  b = Conv<pads=[1,1,1,1]>(a, v)  y = Relu(b)
}"""
DECLINED = """net (float[1,4,5,7] x) => (float[1,6,5,7] y) {
    r = Relu(x)  a = Conv<group=4, pads=[1,1,1,1]>(r, d)  b = Conv(a, p)  y = Relu(b)
}"""
WHOLE = ("r", "b")


def chain():
    return build(CHAIN, w=(6, 2, 1, 1), v=(4, 6, 3, 3))


def declined():
    return build(DECLINED, d=(4, 1, 3, 3), p=(6, 4, 1, 1))


def codes(fusion):
    return [refusal.code for refusal in fusion.refusals]


def test_without_decisions_the_cost_rule_judges_and_says_what_is_in_doubt():
    fusion = fuse(chain())
    (doubt,) = fusion.doubts
    assert ops(fusion.model) == ["Relu", "Conv", "Relu"]
    assert (doubt.ends, doubt.wanted, doubt.folded) == ((Ends(*WHOLE),), True, True)
    (doubt,) = fuse(declined()).doubts
    assert (doubt.ends, doubt.wanted, doubt.folded) == ((Ends(*WHOLE),), False, False)
    assert doubt.regions[0].kernel_shape == (3, 3)


def test_what_is_to_be_kept_is_kept_with_its_reason():
    model = chain()
    fusion = fuse(model, decisions=Decisions({WHOLE: False}))
    assert fusion.model is model
    assert codes(fusion) == ["kept-by-decision"]
    assert not fusion.doubts


def test_what_is_to_be_folded_is_folded_although_it_costs_more():
    model = declined()
    assert codes(fuse(model)) == ["not-cheaper"]
    fusion = fuse(model, decisions=Decisions({WHOLE: True}))
    assert ops(fusion.model) == ["Relu", "Conv", "Relu"]
    assert not codes(fusion)
    (doubt,) = fusion.doubts
    assert (doubt.wanted, doubt.folded) == (False, True)
    assert fusion.regions[0].cost_after.total > fusion.regions[0].cost_before.total
    assert_same_outputs(model, fusion.model)


def test_a_region_that_was_turned_down_and_is_kept_is_still_not_cheaper():
    fusion = fuse(declined(), decisions=Decisions({WHOLE: False}))
    assert codes(fusion) == ["not-cheaper"]
    assert not fusion.doubts


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("make", [chain, declined])
def test_folding_again_with_the_same_decisions_finds_nothing(make, fold):
    decisions = Decisions({WHOLE: fold})
    once = fuse(make(), decisions=decisions).model
    again = fuse(once, decisions=decisions)
    assert again.model is once
    assert not again.regions


def test_a_part_of_what_is_kept_may_fold():
    text = CHAIN.replace("y = Relu(b)", "c = BatchNormalization(b, gamma, beta, mean, var)  y = Relu(c)")
    model = build(text, w=(6, 2, 1, 1), v=(4, 6, 3, 3), **batch_norm(4))
    assert len(fuse(model).regions) == 1
    fusion = fuse(model, decisions=Decisions({("r", "c"): False, ("r", "b"): False}))
    assert [(region.root, region.sink) for region in fusion.regions] == [("a", "c")]
    assert not fusion.doubts
    assert_same_outputs(model, fusion.model)


def test_everything_can_be_kept():
    model = repvgg_block()
    fusion = fuse(model, decisions=Decisions(keep_all=True))
    assert fusion.model is model
    assert set(codes(fusion)) == {"kept-by-decision"}
    assert_explained(fusion)
    assert not fusion.regions


def test_keeping_everything_holds_in_subgraphs_and_single_decisions_do_not():
    model = branch_to_fold()
    assert len(fuse(model, decisions=Decisions({("x", "y"): False})).regions) == 1
    assert not fuse(model, decisions=Decisions(keep_all=True)).regions


def test_decisions_about_another_model_are_refused():
    with pytest.raises(CheckError, match="'z', which no node of the model makes"):
        fuse(chain(), decisions=Decisions({("r", "z"): False}))


def test_later_decisions_win():
    decisions = Decisions({WHOLE: True}).also({WHOLE: False, ("a", "b"): True})
    assert decisions.folds == {WHOLE: False, ("a", "b"): True}
    assert decisions.within({"y"}).folds == {}
    assert decisions.keeps(*WHOLE)
    assert decisions.forces("a", "b")
    assert Decisions(keep_all=True).keeps("any", "other")


PLAIN = {
    "conv-bn": (
        "a = Conv(x, w)  y = BatchNormalization(a, gamma, beta, mean, var)",
        {"w": (4, 4, 3, 3), **batch_norm(4)},
    ),
    "parallel": (
        "a = Conv<pads=[1,1,1,1]>(x, w)  b = Conv(x, v)  y = Add(a, b)",
        {"w": (4, 4, 3, 3), "v": (4, 4, 1, 1)},
    ),
    "depthwise-with-skip": (
        "a = Conv<group=4, pads=[1,1,1,1]>(x, w)  y = Add(a, x)",
        {"w": (4, 1, 3, 3)},
    ),
    "gain-written-as-a-convolution": (
        "a = Conv(x, w)  y = Conv<group=4>(a, v)",
        {"w": (4, 4, 3, 3), "v": (4, 1, 1, 1)},
    ),
    "gain-after": ("a = Conv(x, w)  y = Mul(a, s)", {"w": (4, 4, 3, 3), "s": (4, 1, 1)}),
    "norm-before": (
        "a = BatchNormalization(x, gamma, beta, mean, var)  y = Conv(a, w)",
        {"w": (4, 4, 3, 3), **batch_norm(4)},
    ),
}
DOUBTFUL = {
    "composition": ("a = Conv(x, w)  y = Conv(a, v)", {"w": (4, 4, 1, 1), "v": (4, 4, 3, 3)}),
    "composition-in-a-branch": (
        "a = Conv(x, w)  b = Conv(a, v)  c = Conv(x, u)  y = Add(b, c)",
        {"w": (4, 4, 1, 1), "v": (4, 4, 3, 3), "u": (4, 4, 3, 3)},
    ),
    "pooled": (
        "a = Conv(x, w)  y = AveragePool<kernel_shape=[2,2], strides=[2,2]>(a)",
        {"w": (4, 4, 1, 1)},
    ),
    "larger-window": (
        "a = Conv<pads=[0,1,0,1]>(x, w)  b = Conv<pads=[1,0,1,0]>(x, v)  y = Add(a, b)",
        {"w": (4, 4, 1, 3), "v": (4, 4, 3, 1)},
    ),
    "wider-groups": (
        "a = Conv<group=4, pads=[1,1,1,1]>(x, w)  b = Conv(x, v)  y = Add(a, b)",
        {"w": (4, 1, 3, 3), "v": (4, 4, 1, 1)},
    ),
    "siblings": ("a = Conv(x, w)  b = Conv(x, v)  y = Concat<axis=1>(a, b)", {"w": (2, 4, 1, 1), "v": (2, 4, 1, 1)}),
    "gain-before": ("a = Mul(x, s)  y = Conv(a, w)", {"w": (4, 4, 3, 3), "s": (1,)}),
}


def one_step(steps, weights):
    return fuse(build(f"net (float[1,4,9,11] x) => (float[N,C,H,W] y) {{ {steps} }}", **weights))


@pytest.mark.parametrize("name", PLAIN)
def test_plain_folds_are_never_doubtful(name):
    fusion = one_step(*PLAIN[name])
    assert len(fusion.regions) == 1
    assert not fusion.doubts


@pytest.mark.parametrize("name", DOUBTFUL)
def test_folds_that_only_a_measurement_can_judge(name):
    (doubt,) = one_step(*DOUBTFUL[name]).doubts
    assert doubt.regions[0].sink == "y"


def test_siblings_that_pay_off_together_are_one_doubt():
    """Both convolutions take in the one before them, which then goes."""
    text = """net (float[1,2,5,7] x) => (float[1,4,5,7] y) {
        r = Relu(x)  a = Conv(r, w)  b = Conv(a, v)  c = Conv(a, u)  d = Relu(b)  e = Sigmoid(c)  y = Mul(d, e)
    }"""
    model = build(text, w=(40, 2, 1, 1), v=(4, 40, 1, 1), u=(4, 40, 1, 1))
    (doubt,) = fuse(model).doubts
    assert doubt.ends == (Ends("r", "b"), Ends("r", "c"))
    kept = fuse(model, decisions=Decisions(doubt.decided(fold=False)))
    assert ops(kept.model).count("Conv") == 3
    assert kept.model is model


def test_tensors_that_a_fold_writes_on_the_way_can_be_decided_about():
    """A product is written before its bias is added, and a second search may end a region there."""
    model = build(
        """net (float[1,5,6] x) => (float[1,5,4] y) {
            r = Relu(x)  a = MatMul(r, w)  b = MatMul(a, v)  c = Add(b, o)  y = Mul(c, s)
        }""",
        w=(6, 8),
        v=(8, 4),
        s=(4,),
        o=(4,),
    )
    keep = {("r", sink): False for sink in ("b", "c", "y")}
    fusion = fuse(model, decisions=Decisions(keep))
    (doubt,) = [doubt for doubt in fusion.doubts if doubt.folded]
    assert doubt.ends == (Ends("r", "y.product"),)
    kept = fuse(model, decisions=Decisions(keep).also(doubt.decided(fold=False)))
    assert ops(kept.model) == ["Relu", "MatMul", "MatMul", "Add"]
    assert not kept.doubts
