"""Results hold Python's own types, so that they can be written as JSON; numpy's newest releases give numpy's own."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass

import numpy as np
import onnx
import pytest

from repvgg_onnx import benchmark_models, prove, verify
from repvgg_onnx.census import census, profile
from repvgg_onnx.checks.bisection import bisect
from repvgg_onnx.checks.environment import describe_environment
from tests.models import build

PLAIN = (str, bytes, int, float, bool, type(None))
HEAD = "net (float[N,3,5,7] x) => (float[N,4,5,7] f, bool[N,4,5,7] b, int64[N,5,7] i, float[N,K] rows) "
BLOCK = "{ d = Conv<pads=[1,1,1,1]>(x, w3)  p = Conv(x, w1)  f = Add(d, p)  "
TAIL = "b = Greater(f, zero)  i = ArgMax<axis=1,keepdims=0>(f)  rows = Flatten(f) }"


@pytest.fixture(scope="module")
def model():
    """A block with outputs of floating point, booleans and integers, and rows that look like logits."""
    return build(HEAD + BLOCK + TAIL, w3=(4, 3, 3, 3), w1=(4, 3, 1, 1), zero=())


def strangers(value: object, place: str = "result") -> Iterator[str]:
    """Where a result holds what is neither Python's own nor a container or dataclass of that."""
    if is_dataclass(value):
        for field in fields(value):
            if field.repr:  # others are another form of what is shown
                yield from strangers(getattr(value, field.name), f"{place}.{field.name}")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strangers(key, f"{place} key")
            yield from strangers(item, f"{place}[{key!r}]")
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from strangers(item, f"{place}[{index}]")
    elif type(value) not in PLAIN:
        yield f"{place}: {type(value).__module__}.{type(value).__name__}"


def shifted(model):
    other = onnx.ModelProto()
    other.CopyFrom(model)
    tensor = other.graph.initializer[0]
    tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
    return other


@pytest.mark.parametrize("other", [lambda model: model, shifted], ids=["equal", "different"])
def test_a_comparison(model, other):
    labels = np.zeros(2, np.int64)
    inputs = {"x": np.ones((2, 3, 5, 7), np.float32)}

    parity = verify(model, other(model), inputs=inputs, labels=labels)

    assert list(strangers(parity)) == []
    assert {output.dtype for output in parity.outputs} == {"float32", "bool", "int64"}
    assert parity.agreements
    assert type(parity.passed) is bool


def test_numbers_of_numpy_do_not_come_through(model, monkeypatch):
    """What older releases of numpy gave as Python's, the newest gives as its own."""
    count = np.count_nonzero
    monkeypatch.setattr(np, "count_nonzero", lambda *given, **named: np.int64(count(*given, **named)))

    assert list(strangers(verify(model, shifted(model)))) == []


def test_a_proof(model):
    proof = prove(model)

    assert list(strangers((proof.regions, proof.failed, proof.fusion.regions, proof.fusion.refusals))) == []
    assert proof.regions


def test_a_bisection(model):
    assert list(strangers(bisect(model, shifted(model)))) == []


def test_a_census(model):
    assert list(strangers((census(model), profile(model), profile(model, shapes={"x": (2, 3, 5, 7)})))) == []


def test_latencies(model):
    measured = benchmark_models((model, model), seconds=0.05)

    assert list(strangers((measured, measured.latency(), measured.warnings, describe_environment()))) == []
    assert type(measured.latency().low > 1) is bool


def test_the_walk_notices_numpys_types():
    numbers = (np.float64(1), np.bool_(True))
    expected = [f"result['a'][{index}]: numpy.{type(number).__name__}" for index, number in enumerate(numbers)]
    assert list(strangers({"a": numbers})) == expected
    assert list(strangers(json.loads("[1, 2.5, true, null]"))) == []
