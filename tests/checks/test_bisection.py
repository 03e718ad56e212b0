import math

import numpy as np
import onnx
import pytest

from repvgg_onnx.checks import exposure
from repvgg_onnx.checks.bisection import bisect
from repvgg_onnx.checks.exposure import expose, in_batches, private_copy
from repvgg_onnx.checks.inputs import Feed
from repvgg_onnx.errors import CheckError, ModelError
from tests.checks.models import HEADER, model, relu_block
from tests.models import perturbed

CHAIN = """chain (float[N,4,5,7] x) => (float[N,6,5,7] y, float[N,2,5,7] z) {
    a = Conv<pads = [1,1,1,1]>(x, first)
    b = Relu(a)
    c = Conv<pads = [1,1,1,1]>(b, second)
    y = Relu(c)
    d = Conv(b, third)
    z = Tanh(d)
}"""
WEIGHTS = {"first": (6, 4, 3, 3), "second": (6, 6, 3, 3), "third": (2, 6, 1, 1)}


def chain() -> onnx.ModelProto:
    return model(CHAIN, WEIGHTS)


def renamed(original: onnx.ModelProto, **names: str) -> onnx.ModelProto:
    """A copy with inner tensors of other names."""
    text = onnx.printer.to_text(original)
    changed = onnx.ModelProto()
    changed.CopyFrom(original)
    for node in changed.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    assert onnx.printer.to_text(changed) != text
    return changed


def test_equal_models_have_equal_tensors_in_the_first_models_order():
    found = bisect(chain(), chain(), seeds=(4,))
    assert [tensor.name for tensor in found.tensors] == ["a", "b", "c", "y", "d", "z"]
    assert {tensor.error for tensor in found.tensors} == {0.0}
    assert found.origins == ()
    assert found.level == "ORT_DISABLE_ALL"
    assert found.feeds == ("normal, seed 4", "border, seed 4", "picture 0 to 1, seed 4")
    assert (found.tolerance, found.obstacle) == (1e-5, "")
    assert found.tolerance_reason.startswith("1e-05: float32")


def test_the_first_tensor_that_differs_is_an_origin_and_what_follows_is_not():
    found = bisect(chain(), perturbed(chain(), 1e-2, name="second"), seeds=(0,))
    (origin,) = found.origins
    assert (origin.name, origin.op_type, origin.node, origin.members) == ("c", "Conv", "c", ("c",))
    assert origin.error > 1e-4
    assert origin.error_of_inputs == 0
    y = next(tensor for tensor in found.tensors if tensor.name == "y")
    assert (y.error > 1e-5, y.origin, y.error_of_inputs) == (True, False, origin.error)
    assert {tensor.name for tensor in found.tensors if tensor.error == 0} == {"a", "b", "d", "z"}
    assert {tensor.name for tensor in found.worst[:2]} == {"c", "y"}


def test_errors_that_arise_in_several_places_are_all_found():
    wrong = perturbed(perturbed(chain(), 1e-2, name="second"), 1e-2, name="third")
    assert [tensor.name for tensor in bisect(chain(), wrong, seeds=(0,)).origins] == ["c", "d"]


def test_tensors_of_one_model_only_are_passed_over_and_their_nodes_named():
    wrong = renamed(perturbed(chain(), 1e-2, name="first"), a="p", b="q")
    found = bisect(chain(), wrong, seeds=(0,))
    assert [tensor.name for tensor in found.tensors] == ["c", "y", "d", "z"]
    assert [(tensor.name, tensor.members) for tensor in found.origins] == [
        ("c", ("a", "b", "c")),
        ("d", ("a", "b", "d")),
    ]


def test_names_of_nodes_are_given_where_they_have_any():
    named = chain()
    named.graph.node[2].name = "/stage/Conv"
    (origin,) = bisect(named, perturbed(chain(), 1e-2, name="second"), seeds=(0,)).origins
    assert origin.node == "/stage/Conv"


def test_the_tolerance_decides_what_differs():
    wrong = perturbed(chain(), 1e-3, name="second")
    found = bisect(chain(), wrong, seeds=(0,), tolerance=0.5)
    assert found.origins == ()
    assert found.worst[0].error > 1e-5
    assert found.tolerance_reason == "0.5: as asked"
    with pytest.raises(CheckError, match="tolerance"):
        bisect(chain(), wrong, tolerance=-1)


def test_another_shape_is_an_origin_with_a_reason():
    other = model(
        CHAIN.replace("Conv(b, third)", "Conv<strides = [2,3]>(b, third)").replace("2,5,7] z", "2,3,3] z"), WEIGHTS
    )
    (origin,) = bisect(chain(), other, seeds=(0,)).origins
    assert (origin.name, origin.error) == ("d", math.inf)
    assert origin.reason == "the shape is (1, 2, 3, 3) instead of (1, 2, 5, 7)"


def test_only_floating_point_tensors_are_compared_and_others_are_passed_over():
    text = """g (float[2,6] x) => (float[2,1] y) {{
        s = {}(x)
        i = ArgMax<axis = 1>(s)
        f = Cast<to = 1>(i)
        p = SequenceConstruct(f)
        y = SequenceAt(p, first)
    }}"""
    first = {"first": np.array(0)}
    found = bisect(model(text.format("Identity"), first), model(text.format("Neg"), first), seeds=(0,))
    assert [tensor.name for tensor in found.tensors] == ["s", "f", "y"]
    assert [tensor.name for tensor in found.origins] == ["s"]


def test_tensors_that_a_body_captures_are_what_its_node_is_computed_from():
    text = """g (bool[1] c, float[2,3] x) => (float[2,3] y) {{
        a = {}(x)
        y = If (c) <
            then_branch = t () => (float[2,3] p) {{ p = Relu(a) }},
            else_branch = e () => (float[2,3] q) {{ q = Neg(a) }}
        >
    }}"""
    found = bisect(model(text.format("Identity")), model(text.format("Abs")), seeds=(0,))
    assert [(tensor.name, tensor.origin) for tensor in found.tensors] == [("a", True), ("y", False)]
    assert found.tensors[1].error_of_inputs == found.tensors[0].error > 0


def test_models_without_a_common_name_cannot_be_compared_inside():
    other = model(RENAMED, {"kernel": (6, 4, 3, 3), "bias": (6,)})
    found = bisect(relu_block(), other, seeds=(0,))
    assert found.tensors == found.origins == ()
    assert found.obstacle == "the models compute no tensors of the same names"


RENAMED = """block (float[N,4,5,7] x) => (float[N,6,5,7] other) {
    t = Conv<pads = [1,1,1,1]>(x, kernel, bias)
    other = Relu(t)
}"""


def test_a_second_model_that_fails_to_run_is_an_obstacle_and_a_first_one_an_error():
    good = model("g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }")
    broken = model("g (float[N,6] x) => (float[M,7] y) { y = Reshape(x, shape) }", {"shape": np.array([5, 7])})
    found = bisect(good, broken, seeds=(0,))
    assert found.tensors == ()
    assert found.obstacle.startswith("the second model fails to run: onnxruntime cannot run the model: ")
    with pytest.raises(CheckError, match="cannot run the model"):
        bisect(broken, good, seeds=(0,))


def test_inputs_shapes_and_ranges_are_used():
    clipped = model("g (float[N,4] x) => (float[N,4] y) { y = Clip(x, low) }", {"low": np.array(-1000, np.float32)})
    plain = model("g (float[N,4] x) => (float[N,4] y) { y = Identity(x) }")
    assert bisect(plain, clipped, shapes={"x": (3, 4)}).origins == ()
    (origin,) = bisect(plain, clipped, inputs={"x": np.full((2, 4), -2000, np.float32)}).origins
    assert origin.feed == "inputs"
    (origin,) = bisect(plain, clipped, ranges={"x": (-3000, -2000)}, seeds=(1,)).origins
    assert origin.feed.endswith("seed 1")


def test_the_models_are_not_changed(tmp_path):
    first, second = chain(), perturbed(chain(), 1e-2, name="second")
    before = first.SerializeToString(), second.SerializeToString()
    path = tmp_path / "chain.onnx"
    onnx.save(first, path)
    bisect(first, second, seeds=(0,))
    bisect(path, second.SerializeToString(), seeds=(0,))
    assert (first.SerializeToString(), second.SerializeToString()) == before
    assert list(tmp_path.iterdir()) == [path]


def test_external_data_is_found_beside_the_model(tmp_path):
    path = tmp_path / "chain.onnx"
    onnx.save(chain(), path, save_as_external_data=True, location="chain.bin", size_threshold=0)
    (origin,) = bisect(path, perturbed(chain(), 1e-2, name="second"), seeds=(0,)).origins
    assert origin.name == "c"
    (tmp_path / "chain.bin").unlink()
    with pytest.raises(ModelError):
        bisect(path, chain())


# Batches


SIZES = {"a": 420, "b": 420, "c": 420, "y": 420, "d": 140, "z": 140}  # float64 values of two rows


@pytest.mark.parametrize(
    ("limit", "batches"),
    [
        (10**9, [["a", "b", "c", "y", "d", "z"]]),
        (8 * 840, [["a", "b"], ["c", "y"], ["d", "z"]]),
        (1, [["a"], ["b"], ["c"], ["y"], ["d"], ["z"]]),
    ],
)
def test_as_many_tensors_are_exposed_at_once_as_fit(monkeypatch, limit, batches):
    monkeypatch.setattr(exposure, "BYTES_AT_ONCE", limit)
    feeds = [Feed("small", {"x": np.ones((1, 4, 5, 7))}), Feed("large", {"x": np.ones((2, 4, 5, 7))})]
    assert list(in_batches(chain(), list(SIZES), feeds)) == batches


def test_a_tensor_of_unknown_size_is_taken_for_a_large_one(monkeypatch):
    monkeypatch.setattr(exposure, "BYTES_AT_ONCE", 2**23)
    odd = onnx.parser.parse_model(
        HEADER.replace("]>", ', "odd" : 1]>') + "g (float[2,3] x) => (float[2,3] y) { h = odd.Thing(x) y = Relu(h) }"
    )
    assert list(in_batches(odd, ["h", "y"], [Feed("one", {"x": np.ones((2, 3))})])) == [["h"], ["y"]]


def test_batches_do_not_change_what_is_found(monkeypatch):
    wrong = perturbed(chain(), 1e-2, name="second")
    whole = bisect(chain(), wrong, seeds=(0, 1))
    monkeypatch.setattr(exposure, "BYTES_AT_ONCE", 1)
    assert bisect(chain(), wrong, seeds=(0, 1)) == whole


def test_exposing_again_forgets_the_outputs_before():
    made = private_copy(chain())
    expose(made, ["a"])
    expose(made, ["c", "b"])
    assert [output.name for output in made.graph.output] == ["c", "b"]


@pytest.mark.parametrize("content", [b"\xff" * 40, b"not a model"])
def test_what_cannot_be_read_is_refused(content, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    for source in (content, path, tmp_path / "absent.onnx"):
        with pytest.raises(ModelError, match=r"^cannot be read: [^\n]*$"):
            private_copy(source)
