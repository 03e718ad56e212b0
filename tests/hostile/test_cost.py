"""Small files that would take time or memory without end."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from repvgg_onnx import ModelError, fuse, load_model
from repvgg_onnx.graph import evaluate, limits
from repvgg_onnx.graph.storage import fields
from repvgg_onnx.graph.storage.encoding import key
from repvgg_onnx.graph.storage.fields import check_fields
from tests.hostile.models import scaled
from tests.models import assert_same_outputs, build

BOTH = "net (float[1,4,5,7] x) => (float[1,4,5,7] y) {{ t0 = Conv<pads = [1,1,1,1]>(x, w) {} }}"
LADDER = 110


def ladder(step: str) -> onnx.ModelProto:
    """A convolution and LADDER additions, each of the form ``step`` with its own number for ``{i}``."""
    steps = [step.format(i=i, last=i - 1, before=max(i - 2, 0)) for i in range(1, LADDER)]
    return build(
        BOTH.format(" ".join([*steps, f"y = Identity(t{LADDER - 1})"])), w=np.full((4, 4, 3, 3), 1e-3, np.float32)
    )


@pytest.mark.parametrize(
    "step",
    [
        "t{i} = Add(t{last}, t{before})",
        "t{i} = Add(t{last}, t{last})",
        "c{i} = Conv<pads = [1,1,1,1]>(x, w) t{i} = Add(t{last}, c{i})",
    ],
    ids=["fibonacci", "doubling", "branches"],
)
def test_sums_of_sums_are_one_node(step):
    model = ladder(step)
    fusion = fuse(model)
    assert len(fusion.regions) == 1
    assert_same_outputs(model, fusion.model, tolerance=1e-5)  # a hundred sums round more than a block does


def test_as_many_branches_as_any_network_has_are_one_node():
    count = 50
    steps = [f"c{i} = Conv(x, p) t{i} = Add(t{i - 1}, c{i})" for i in range(1, count)]
    model = build(BOTH.format(" ".join([*steps, f"y = Identity(t{count - 1})"])), w=(4, 4, 3, 3), p=(4, 4, 1, 1))
    (region,) = fuse(model).regions
    assert len(region.members) > count


@pytest.mark.parametrize("size", [1, 2, 2**62])
def test_a_tensor_of_a_hundred_thousand_axes_is_refused_at_once(size):
    model = scaled()
    model.graph.initializer.add(name="deep", data_type=TensorProto.FLOAT, raw_data=bytes(4)).dims.extend(
        [size] * 100_000
    )
    with pytest.raises(ModelError, match="impossible shape"):
        load_model(model)


def test_constants_are_computed_until_their_number_is_spent(monkeypatch):
    monkeypatch.setattr(evaluate, "LEAST", 2**20)
    steps = " ".join(f"k{i} = Neg(k{i - 1})" for i in range(1, 101))
    model = build(f"net (float[1,4,5,7] x) => (float[1,4,5,7] y) {{ {steps} y = Conv(x, k100) }}", k0=(4, 4, 1, 1))
    assert len(fuse(model, max_constant_mb=100).regions) == 1
    assert fuse(model, max_constant_mb=90).regions == ()


def test_a_graph_of_more_nodes_than_anybody_writes_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "MOST_WRITTEN", 2)
    load_model(scaled())
    monkeypatch.setattr(limits, "MOST_WRITTEN", 1)
    with pytest.raises(ModelError, match="more than 1 nodes"):
        load_model(scaled())


NODES = 1_000
EMPTY_NODES = key(7, 2 * NODES) + b"\x0a\x00" * NODES
EMPTY_ATTRIBUTES = key(7, 2 * NODES + 3) + key(1, 2 * NODES) + b"\x2a\x00" * NODES
PACKED = key(7, 25 * NODES + 8) + key(5, 25 * NODES + 4) + key(7, 25 * NODES) + bytes(25 * NODES)


@pytest.mark.parametrize("data", [EMPTY_NODES, EMPTY_ATTRIBUTES, PACKED], ids=["nodes", "attributes", "numbers"])
def test_fields_are_counted_before_they_are_parsed(monkeypatch, data):
    monkeypatch.setattr(fields, "SMALLEST_COUNTED", 0)
    onnx.ModelProto.FromString(data)  # the parser has no objection
    monkeypatch.setattr(fields, "MOST", NODES + 10)
    check_fields(data)
    monkeypatch.setattr(fields, "MOST", NODES - 10)
    with pytest.raises(ModelError, match="more than 990 fields"):
        check_fields(data)
    with pytest.raises(ModelError, match="more than 990 fields"):
        load_model(data)


def test_a_large_tensor_is_one_field(monkeypatch):
    monkeypatch.setattr(fields, "SMALLEST_COUNTED", 0)
    monkeypatch.setattr(fields, "MOST", 200)
    model = scaled(w=(4, 4, 99, 99))
    assert len(model.SerializeToString()) > 500_000
    check_fields(model.SerializeToString())


@pytest.mark.parametrize("data", [b"\x3a\x05\x0a", b"\x3b\x3c", b"\xff" * 20, b"\x38"])
def test_what_is_no_message_is_refused(monkeypatch, data):
    monkeypatch.setattr(fields, "SMALLEST_COUNTED", 0)
    with pytest.raises(ModelError, match="is not an ONNX model"):
        check_fields(data)
