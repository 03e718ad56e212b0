"""One random graph through fuse(), and everything that has to hold."""

from collections import Counter

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from repvgg_onnx import Fusion, fuse
from tests.models import assert_explained, assert_settled
from tests.oracle import error, run

Feeds = dict[str, np.ndarray]
WORST = 1e-5


def assert_holds(model: onnx.ModelProto, given: Feeds, *, twice: bool = True) -> Fusion:
    """The fused model is valid, computes the same and is final; the input is untouched.

    Args:
        model: a valid model with float32 inputs.
        given: a value for each of them.
        twice: fuse it once more, and compare the bytes.
    """
    before = model.SerializeToString(deterministic=True)
    fusion = fuse(model)
    assert model.SerializeToString(deterministic=True) == before, "the input was changed"
    assert_explained(fusion)
    unchanged = fusion.model is model
    assert unchanged == (not fusion.regions), "another object without a fold, or the same with one"
    if unchanged:
        return fusion
    onnx.checker.check_model(fusion.model, full_check=True)
    assert_agree(model, fusion.model, given)
    assert_settled(fusion)
    if twice:
        again = fuse(before).model.SerializeToString(deterministic=True)
        assert again == fusion.model.SerializeToString(deterministic=True), "other bytes the second time"
    return fusion


def kinds(fusion: Fusion) -> Counter[str]:
    """What there was to see: emitted operators, regions with branches and with chains, and codes of refusals."""
    seen = Counter({"graphs": 1, "graphs that fold": bool(fusion.regions), "regions": len(fusion.regions)})
    for region in fusion.regions:
        seen[f"emitted {region.op_type}"] += 1
        seen["regions with branches"] += len(region.branches) > 1
        seen["regions with chains"] += any("→" in branch for branch in region.branches)
        seen["grouped kernels"] += region.group > 1
        seen["moved maps"] += bool(region.moved)
        if region.moved:
            words = region.moved.partition(" moved ")[2].split(" x")[0]
            seen[f"moved {words}"] += 1
    return seen + Counter(f"refused {refusal.code}" for refusal in fusion.refusals)


def assert_agree(before: onnx.ModelProto, after: onnx.ModelProto, given: Feeds) -> None:
    """Every output is the same.

    Where sums cancel, what is left is rounding, and normalized errors say nothing: there the fused model has to be as
    close to what the graph gives in float64 as the graph itself is.
    """
    expected, actual = run(before, given), run(after, given)
    assert all(np.all(np.isfinite(array)) for array in (*expected, *actual)), "not finite"
    if all(error(*pair) <= WORST for pair in zip(expected, actual, strict=True)):
        return
    wide = {name: array.astype(np.float64) for name, array in given.items()}
    exact = ReferenceEvaluator(widened(before)).run(None, wide)
    for number, (true, ours, theirs) in enumerate(zip(exact, expected, actual, strict=True)):
        allowed = max(2 * np.max(np.abs(ours - true)), WORST * np.max(np.abs(true)))
        found = np.max(np.abs(theirs - true))
        assert found <= allowed, f"output {number} is off by {found:.1e}, and {allowed:.1e} is allowed"


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with every float32 replaced by a float64."""
    wide = onnx.ModelProto.FromString(model.SerializeToString())
    for value in (*wide.graph.input, *wide.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in wide.graph.initializer:
        _widen(tensor)
    for attribute in (attribute for node in wide.graph.node for attribute in node.attribute):
        if attribute.name == "to":
            attribute.i = TensorProto.DOUBLE
        elif attribute.type == onnx.AttributeProto.TENSOR:
            _widen(attribute.t)
    return wide


def _widen(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
