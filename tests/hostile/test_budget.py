"""Kilobytes that stand for gigabytes: left alone, without the memory ever being taken."""

import numpy as np
import onnx
import pytest

from repvgg_onnx import fuse
from repvgg_onnx.cli import cli
from repvgg_onnx.graph.bodies import tensor_bytes
from repvgg_onnx.graph.budget import DEFAULT_MB, MB, OF_ITS_OWN, Budget
from tests.hostile.models import little_memory, scaled
from tests.models import WORST, assert_refuses, assert_same_outputs, build
from tests.oracle import error
from tests.oracle import run as outputs_of

HEAD = "net (float[1,4,5,7] x) => (float y)"
SIZE = 2**15


def unshaped(text: str, **weights) -> onnx.ModelProto:
    """A model whose output may have any shape."""
    model = build(text, **weights)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return model


def computed(expressions: str, **weights) -> onnx.ModelProto:
    """A Conv times a constant ``s`` that the expressions make."""
    return unshaped(f"{HEAD} {{ {expressions}  a = Conv(x, w)  y = Mul(a, s) }}", w=(4, 4, 1, 1), **weights)


HUGE = np.int64([SIZE, SIZE, 4, 1, 1])
EXPRESSIONS = {
    "constant-of-shape": ("s = ConstantOfShape(n)", {"n": HUGE}),
    "expand": ("s = Expand(c, n)", {"c": (1,), "n": HUGE}),
    "tile": ("s = Tile(c, n)", {"c": (1, 1, 1, 1, 1), "n": HUGE}),
    "range": ("s = Range(z, n, o)", {"z": np.array(0), "n": np.array(2**40), "o": np.array(1)}),
    "product": ("e = Expand(c, n)  f = Expand(c, m)  s = MatMul(e, f)", {"c": (1,), "n": [2**22, 1], "m": [1, 2**22]}),
    "one-hot": ("s = OneHot(i, d, v)", {"i": np.zeros(2**10, np.int64), "d": np.array(2**30), "v": np.float32([0, 1])}),
    "many": (
        " ".join(
            f"e{number} = Expand(c{number}, n)  s{number} = ReduceMax<keepdims=0>(e{number})" for number in range(40)
        )
        + " s = Sum("
        + ", ".join(f"s{number}" for number in range(40))
        + ")",
        {"n": np.int64([2**22]), **{f"c{number}": (1,) for number in range(40)}},
    ),
    "unknown-size": ("q = NonZero(c)  m = Cast<to=7>(q)  s = ConstantOfShape(m)", {"c": (4,)}),
}


@pytest.mark.parametrize(("expressions", "weights"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_constants_that_are_huge_only_when_computed_are_not_computed(expressions, weights):
    arrays = {name: np.int64(value) if isinstance(value, list) else value for name, value in weights.items()}
    with little_memory():
        assert_refuses(computed(expressions, **arrays))


FOLDS = {
    "dilation": unshaped(
        f"""net (float[1,2,H,W] x) => (float y) {{
            a = Conv<pads=[{SIZE},{SIZE},{SIZE},{SIZE}], dilations=[{SIZE},{SIZE}]>(x, w3)
            b = Conv<pads=[1,1,1,1]>(x, w2)
            y = Add(a, b)
        }}""",
        w3=(2, 2, 3, 3),
        w2=(2, 2, 3, 3),
    ),
    "window": unshaped(
        f"net (float[1,2,H,W] x) => (float y) {{ a = AveragePool<kernel_shape=[{SIZE},{SIZE}]>(x)  y = Conv(a, w1) }}",
        w1=(2, 2, 1, 1),
    ),
    "window-behind-a-bias": unshaped(
        f"""net (float[1,2,H,W] x) => (float y) {{
            c = Conv(x, w1, b)
            a = AveragePool<kernel_shape=[{SIZE},{SIZE}], pads=[1,1,1,1], count_include_pad=1>(c)
            y = Conv<pads=[1,1,1,1]>(a, w3)
        }}""",
        w1=(2, 2, 1, 1),
        w3=(2, 2, 3, 3),
        b=(2,),
    ),
    "pads": unshaped(
        f"""net (float[1,2,9,11] x) => (float y) {{
            c = Conv(x, w1, b)
            y = Conv<pads=[{SIZE},{SIZE},{SIZE},{SIZE}], strides=[{SIZE},{SIZE}]>(c, w3)
        }}""",
        w1=(2, 2, 1, 1),
        w3=(2, 2, 3, 3),
        b=(2,),
    ),
    "image": unshaped(
        f"""net (float[1,2,{SIZE},{SIZE}] x) => (float y) {{
            c = Conv(x, w1, b)  y = Conv<pads=[1,1,1,1]>(c, w3)
        }}""",
        w1=(2, 2, 1, 1),
        w3=(2, 2, 3, 3),
        b=(2,),
    ),
    "channels": unshaped(
        f"net (float[1,{2**40},5,7] x) => (float y) {{ a = Mul(x, s)  b = Add(a, x)  y = Conv<group={2**40}>(b, w) }}",
        s=(1,),
        w=(2, 1, 1, 1),
    ),
    "scattered": unshaped(
        f"""net (float[1,2,{SIZE},{SIZE}] x) => (float y) {{
            c = Conv<pads=[1,1,1,1]>(x, w1, b)  y = ScatterND(c, i, u)
        }}""",
        w1=(2, 2, 1, 1),
        b=(2,),
        i=np.int64([[0, 0, 0, 0]]),
        u=np.float32([1]),
    ),
}


@pytest.mark.parametrize("model", FOLDS.values(), ids=FOLDS)
def test_folds_that_would_be_huge_are_not_made(model):
    with little_memory():
        assert_refuses(model)


def test_many_channels_in_between_are_not_multiplied_by_themselves():
    many = 2**13
    model = unshaped(
        f"net (float[1,1,H,W] x) => (float y) {{ a = Conv(x, w)  y = Conv<group={many}, pads=[1,1,1,1]>(a, v) }}",
        w=(many, 1, 1, 1),
        v=(many, 1, 3, 3),
    )
    with little_memory():
        fused = fuse(model).model
    assert len(fused.graph.node) == 1
    given = {"x": np.random.default_rng(0).normal(size=(1, 1, 5, 7)).astype(np.float32)}
    assert error(outputs_of(model, given)[0], outputs_of(fused, given)[0]) <= WORST


def grown(size: int) -> onnx.ModelProto:
    """A Conv that folds to a Conv and a term for each of 4 channels and so many positions."""
    text = f"""net (float[1,4,{size},7] x) => (float[1,4,{size},7] y) {{
        a = Conv(x, w, b)  y = Conv<pads=[1,1,1,1]>(a, v)
    }}"""
    return build(text, w=(4, 4, 1, 1), b=(4,), v=(4, 4, 3, 3))


def test_the_limit_is_the_users(tmp_path, run):
    path = tmp_path / "model.onnx"
    model = grown(10_000)  # 1.1 MB, where the model has 1 kB
    path.write_bytes(model.SerializeToString())

    assert_refuses_within(model, 1)
    assert len(fuse(model, max_constant_mb=2).regions) == 1
    assert run("fuse", path, "--check", "--max-constant-mb", "1").code == 0
    assert run("fuse", path, "--check", "--max-constant-mb", "2").code == 1
    assert run("fuse", path, "--check").code == 1
    shown = run("inspect", path, "--max-constant-mb", "0").out
    assert "too-large" in shown
    assert "--max-constant-mb" in shown
    assert run("inspect", path, "--max-constant-mb", "-1").code == 2


def assert_refuses_within(model: onnx.ModelProto, megabytes: int) -> None:
    fusion = fuse(model, max_constant_mb=megabytes)
    assert fusion.model is model
    assert {refusal.code for refusal in fusion.refusals} == {"too-large"}


def test_a_model_may_always_compute_as_much_as_it_stores():
    model = scaled()
    assert len(fuse(model, max_constant_mb=0).regions) == 1
    assert_same_outputs(model, fuse(model, max_constant_mb=0).model)


def test_the_default_of_the_command_line_is_that_of_the_function():
    for command in ("fuse", "inspect"):
        (option,) = (each for each in cli.commands[command].params if each.name == "max_constant_mb")
        assert option.default == DEFAULT_MB


def test_a_budget_is_spent_once():
    budget = Budget(10)
    assert budget.spend(4)
    assert not budget.spend(7)
    assert budget.allows(6)
    assert budget.spend(6)
    assert not budget.spend(1)
    assert budget.spend(0)


def test_a_budget_grows_with_the_model():
    stored = sum(len(tensor.raw_data) for tensor in scaled().graph.initializer)
    assert Budget.beyond(tensor_bytes(scaled()), 3).left == 3 * MB + OF_ITS_OWN * stored
