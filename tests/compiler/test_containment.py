"""A fault in any lifter, at once or when its numbers are read, costs its region and nothing else."""

import gc
import logging
import re
from dataclasses import replace

import numpy as np
import pytest

from repvgg_onnx import GeometryError, LiftError, ModelError, fuse, prove
from repvgg_onnx.affine.conv import AffineConv
from repvgg_onnx.compiler import plans
from repvgg_onnx.compiler.codes import CODES
from repvgg_onnx.compiler.containment import contained
from repvgg_onnx.compiler.lifters import LIFTERS
from repvgg_onnx.compiler.value import Value
from tests.models import assert_same_outputs, batch_norm, build

# What makes b of a, a tensor of 1x4x5x7 that is affine in x; names of constants say their shapes.
STEPS = {
    "Add": "b = Add(a, per_channel)",
    "AveragePool": "b = AveragePool<kernel_shape=[1,1]>(a)",
    "BatchNormalization": "b = BatchNormalization(a, gamma, beta, mean, var)",
    "Cast": "b = Cast<to=1>(a)",
    "Concat": "k = Neg(a)  b = Concat<axis=1>(a, k)",
    "Conv": "b = Conv(a, square)",
    "ConvInteger": "q, qs, qz = DynamicQuantizeLinear(a)  i = ConvInteger(q, bytes4)  b = Cast<to=1>(i)",
    "ConvTranspose": "b = ConvTranspose(a, square)",
    "DequantizeLinear": "q = QuantizeLinear(a, one, zero)  b = DequantizeLinear(q, one, zero)",
    "Div": "b = Div(a, per_channel)",
    "Dropout": "b = Dropout(a)",
    "DynamicQuantizeLinear": "q, qs, qz = DynamicQuantizeLinear(a)  b = DequantizeLinear(q, qs, qz)",
    "Gemm": "f = Flatten(a)  b = Gemm(f, wide)",
    "Identity": "b = Identity(a)",
    "MatMul": "b = MatMul(a, last)",
    "MatMulInteger": "q, qs, qz = DynamicQuantizeLinear(a)  i = MatMulInteger(q, bytes2)  b = Cast<to=1>(i)",
    "Mean": "b = Mean(a, per_channel)",
    "Mul": "b = Mul(a, per_channel)",
    "Neg": "b = Neg(a)",
    "Pad": "b = Pad(a, pads)",
    "QLinearConv": "q = QuantizeLinear(a, one, zero)  r = QLinearConv(q, one, zero, bytes4, one, zero, one, zero)"
    " b = DequantizeLinear(r, one, zero)",
    "QLinearMatMul": "q = QuantizeLinear(a, one, zero)  r = QLinearMatMul(q, one, zero, bytes2, one, zero, one, zero)"
    " b = DequantizeLinear(r, one, zero)",
    "QuantizeLinear": "q = QuantizeLinear(a, one, zero)  b = DequantizeLinear(q, one, zero)",
    "ScatterND": "b = ScatterND(a, where, what)",
    "Slice": "b = Slice(a, starts, ends, axes)",
    "Split": "b, k = Split<axis=1>(a, halves)",
    "Sub": "b = Sub(a, per_channel)",
    "Sum": "b = Sum(a, per_channel)",
    "Transpose": "b = Transpose<perm=[0,2,3,1]>(a)",
    # Operators that may get a lifter.
    "Clip": "b = Clip(a)",
    "Flatten": "b = Flatten(a)",
    "Gather": "b = Gather<axis=1>(a, axes)",
    "GlobalAveragePool": "b = GlobalAveragePool(a)",
    "Reshape": "b = Reshape(a, shape)",
    "Resize": "b = Resize(a, , scales)",
    "Squeeze": "k = Unsqueeze(a, axes)  b = Squeeze(k, axes)",
    "Unsqueeze": "k = Unsqueeze(a, axes)  b = Squeeze(k, axes)",
}
INTEGERS = {
    "pads": [0] * 8,
    "starts": [0],
    "ends": [2],
    "axes": [1],
    "halves": [2, 2],
    "shape": [1, 4, 7, 5],
    "where": [[[[0, 0, 0, 0]]]],
}
ARRAYS = {
    **{name: np.int64(values) for name, values in INTEGERS.items()},
    "what": np.ones((1, 1, 1), np.float32),
    "one": np.float32(1.0),
    "zero": np.uint8(0),
    "scales": np.float32([1, 1, 2, 2]),
    "bytes4": np.ones((4, 4, 1, 1), np.uint8),
    "bytes2": np.ones((7, 7), np.uint8),
}
SHAPES = {
    "w": (4, 4, 1, 1),
    "v": (4, 4, 1, 1),
    "square": (4, 4, 1, 1),
    "wide": (140, 6),
    "last": (7, 7),
    "per_channel": (4, 1, 1),
    "s": (4, 1, 1),
    **batch_norm(4),
}
FAULTS = [
    LiftError("not-affine", "is not meant to be lifted"),
    GeometryError("transposed", "has no geometry"),
    KeyError("perm"),
    IndexError("out of range"),
    ValueError("does not broadcast"),
    ZeroDivisionError("division by zero"),
    RecursionError("too deep"),
    AssertionError(),
]
KINDS = [type(fault).__name__ for fault in FAULTS]


def model_with(op_type):
    """A region that the operator is part of, if it can be, and one without it."""
    other = "c = Conv(x, v)  z = Mul(c, s)"
    if op_type in ("Conv", "Mul"):
        other = "c = ConvTranspose(x, v)  z = Div(c, s)"
    out = "float[A,B]" if op_type in ("Gemm", "Flatten") else "float[A,B,C,D]"
    signature = f"net (float[1,4,5,7] x) => ({out} y, float[M,I,J,K] z)"
    text = f"{signature} {{ a = Conv(x, w)  {STEPS[op_type]}  y = Neg(b)  {other} }}"
    words = set(re.findall(r"\w+", text))
    weights = SHAPES | {name: np.asarray(array) for name, array in ARRAYS.items()}
    return build(text, **{name: weight for name, weight in weights.items() if name in words})


def raising(fault):
    def fail(*_):
        raise fault

    return fail


def unreadable(value, fault):
    """The value with numbers that raise when they are read."""
    conv = AffineConv.read_by_rows(value.conv.geometry, raising(fault), raising(fault))
    return replace(value, conv=conv)


def late(lift, fault):
    def lifted(*arguments):
        made = lift(*arguments)
        return unreadable(made, fault) if isinstance(made, Value) else [unreadable(each, fault) for each in made]

    return lifted


def test_every_lifter_has_a_step():
    assert set(LIFTERS) <= set(STEPS)


@pytest.mark.parametrize("fault", FAULTS, ids=KINDS)
@pytest.mark.parametrize("op_type", sorted(LIFTERS))
def test_a_lifter_that_fails_costs_its_region_only(monkeypatch, op_type, fault):
    model = model_with(op_type)
    whole = fuse(model, below=False)
    folds = any(member.op_type == op_type for region in whole.regions for member in region.members)
    monkeypatch.setitem(LIFTERS, op_type, replace(LIFTERS[op_type], lift=raising(fault)))

    fusion = fuse(model, below=False)

    assert "z" in {region.sink for region in fusion.regions}
    assert op_type not in {member.op_type for region in fusion.regions for member in region.members}
    if folds:
        expected = getattr(fault, "code", "internal")
        refusals = {refusal.code: refusal for refusal in fusion.refusals if refusal.node in ("a", "b", "k", "y")}
        assert expected in refusals
        assert str(fault).strip("'") in refusals[expected].sentence
    assert {refusal.code for refusal in fusion.refusals} <= set(CODES)


@pytest.mark.parametrize("fault", FAULTS, ids=KINDS)
@pytest.mark.parametrize("op_type", sorted(LIFTERS))
def test_numbers_that_cannot_be_read_cost_their_region_only(monkeypatch, op_type, fault):
    model = model_with(op_type)
    sinks = {region.sink for region in fuse(model, below=False).regions}
    monkeypatch.setitem(LIFTERS, op_type, replace(LIFTERS[op_type], lift=late(LIFTERS[op_type].lift, fault)))

    fusion = fuse(model, below=False)

    assert "z" in {region.sink for region in fusion.regions}
    assert not [region for region in fusion.regions for member in region.members if member.op_type == op_type]
    if not sinks <= {region.sink for region in fusion.regions}:
        assert getattr(fault, "code", "internal") in {refusal.code for refusal in fusion.refusals}


def test_a_majorant_that_cannot_be_read_leaves_a_region_without_its_bound(monkeypatch):
    model = model_with("Div")
    monkeypatch.setattr(AffineConv, "majorant", property(raising(IndexError("majorant"))))

    proof = prove(model)

    assert {"z", "y"} <= {region.sink for region in proof.fusion.regions}


def test_a_fault_while_a_region_is_planned_is_refused(monkeypatch):
    model = model_with("Div")
    monkeypatch.setattr(plans, "form_of", raising(TypeError("no form")))

    fusion = fuse(model)

    assert fusion.model is model
    assert "planning a region failed with TypeError: no form; please report this" in fusion.refusals[-1].sentence


def test_the_traceback_of_a_fault_is_logged(monkeypatch, caplog):
    monkeypatch.setitem(LIFTERS, "Div", replace(LIFTERS["Div"], lift=raising(TypeError("not my type"))))

    with caplog.at_level(logging.DEBUG, "repvgg_onnx"):
        fuse(model_with("Div"))

    assert any(record.exc_info and "not my type" in str(record.exc_info[1]) for record in caplog.records)


@pytest.mark.parametrize("error", [ModelError("cannot be read"), MemoryError(), KeyboardInterrupt()])
def test_what_is_about_the_whole_model_passes_through(error):
    with pytest.raises(type(error)), contained("something"):
        raise error


def test_garbage_is_collected_again_after_a_failure(monkeypatch):
    monkeypatch.setitem(LIFTERS, "Div", replace(LIFTERS["Div"], lift=raising(ModelError("cannot be read"))))

    with pytest.raises(ModelError):
        fuse(model_with("Div"))

    assert gc.isenabled()


def test_a_model_folds_as_before_where_collection_is_off():
    gc.disable()
    try:
        assert len(fuse(model_with("Div")).regions) == 2
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_bias_that_cancels_before_pads_is_proven():
    """The bias is zero, and its size is not: the majorant has the geometry of the map all the same."""
    text = """net (float[1,4,9,11] x) => (float[1,4,9,11] y) {
        a = Conv(x, p)  b = Add(a, t)  c = Sub(b, t)  y = Conv<pads=[1,1,1,1]>(c, w)
    }"""
    model = build(text, p=(4, 4, 1, 1), w=(4, 4, 3, 3), t=(4, 1, 1))

    proof = prove(model)

    assert [region.members[-1].op_type for region in proof.fusion.regions] == ["Conv"]
    assert not proof.failed
    assert_same_outputs(model, proof.fusion.model)


@pytest.mark.parametrize("weight", ["k", "n"])
def test_weights_that_cannot_be_evaluated_where_channels_are_undeclared(weight):
    """What nobody can compute beforehand is refused, although a convolution says how many channels it wants."""
    text = """net (float[N,C,H,W] x) => (float[N,K,H,W] y) {
        k = RandomNormal<shape=[4,4,1,1]>()  n = Unique(v)  a = Conv(x, %s)  y = Mul(a, s)
    }"""
    model = build(text % weight, v=(64,), s=(4, 1, 1))

    assert fuse(model).model is model
