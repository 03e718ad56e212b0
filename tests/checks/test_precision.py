import numpy as np
import onnx
import pytest

from repvgg_onnx.checks.exposure import parsed
from repvgg_onnx.checks.precision import TOLERANCES, tolerance_of
from tests.checks.models import BFLOAT16, model

PLAIN = "g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }"
CAST = "g (float[2,3] x) => (float[2,3] y) { h = Cast<to = 10>(x) y = Cast<to = 1>(h) }"
CONSTANT = "g (float[2,3] x) => (float[2,3] y) { k = Constant<value = float16[1] {1}>() y = Relu(x) }"
BRANCH = """g (float[2,3] x, bool[1] c) => (float[2,3] y) {
    y = If (c) <
        then_branch = a () => (float[2,3] p) { h = Cast<to = 16>(x) p = Cast<to = 1>(h) },
        else_branch = b () => (float[2,3] q) { q = Relu(x) }
    >
}"""


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (PLAIN, "float32"),
        (PLAIN.replace("float[", "double["), "float64"),
        (PLAIN.replace("float[", "float16["), "float16"),
        (CAST, "float16"),
        (CONSTANT, "float16"),
        (BRANCH, "bfloat16"),
    ],
)
def test_the_least_precise_type_decides_and_is_named(text, name):
    limit, reason = tolerance_of(model(text))
    assert limit == TOLERANCES[name]
    assert reason.startswith(f"{limit:g}: {name} is the least precise type in the model; about ")


@pytest.mark.parametrize(
    ("type_", "roundings"),
    [("double", "900,000"), ("float", "170"), ("float16", "20"), ("bfloat16", "13")],
)
def test_the_reason_counts_roundings_in_words(type_, roundings):
    _, reason = tolerance_of(model(PLAIN.replace("float[", f"{type_}[")))
    assert reason.endswith(f"about {roundings} roundings")


def test_weights_count():
    graph = model("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }", {"k": np.ones(2, BFLOAT16)})
    assert tolerance_of(graph)[0] == TOLERANCES["bfloat16"]


STORED = "g (float[2,3] x) => (float[2,3] y) { w = Cast<to = 1>(k) y = Mul(x, w) }"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (STORED, "float32"),
        (STORED.replace("w = Cast", "k = Constant<value = float16[3] {1, 2, 3}>() w = Cast"), "float32"),
        (STORED.replace("<to = 1>", "<to = 16>").replace("Mul(x, w)", "Cast<to = 1>(w)"), "bfloat16"),
        (STORED.replace("y = Mul", "h = Neg(k) y = Mul"), "float16"),
        (STORED.replace("(float[2,3] y)", "(float[2,3] y, float16[3] k)"), "float16"),
        (STORED.replace("y = Mul", "v = Identity(k) u = Cast<to = 1>(v) y = Mul"), "float16"),
    ],
)
def test_weights_that_are_stored_in_a_type_and_cast_to_another_round_nothing(text, name):
    stored = {} if "Constant" in text else {"k": np.ones(3, np.float16)}
    assert tolerance_of(model(text, stored))[0] == TOLERANCES[name]


@pytest.mark.parametrize("reader", ["v = Cast<to = 1>(k)", "n = Neg(k) v = Cast<to = 1>(n)"])
def test_what_a_branch_reads_counts_as_well(reader):
    text = BRANCH.replace("<to = 16>", "<to = 1>").replace("q = Relu(x)", f"{reader} q = Mul(x, v)")
    expected = "float16" if "Neg" in reader else "float32"
    assert tolerance_of(model(text, {"k": np.ones(3, np.float16)}))[0] == TOLERANCES[expected]


def test_functions_count():
    graph = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["" : 21, "f" : 1]>
        g (float[2,3] x) => (float[2,3] y) { y = f.half(x) }
        <domain: "f", opset_import: ["" : 21]>
        half (x) => (y) { h = Cast<to = 10>(x) y = Cast<to = 1>(h) }"""
    )
    assert tolerance_of(graph)[0] == TOLERANCES["float16"]


def test_a_model_without_floating_point_must_be_exact():
    assert tolerance_of(model("g (int64[2,3] x) => (int64[2,3] y) { y = Neg(x) }"))[0] == 0


def test_a_file_is_read_without_its_side_file(tmp_path):
    path = str(tmp_path / "m.onnx")
    graph = model(PLAIN, {"k": np.ones(400, np.float16)})
    onnx.save_model(graph, path, save_as_external_data=True, location="m.bin", size_threshold=0)
    (tmp_path / "m.bin").unlink()
    assert tolerance_of(parsed(path))[0] == TOLERANCES["float16"]
