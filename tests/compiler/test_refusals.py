"""No-op twins: what looks like a region and is none, with the reason, and not a byte changed."""

import numpy as np
import pytest
from onnx import helper

from repvgg_onnx import fuse
from tests.models import BF16, WORST, assert_refuses, assert_same_outputs, batch_norm, build, feeds
from tests.oracle import error, run

BN = "BatchNormalization"
STATISTICS = batch_norm(4)
SIGNATURE = "net (float[1,4,5,7] x) => (float[1,4,5,7] y)"


def model_of(steps: str, *, inputs: str = "", outputs: str = "", out: str = "1,4,5,7", opset: int = 17, **weights):
    """A graph on ``x`` of 1x4x5x7 with a 1x1 kernel ``w`` at hand."""
    signature = f"net (float[1,4,5,7] x{inputs}) => (float[{out}] y{outputs})"
    return build(f"{signature} {{ {steps} }}", opset=opset, **{"w": (4, 4, 1, 1), **weights})


READERS = {
    "shared": {"steps": "a = Conv(x, w)  y = Mul(a, s)  z = Relu(a)", "outputs": ", float[1,4,5,7] z"},
    "graph-output": {"steps": "a = Conv(x, w)  y = Mul(a, s)", "outputs": ", float[1,4,5,7] a"},
    "captured": {
        "steps": """a = Conv(x, w)  y = Mul(a, s)
            z = If(c) <then_branch = one () => (float[1,4,5,7] p) { p = Relu(a) },
                       else_branch = two () => (float[1,4,5,7] q) { q = Neg(x) }>""",
        "inputs": ", bool c",
        "outputs": ", float[1,4,5,7] z",
    },
}


@pytest.mark.parametrize(("code", "graph"), READERS.items(), ids=READERS)
def test_an_intermediate_that_something_else_needs(code, graph):
    assert_refuses(model_of(**graph, s=(1,)), code)


def test_an_intermediate_that_a_subgraph_of_a_subgraph_reads():
    steps = """a = Conv(x, w)  y = Mul(a, s)
        z = If(c) <then_branch = one () => (float[1,4,5,7] p) {
                p = If(c) <then_branch = three () => (float[1,4,5,7] u) { u = Relu(a) },
                           else_branch = four () => (float[1,4,5,7] v) { v = Neg(x) }>
            }, else_branch = two () => (float[1,4,5,7] q) { q = Neg(x) }>"""
    assert_refuses(model_of(steps, inputs=", bool c", outputs=", float[1,4,5,7] z", s=(1,)), "captured")


WEIGHTS = {
    "kernel-is-an-input": ("a = Conv(x, k)  y = Mul(a, s)", "float[4,4,1,1] k", {}, "not-constant"),
    "kernel-may-be-overridden": (
        "a = Conv(x, k)  y = Mul(a, s)",
        "float[4,4,1,1] k",
        {"k": (4, 4, 1, 1)},
        "overridable",
    ),
    "bias-is-an-input": ("a = Conv(x, w, k)  y = Mul(a, s)", "float[4] k", {}, "not-constant"),
    "bias-may-be-overridden": ("a = Conv(x, w, k)  y = Mul(a, s)", "float[4] k", {"k": (4,)}, "overridable"),
    "statistics-are-inputs": (
        f"a = Conv(x, w)  y = {BN}(a, gamma, beta, k, var)",
        "float[4] k",
        STATISTICS,
        "not-constant",
    ),
    "statistics-may-be-overridden": (
        f"a = Conv(x, w)  y = {BN}(a, gamma, beta, k, var)",
        "float[4] k",
        {**STATISTICS, "k": (4,)},
        "overridable",
    ),
    "gain-may-be-overridden": (
        "a = Conv(x, w)  y = Mul(a, k)",
        "float[4,1,1] k",
        {"k": (4, 1, 1)},
        "overridable",
    ),
}


@pytest.mark.parametrize(("steps", "given", "weights", "code"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_that_a_caller_gives(steps, given, weights, code):
    assert_refuses(model_of(steps, inputs=f", {given}", s=(1,), **weights), code)


TRAINING = {
    "one": (15, f"y, m, v = {BN}<training_mode=1>(a, gamma, beta, mean, var)"),
    "fourteen": (14, f"y, m, v = {BN}<training_mode=1>(a, gamma, beta, mean, var)"),
    "five-outputs": (9, f"y, m, v, p, q = {BN}(a, gamma, beta, mean, var)"),
    "dropout": (13, "y = Dropout(a, r, t)"),
    "dropout-without-ratio": (13, 'y = Dropout(a, "", t)'),
    "dropout-of-an-input": (13, "y = Dropout(a, r, u)"),
}


@pytest.mark.parametrize(("opset", "step"), TRAINING.values(), ids=TRAINING)
def test_training_mode(opset, step):
    inputs = ", bool u" if "u)" in step else ""
    constants = {"r": np.array(0.5, np.float32), "t": np.array(True)} if "Dropout" in step else STATISTICS
    model = model_of(f"a = Conv(x, w)  {step}", inputs=inputs, opset=opset, **constants)
    fusion = assert_refuses(model, *(() if inputs else ("training-mode",)))
    assert inputs or any("export again" in refusal.sentence for refusal in fusion.refusals)


PAIRS = {
    "strides-differ": (
        "a = Conv<strides=[2,2]>(x, w)  b = Conv(x, v)  y = Add(a, b)",
        {"v": (4, 4, 3, 4)},
        "1,4,3,4",
    ),
    "sizes-differ": ("a = Conv(x, v)  b = Conv(x, w)  y = Add(a, b)", {"v": (4, 4, 5, 7)}, "1,4,5,7"),
    "channels-differ": ("a = Conv(x, v)  b = Conv(x, w)  y = Add(a, b)", {"v": (1, 4, 1, 1)}, "1,4,5,7"),
    "border-taps": (
        "a = Conv<pads=[1,1,1,1], group=4>(x, u)  y = Conv<pads=[1,1,1,1], group=4>(a, u)",
        {"u": (4, 1, 3, 3)},
        "1,4,5,7",
    ),
    "two-roots": ("a = Conv(x, w)  b = Relu(x)  c = Conv(b, w)  y = Add(a, c)", {}, "1,4,5,7"),
    "not-cheaper": ("a = Conv<pads=[1,1,1,1], group=4>(x, u)  y = Conv(a, w)", {"u": (4, 1, 3, 3)}, "1,4,5,7"),
    "not-per-channel": ("a = Conv(x, w)  y = Mul(a, c)", {"c": (5, 7)}, "1,4,5,7"),
    "channels-grow": ("a = Conv(x, v)  y = Mul(a, c)", {"v": (1, 4, 1, 1), "c": (4, 1, 1)}, "1,4,5,7"),
    "rank-grows": ("a = Conv(x, w)  y = Mul(a, c)", {"c": (1, 1, 4, 1, 1)}, "1,1,4,5,7"),
    "division-by-zero": ("a = Conv(x, w)  y = Div(a, c)", {"c": np.float32([1, 0, 2, 3]).reshape(4, 1, 1)}, "1,4,5,7"),
    "not-finite": ("a = Conv(x, w)  y = Mul(a, c)", {"c": np.float32([np.inf])}, "1,4,5,7"),
    "bad-variance": (
        f"a = Conv(x, w)  y = {BN}(a, gamma, beta, mean, negative)",
        {**STATISTICS, "negative": np.float32([1, 2, -3, 4])},
        "1,4,5,7",
    ),
}


@pytest.mark.parametrize(("steps", "weights", "out"), PAIRS.values(), ids=PAIRS)
def test_maps_without_an_exact_or_cheaper_form(steps, weights, out, request):
    assert_refuses(model_of(steps, out=out, **weights), request.node.callspec.id)


def test_a_relu_inside_a_branch():
    assert_refuses(model_of("a = Conv(x, w)  r = Relu(a)  y = Add(r, x)"))
    steps = "a = Conv(x, w)  r = Relu(a)  b = Conv(x, w)  y = Add(r, b)"
    assert_refuses(model_of(steps), "two-roots")


@pytest.mark.parametrize("step", ["Mul(a, a)", "Div(c, a)", "Mul(a, x)"])
def test_what_is_not_affine(step):
    assert_refuses(model_of(f"a = Conv(x, w)  y = {step}", c=(4, 1, 1)), "not-affine")


def test_the_mask_of_a_dropout():
    model = model_of("a = Conv(x, w)  y, mask = Dropout(a)", outputs=", bool[1,4,5,7] mask")
    assert_refuses(model, "not-affine")


def test_a_batch_of_constants_is_not_one_number_a_channel():
    assert_refuses(model_of("a = Conv(x, w)  y = Mul(a, c)", c=(2, 4, 1, 1), out="2,4,5,7"), "not-per-channel")


def test_a_constant_along_the_width_where_the_width_is_one():
    text = "net (float[1,4,5,1] x) => (float[1,4,5,4] y) { a = Conv(x, w)  y = Mul(a, c) }"
    assert_refuses(build(text, w=(4, 4, 1, 1), c=(4,)), "not-per-channel")


def test_integers():
    steps = "a = Conv(x, w)  b = Cast<to=6>(a)  c = Add(b, b)  y = Cast<to=1>(c)"
    assert_refuses(model_of(steps), "cast")


def test_a_narrower_type_on_the_way_rounds():
    assert_refuses(model_of("a = Conv(x, w)  b = Cast<to=10>(a)  y = Cast<to=1>(b)"), "cast")


def test_an_operator_of_another_domain():
    text = f"""<ir_version: 10, opset_import: ["" : 17, "other" : 1]> {SIGNATURE} {{
        a = Conv(x, w)  b = other.Mul(a, s)  y = other.BatchNormalization(b, gamma, beta, mean, var)
    }}"""
    assert_refuses(build(text, w=(4, 4, 1, 1), s=(1,), **STATISTICS))


@pytest.mark.parametrize(
    ("opset", "attributes", "code"), [(6, "", "old-batch-norm"), (7, "<spatial=0>", "not-per-channel")]
)
def test_other_meanings_of_batch_normalization(opset, attributes, code):
    statistics = dict.fromkeys(STATISTICS, (4, 5, 7)) if attributes else STATISTICS
    attributes = attributes or "<is_test=1>"
    steps = f"a = Conv(x, w)  y = {BN}{attributes}(a, gamma, beta, mean, var)"
    assert_refuses(model_of(steps, opset=opset, **statistics), code)


def test_broadcasting_of_opset_six():
    steps = "a = Conv(x, w)  y = Add<axis=1, broadcast=1>(a, c)"
    assert_refuses(model_of(steps, opset=6, c=(4,)), "old-broadcast")


def test_dropout_of_opset_six():
    assert_refuses(model_of("a = Conv(x, w)  y = Dropout(a)", opset=6), "training-mode")


def test_a_half_precision_overflow():
    model = build(
        "net (float16[1,4,5,7] x) => (float16[1,4,5,7] y) { a = Conv(x, w)  y = Mul(a, c) }",
        dtype=np.float16,
        w=(4, 4, 1, 1),
        c=np.float16([60000.0]),
    )
    assert_refuses(model, "overflow")


def test_a_bfloat16_overflow():
    model = build(
        "net (bfloat16[1,4,5,7] x) => (bfloat16[1,4,5,7] y) { a = Conv(x, w)  y = Mul(a, c) }",
        opset=22,
        dtype=BF16,
        w=np.full((4, 4, 1, 1), 1e30, np.float32).astype(BF16),
        c=np.float32([1e30]).astype(BF16),
    )
    assert_refuses(model, "overflow")


def test_an_unknown_size_where_the_pads_differ():
    text = """net (float[1,4,H,W] x) => (float[1,4,P,Q] y) {
        a = Conv<strides=[2,2], pads=[0,0,1,1]>(x, v)  b = Conv<strides=[2,2]>(x, w)  y = Add(a, b)
    }"""
    model = build(text, w=(4, 4, 1, 1), v=(4, 4, 3, 3))
    assert_refuses(model, "sizes-unknown")
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = -1
    assert_refuses(model, "sizes-unknown")


@pytest.mark.parametrize("end", ["input", "output"])
def test_an_unknown_rank_is_valid_onnx(end):
    model = model_of("a = Conv(x, w)  y = Mul(a, s)", s=(1,))
    given = feeds(model)
    getattr(model.graph, end)[0].type.tensor_type.ClearField("shape")
    fused = fuse(model).model
    assert error(run(model, given)[0], run(fused, given)[0]) <= WORST


def test_an_unknown_number_of_channels_folds_or_stays_but_never_breaks():
    model = model_of("a = Conv(x, w)  y = Mul(a, s)", s=(1,))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "C"
    assert_same_outputs(model, fuse(model).model, x=(1, 4, 5, 7))


def test_a_lone_convolution_or_a_lone_element_wise_node_stays():
    assert_refuses(model_of("y = Conv(x, w)"))
    assert_refuses(model_of("y = Mul(x, s)", s=(1,)))
    assert_refuses(model_of("a = Mul(x, s)  b = Add(a, s)  y = Add(b, x)", s=(4, 1, 1)))


def test_a_batch_norm_between_relus_stays():
    model = model_of(f"a = Relu(x)  b = {BN}(a, gamma, beta, mean, var)  y = Relu(b)", **STATISTICS)
    assert_refuses(model)


def test_attributes_that_do_not_fit():
    for name, value in (("pads", [1, 1]), ("strides", [1]), ("kernel_shape", [3, 3]), ("group", 3), ("pads", [-1] * 4)):
        model = model_of("a = Conv(x, w)  y = Mul(a, s)", s=(1,), out="1,4,P,Q")
        model.graph.node[0].attribute.append(helper.make_attribute(name, value))
        assert_refuses(model)


def test_a_function_that_is_named_like_an_operator_means_what_it_says():
    text = f"""<ir_version: 10, opset_import: ["" : 17, "mine" : 1]> {SIGNATURE} {{
            a = Conv(x, w)  y = mine.Mul(a, s)
        }}
        <domain: "mine", opset_import: ["" : 17]> Mul (p, q) => (r) {{ r = Max(p, q) }}"""
    model = build(text, w=(4, 4, 1, 1), s=(1,))
    assert_refuses(model)
