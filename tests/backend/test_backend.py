"""ONNX's own backend tests: what they say of an operator holds after fuse(), alone and inside a region."""

import warnings
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from repvgg_onnx import Fusion, fuse
from repvgg_onnx.compiler.lifters import LIFTERS
from repvgg_onnx.compiler.lifters.quantized import QUANTIZED
from tests.backend.networks import STORED, light
from tests.models import assert_settled, feeds
from tests.oracle import error, run

FEWEST = 1800  # tests of onnx 1.23, less some, so that none gets lost unnoticed
OLD = sorted(path for kind in ("pytorch-converted", "pytorch-operator", "simple") for path in STORED.glob(f"{kind}/*"))
WHOLE = ("densenet121", "inception_v2", "resnet50", "shufflenet")

# Operators whose tests have an input of two axes or more of which they are an affine map with a kernel before or after.
# The other lifters have tests of one axis only, or of constants that differ from position to position.
FOLDED = {
    *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "Div", "Dropout", "Gemm", "MatMul"),
    *("Mul", "Neg", "Split", "Transpose"),
}


@cache
def node_tests() -> list:
    """Each has a model, and inputs with expected outputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflows and divisions by zero that the tests are about
        from onnx.backend.test.case.node import collect_testcases

        return collect_testcases(None)


def test_no_model_of_one_operator_is_touched():
    """A lone operator never folds, and neither do the nodes of its function body."""
    assert len(node_tests()) >= FEWEST
    touched = []
    for case in node_tests():
        before = case.model.SerializeToString(deterministic=True)
        fusion = fuse(case.model)
        if fusion.regions or fusion.model is not case.model:
            touched.append(case.name)
        assert case.model.SerializeToString(deterministic=True) == before
    assert touched == []


def test_operators_inside_a_region_give_the_expected_outputs():
    """With all inputs but one constant, and a pointwise map of −1 after it, most operators fold."""
    folded = Counter()
    for case in node_tests():
        for model, index, last in dressed(case):
            fusion = fuse(model)
            if fusion.regions:
                folded[case.model.graph.node[0].op_type] += 1
                for inputs, outputs in case.data_sets:
                    assert_expected(case, fusion, inputs[index], -np.asarray(outputs[0]), last=last)
    assert set(folded) >= FOLDED


def dressed(case) -> Iterator[tuple[onnx.ModelProto, int, bool]]:
    """The test's model with one input left and a map after its first output.

    Yields:
        The model, the index of that input, and whether the map reads the last axis as channels.
    """
    graph = case.model.graph
    lifted = LIFTERS.keys() - set(QUANTIZED)
    if len(graph.node) != 1 or graph.node[0].op_type not in lifted or len(case.data_sets) != 1:
        return
    inputs, outputs = case.data_sets[0]
    if getattr(outputs[0], "dtype", None) != np.float32 or np.ndim(outputs[0]) < 2 or not outputs[0].size:
        return
    for index, value in enumerate(inputs):
        if getattr(value, "dtype", None) == np.float32 and np.ndim(value) > 1:
            for last in (False, True):
                yield frozen(case.model, index, inputs, outputs[0], last=last), index, last


def frozen(model: onnx.ModelProto, index: int, inputs: list, output: np.ndarray, *, last: bool) -> onnx.ModelProto:
    """The model with constants for the other inputs, and −1 times its first output as the only output."""
    frozen = onnx.ModelProto.FromString(model.SerializeToString())
    graph = frozen.graph
    for position, value in enumerate(inputs):
        if position != index:
            graph.initializer.append(numpy_helper.from_array(np.asarray(value), graph.input[position].name))
    kept = graph.input[index]
    del graph.input[:], graph.output[:]
    graph.input.append(kept)
    result = graph.node[0].output[0]
    graph.node.append(negation(result, output, last=last))
    weights = -np.eye(output.shape[-1]) if graph.node[1].op_type == "MatMul" else -np.ones(kernel_shape(output))
    graph.initializer.append(numpy_helper.from_array(weights.astype(np.float32), "minus one"))
    graph.output.append(helper.make_tensor_value_info("negated", TensorProto.FLOAT, output.shape))
    return frozen


def kernel_shape(output: np.ndarray) -> tuple[int, ...]:
    return (output.shape[1], *(1,) * (output.ndim - 1))


def negation(tensor: str, output: np.ndarray, *, last: bool) -> onnx.NodeProto:
    if last or output.ndim == 2:
        return helper.make_node("MatMul", [tensor, "minus one"], ["negated"])
    return helper.make_node("Conv", [tensor, "minus one"], ["negated"], group=output.shape[1])


def assert_expected(case, fusion: Fusion, given: np.ndarray, expected: np.ndarray, *, last: bool) -> None:
    model = fusion.model
    (actual,) = outputs_of(model, {model.graph.input[0].name: given})
    np.testing.assert_allclose(actual, expected, rtol=case.rtol, atol=1e-5, err_msg=f"{case.name}, {last}")
    assert_settled(fusion)


def outputs_of(model: onnx.ModelProto, fed: dict[str, np.ndarray]) -> list[np.ndarray]:
    try:
        return run(model, fed)
    except Exception:  # versions that onnxruntime does not run, or not yet
        return ReferenceEvaluator(model).run(None, fed)


def test_models_that_torch_once_exported_keep_their_meaning():
    """Their weights are inputs, which have to be frozen to be constant."""
    assert len(OLD) > 130
    for path in OLD:
        model = onnx.load(path / "model.onnx")
        assert not fuse(model).regions, path.name
        fusion = fuse(model, freeze_initializers=True)
        if fusion.regions:
            (data,) = path.glob("test_data_set_*")
            inputs, outputs = (
                [tensor(file) for file in sorted(data.glob(f"{end}_*.pb"))] for end in ("input", "output")
            )
            fed = dict(zip([value.name for value in fusion.model.graph.input], inputs, strict=True))
            for expected, actual in zip(outputs, outputs_of(fusion.model, fed), strict=True):
                np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-6)


def tensor(path: Path) -> np.ndarray:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_whole_networks_keep_their_meaning(name):
    model = light(name)
    fusion = fuse(model, freeze_initializers=True)
    assert fusion.regions
    given = feeds(model)
    (expected,), (actual,) = run(model, given, "all"), run(fusion.model, given, "all")
    assert np.ptp(expected) > 1e-3, "an output that hardly varies hides mistakes"
    assert error(expected, actual) <= 1e-5
    assert not fuse(fusion.model).regions
