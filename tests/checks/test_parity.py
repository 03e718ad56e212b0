import math
import weakref

import numpy as np
import onnx
import pytest

from repvgg_onnx.checks import options as options_module
from repvgg_onnx.checks.parity import verify
from repvgg_onnx.checks.session import open_session
from repvgg_onnx.errors import CheckError, ModelError
from tests.checks.models import model, relu_block, without
from tests.checks.noisy import only
from tests.models import perturbed

# Models


def test_a_model_equals_itself_exactly_and_the_report_says_how_it_was_compared():
    parity = verify(relu_block(), relu_block(), shapes={"x": (2, 4, 5, 7)}, seeds=(4,))
    assert parity.passed
    assert parity.error == 0
    assert parity.feeds == ("normal, seed 4", "border, seed 4", "picture 0 to 1, seed 4")
    assert parity.levels == ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL")
    assert parity.tolerance_reason.startswith("1e-05: float32")
    output = only(parity)
    assert (output.name, output.dtype, output.shape, output.tolerance) == ("y", "float32", (2, 6, 5, 7), 1e-5)
    assert output.reason == ""


@pytest.mark.parametrize("name", ["kernel", "bias"])
def test_a_weight_perturbed_by_a_thousandth_fails(name):
    parity = verify(relu_block(), perturbed(relu_block(), 1e-3, name=name), seeds=(0,))
    assert not parity.passed
    assert 1e-5 < parity.error < 1e-2


def test_a_dropped_relu_fails():
    parity = verify(relu_block(), without(relu_block(), "Relu"), seeds=(0,))
    assert not parity.passed
    assert parity.error > 0.1


def test_a_dropped_relu_at_the_input_fails():
    first = model("g (float[1,4,5,7] x) => (float[1,4,5,7] y) { y = Relu(x) }")
    assert not verify(first, without(first, "Relu"), seeds=(0,)).passed


def test_a_bias_that_leaks_into_the_padding_fails():
    """Folding a biased 1x1 into a padded 3x3 is right inside and wrong on the border."""
    weights = {"pointwise": (4, 4, 1, 1), "shift": (4,), "kernel": (6, 4, 3, 3)}
    inner = "t = Conv(x, pointwise, shift)"
    padded = model(
        f"g (float[1,4,9,11] x) => (float[1,6,9,11] y) {{ {inner} y = Conv<pads = [1,1,1,1]>(t, kernel) }}", weights
    )
    leaking = model(
        """g (float[1,4,9,11] x) => (float[1,6,9,11] y) {
            ends = Constant<value = int64[8] {0,0,1,1,0,0,1,1}>()
            wide = Pad(x, ends)
            t = Conv(wide, pointwise, shift)
            y = Conv(t, kernel)
        }""",
        weights,
    )
    assert not verify(padded, leaking, seeds=(0,)).passed


def test_the_tolerance_asked_for_is_used():
    changed = perturbed(relu_block(), 1e-3, name="kernel")
    parity = verify(relu_block(), changed, seeds=(0,), tolerance=0.5)
    assert parity.passed
    assert parity.tolerance_reason == "0.5: as asked"
    for tolerance in (-1.0, math.nan):
        with pytest.raises(CheckError, match="tolerance"):
            verify(relu_block(), changed, tolerance=tolerance)


def test_every_output_is_judged_by_itself():
    text = """g (float[1,4,5,7] x) => (float[1,6,5,7] y, float[1,2,5,7] z) {
        y = Conv<pads = [1,1,1,1]>(x, kernel)
        z = Conv(x, other)
    }"""
    first = model(text, {"kernel": (6, 4, 3, 3), "other": (2, 4, 1, 1)})
    parity = verify(first, perturbed(first, 1e-3, name="other"), seeds=(0,))
    assert [(output.name, output.passed) for output in parity.outputs] == [("y", True), ("z", False)]
    assert parity.error == parity.outputs[1].error > 0
    assert not parity.passed


def test_a_feed_of_the_user_can_be_the_only_one_that_tells_models_apart():
    first = model("g (float[1,4] x) => (float[1,4] y) { y = Identity(x) }")
    clipped = model("g (float[1,4] x) => (float[1,4] y) { y = Clip(x, low) }", {"low": np.array(-1000, np.float32)})
    assert verify(first, clipped).passed
    parity = verify(first, clipped, inputs={"x": np.full((2, 4), -2000, np.float32)})
    assert not parity.passed
    assert only(parity).worst_feed == "inputs, batch 1 of 2"


def without_elements(op_type: str, to: int = 1, width: int = 3) -> onnx.ModelProto:
    """Rows of a tensor from the second to the first, and all of them."""
    text = f"""g (float[2,3] x) => (float[N,M] y, float[2,3] z) {{
        z = {op_type}(x) w = Slice(z, one, one, rows) v = Slice(w, none, width, columns) y = Cast<to = {to}>(v) }}"""
    numbers = {"one": 1, "none": 0, "width": width, "rows": 0, "columns": 1}
    made = model(text, {name: np.int64([number]) for name, number in numbers.items()})
    made.graph.output[0].type.tensor_type.elem_type = to
    return made


def test_an_output_without_elements_passes_and_the_report_says_that_nothing_was_compared():
    parity = verify(without_elements("Relu"), without_elements("Relu"), seeds=(0,))
    assert parity.passed
    assert parity.outputs[0].shape == (0, 3)
    assert parity.remarks == (
        "output 'y' has no elements on these inputs: its type and its shape were compared, and no values",
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"width": 2}, "the shape is (0, 2) instead of (0, 3)"),
        ({"to": 11}, "the type is float64 instead of float32"),
    ],
    ids=["shape", "type"],
)
def test_an_output_without_elements_has_a_type_and_a_shape(changes, reason):
    parity = verify(without_elements("Relu"), without_elements("Relu", **changes), seeds=(0,))
    assert [(output.passed, output.reason) for output in parity.outputs] == [(False, reason), (True, "")]
    assert parity.remarks == ()


def test_an_output_with_elements_on_some_feed_is_compared_there():
    text = "g (float[N,3] x) => (float[M,3] y) { y = Slice(x, one, last, rows) }"
    numbers = {name: np.int64([number]) for name, number in {"one": 1, "last": 9, "rows": 0}.items()}
    row, rows = ({"x": np.ones((count, 3), np.float32)} for count in (1, 2))
    for inputs, remarks in (([row], 1), ([row, rows], 0)):
        parity = verify(model(text, numbers), model(text, numbers), inputs=inputs, seeds=())
        assert (parity.passed, len(parity.remarks)) == (True, remarks)


def test_missing_and_additional_outputs_fail_with_a_reason():
    both = model("g (float[2,3] x) => (float[2,3] y, float[2,3] z) { y = Relu(x) z = Neg(x) }")
    one = model("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    for parity, reason in (
        (verify(both, one), "the second model has no such output"),
        (verify(one, both), "the original has no such output"),
    ):
        y, z = parity.outputs
        assert y.passed
        assert (z.name, z.passed, z.error, z.reason) == ("z", False, math.inf, reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("g (float[2,3] x) => (double[2,3] y) { y = Cast<to = 11>(x) }", "the type is float64 instead of float32"),
        ("g (float[2,3] x) => (float[3,2] y) { y = Transpose(x) }", "the shape is (3, 2) instead of (2, 3)"),
        (
            "g (float[2,3] x) => (float[2,3] y) { y = Sqrt(x) }",
            "the second model's output holds NaN or infinity, and the original's does not",
        ),
    ],
)
def test_another_type_shape_or_nan_fails_with_a_reason(text, reason):
    output = only(verify(model("g (float[2,3] x) => (float[2,3] y) { y = Identity(x) }"), model(text), seeds=(0,)))
    assert not output.passed
    assert output.error == math.inf
    assert output.reason == reason


def test_something_instead_of_zeros_fails_with_a_reason():
    zeros = model("g (float[2,3] x) => (float[2,3] y) { y = Sub(x, x) }")
    output = only(verify(zeros, model("g (float[2,3] x) => (float[2,3] y) { y = Identity(x) }")))
    assert output.reason == "the second model's output is not all zeros, as the original's is"


def test_nan_in_both_models_is_no_difference():
    root = model("g (float[2,3] x) => (float[2,3] y) { y = Sqrt(x) }")
    twice = model("g (float[2,3] x) => (float[2,3] y) { h = Identity(x) y = Sqrt(h) }")
    assert verify(root, twice).error == 0


NOTHING = "g (float[2,3] x) => (float[2,3] y) { e = Exp(x) h = Neg(e) y = Sqrt(h) }"


def test_an_output_of_nothing_but_nan_is_decided_by_what_leads_to_it():
    parity = verify(model(NOTHING), model(NOTHING))
    assert parity.passed
    assert (only(parity).error, only(parity).decided_by) == (math.inf, "inner tensors")
    assert only(parity).remark == "output 'y' is all NaN and infinity on these inputs"
    assert [tensor.name for tensor in parity.inner] == ["e", "h", "y"]
    assert parity.error == 0
    wrong = verify(model(NOTHING), model(NOTHING.replace("h = Neg(e)", "squares = Mul(e, e) h = Neg(squares)")))
    assert not wrong.passed
    assert only(wrong).reason.startswith("tensor 'h' inside differs: its error is ")


def test_nothing_but_infinity_and_no_tensor_before_it_proves_nothing():
    logarithm = model("g (float[2,3] x) => (float[2,3] y) { y = Log(x) }")
    parity = verify(logarithm, logarithm, inputs={"x": -np.ones((2, 3), np.float32)}, seeds=())
    assert not parity.passed
    assert only(parity).reason.startswith("it is all NaN and infinity in the original too")


def test_one_feed_with_numbers_is_enough_to_compare():
    logarithm = model("g (float[2,3] x) => (float[2,3] y) { y = Log(x) }")
    nothing = {"x": -np.ones((2, 3), np.float32)}
    assert not verify(logarithm, logarithm, inputs=nothing, seeds=()).passed
    something = {"x": np.ones((2, 3), np.float32)}
    assert verify(logarithm, logarithm, inputs=[nothing, something], seeds=()).passed


def test_nan_that_the_user_feeds_must_come_out_in_the_same_places():
    holes = {"x": np.array([[np.nan, 1, -2], [3, np.inf, -5]], np.float32)}
    same = model("g (float[2,3] x) => (float[2,3] y) { y = Identity(x) }")
    spread = model(
        "g (float[2,3] x) => (float[2,3] y) { s = Mul(x, zero) y = Add(x, s) }", {"zero": np.zeros(1, np.float32)}
    )
    assert verify(same, spread).passed
    assert verify(same, same, inputs=holes, seeds=()).error == 0
    output = only(verify(same, spread, inputs=holes, seeds=()))
    assert (output.error, output.reason) == (
        math.inf,
        "both outputs hold NaN or infinity, and not in the same places",
    )


def test_an_empty_output_passes():
    nothing = model("g (float[2,3] x) => (float[0,3] y) { y = Slice(x, zero, zero) }", {"zero": np.array([0])})
    assert verify(nothing, nothing, seeds=(0,)).passed


def test_a_second_model_that_fails_to_run_fails_with_a_reason():
    first = model("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }")
    shape = {"shape": np.array([5, 7])}
    broken = model("g (float[N,6] x) => (float[M,7] y) { y = Reshape(x, shape) }", shape)
    output = only(verify(first, broken, seeds=(0,)))
    assert not output.passed
    assert output.reason.startswith("the second model fails to run: ")
    with pytest.raises(CheckError, match="cannot run the model"):
        verify(broken, first, seeds=(0,))


ARG_MAX = "g (float[N,4] x) => (int64[N] y) { t = MatMul(x, kernel) y = ArgMax<axis = 1, keepdims = 0>(t) }"


def test_integer_outputs_are_the_fraction_that_differs():
    kernel = np.random.default_rng(1).standard_normal((4, 6)).astype(np.float32)
    first = model(ARG_MAX, {"kernel": kernel})
    assert verify(first, first).error == 0
    rolled = model(ARG_MAX, {"kernel": np.roll(kernel, 1, axis=1)})
    output = only(verify(first, rolled, shapes={"x": (8, 4)}, seeds=(0,)))
    assert (output.dtype, output.error, output.passed) == ("int64", 1.0, False)


def test_an_argmax_must_be_equal_where_the_original_agrees_with_itself():
    text = "g (float[N,2] x) => (int64[N] y) { h = Add(x, nudge) y = ArgMax<axis = 1, keepdims = 0>(h) }"
    first, second = (model(text, {"nudge": np.array([0, nudge], np.float32)}) for nudge in (0, 1e-3))
    scores = np.tile(np.array([3, 5], np.float32), (200_000, 1))
    scores[7] = [5, 4.9995]  # nearer than the nudge, and farther than any noise
    output = only(verify(first, second, inputs={"x": scores}, seeds=()))
    assert (output.error, output.tolerance, output.passed) == (1 / 200_000, 0, False)
    assert only(verify(first, second, inputs={"x": scores}, seeds=(), tolerance=1e-3)).passed


def test_integers_index_an_embedding():
    text = "g (int64[N,T] i) => (float[N,T,6] y) { y = Gather(table, i) }"
    first = model(text, {"table": (10, 6)})
    assert verify(first, first, shapes={"i": (2, 5)}).passed
    assert not verify(first, perturbed(first, 1e-3, name="table"), seeds=(0,)).passed
    with pytest.raises(CheckError, match="cannot run the model"):
        verify(model(text, {"table": (3, 6)}), first)


# Memory


def test_each_session_is_opened_once_and_those_of_one_level_are_closed_before_others_are_opened(monkeypatch):
    opened, alive, levels = [], [], []

    def open_watched(source, *, level, **conditions):
        alive.append(sum(watched() is not None for watched in opened))
        levels.append(level)
        session = open_session(source, level=level, **conditions)
        opened.append(weakref.ref(session))
        return session

    monkeypatch.setattr(options_module, "open_session", open_watched)
    assert verify(relu_block(), relu_block(), seeds=(0,)).passed
    assert levels == ["ORT_DISABLE_ALL"] * 2 + ["ORT_ENABLE_ALL"] * 2
    assert alive == [0, 1, 0, 1]


HALF = "g (float16[1,4,5,7] x) => (float16[1,6,5,7] y) { y = Conv<pads = [1,1,1,1]>(x, kernel) }"


def test_half_precision_gets_its_own_tolerance():
    first = model(HALF, {"kernel": (6, 4, 3, 3)}, np.float16)
    parity = verify(first, first)
    assert parity.passed
    assert only(parity).dtype == "float16"
    assert only(parity).tolerance == 1e-2
    assert not verify(first, perturbed(first, 0.1, name="kernel")).passed


def test_half_precision_inside_a_float32_interface_gets_the_same():
    text = """g (float[1,4] x) => (float[1,6] y) {
        h = Cast<to = 10>(x)
        t = MatMul(h, kernel)
        y = Cast<to = 1>(t)
    }"""
    first = model(text, {"kernel": (4, 6)}, np.float16)
    output = only(verify(first, first))
    assert (output.dtype, output.tolerance) == ("float32", 1e-2)


def test_bfloat16_and_strings_and_double():
    for type_, expected in (("bfloat16", 5e-2), ("double", 1e-10)):
        same = model(f"g ({type_}[2,3] x) => ({type_}[2,3] y) {{ y = Identity(x) }}")
        assert only(verify(same, same)).tolerance == expected
    text = model("g (string[2] s, float[1] x) => (string[2] t, float[1] y) { t = Identity(s) y = Relu(x) }")
    parity = verify(text, text, inputs={"s": np.array(["a", "b"], object)}, seeds=())
    assert parity.passed
    assert parity.outputs[0].dtype == "string"


def test_sequences_are_compared_element_by_element():
    text = "g (float[2,3] x) => (seq(float[M,N]) y) {{ a = Relu(x) y = SequenceConstruct({}) }}"
    first = model(text.format("a, x"))
    assert only(verify(first, first)).dtype == "sequence"
    assert verify(first, first).passed
    assert not verify(first, model(text.format("x, a"))).passed
    shorter = only(verify(first, model(text.format("a"))))
    assert shorter.reason == "the output has another number of elements"


def test_maps_are_compared_by_key_and_value():
    def zip_map(labels: list[int]) -> onnx.ModelProto:
        node = onnx.helper.make_node("ZipMap", ["x"], ["y"], domain="ai.onnx.ml", classlabels_int64s=labels)
        made = model("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
        made.graph.node[0].CopyFrom(node)
        floats = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
        maps = onnx.helper.make_map_type_proto(onnx.TensorProto.INT64, floats)
        made.graph.output[0].type.CopyFrom(onnx.helper.make_sequence_type_proto(maps))
        return made

    assert verify(zip_map([5, 6, 7]), zip_map([5, 6, 7])).passed
    assert only(verify(zip_map([5, 6, 7]), zip_map([5, 6, 8]))).error == pytest.approx(1 / 3)


def test_dynamic_axes_are_bound_by_shape_inputs_or_default():
    assert only(verify(relu_block(), relu_block(), seeds=(0,))).shape == (1, 6, 5, 7)
    data = np.ones((3, 4, 5, 7), np.float32)
    assert only(verify(relu_block(), relu_block(), inputs={"x": data}, seeds=(0,))).shape == (3, 6, 5, 7)
    with pytest.raises(CheckError, match="no input 'z'"):
        verify(relu_block(), relu_block(), shapes={"z": (1,)})


def test_what_cannot_be_loaded_is_named_as_such(tmp_path):
    with pytest.raises(ModelError, match="cannot load"):
        verify(relu_block(), b"not a model")
    with pytest.raises(ModelError, match=r"cannot be read.*absent\.onnx"):
        verify(tmp_path / "absent.onnx", relu_block())
    with pytest.raises(ModelError, match="cannot load"):
        verify(relu_block(), tmp_path / "absent.onnx")
