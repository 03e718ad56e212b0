"""What is taken out of a file before it is parsed is what parsing would have found."""

import random
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from repvgg_onnx import ModelError, fuse, load_model
from repvgg_onnx.graph.load import open_model
from repvgg_onnx.graph.storage import wire
from repvgg_onnx.graph.storage.encoding import key, varint
from repvgg_onnx.graph.storage.files import TensorFiles
from repvgg_onnx.graph.storage.stream import refer
from repvgg_onnx.graph.storage.tensors import is_external
from repvgg_onnx.graph.storage.wire import THIS_FILE, take_out_data
from tests.models import build, repvgg_block


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tensors of a hundred bytes are large."""
    monkeypatch.setattr(wire, "SMALLEST_TAKEN", 100)


def model():
    made = build("net (float[1,4,5,7] x) => (float[1,6,5,7] y) { y = Conv(x, w, b) }", w=(6, 4, 3, 1), b=(6,))
    made.metadata_props.add(key="after", value="the graph")
    return made


def taken_out(data, folder):
    """What is left of the file, and the same with everything put back."""
    slim = take_out_data(memoryview(data))
    left = onnx.ModelProto.FromString(slim.data)
    whole = onnx.ModelProto.FromString(slim.data)
    TensorFiles(folder, memoryview(data)).load_all(whole)
    return left, whole


def test_large_initializers_are_taken_out_and_can_be_put_back(tmp_path):
    left, whole = taken_out(model().SerializeToString(), tmp_path)
    assert [(tensor.name, is_external(tensor)) for tensor in left.graph.initializer] == [("w", True), ("b", False)]
    assert not left.graph.initializer[0].HasField("raw_data")
    assert whole == model()


def test_unknown_fields_between_others_stay(tmp_path):
    later = key(1000, 5) + b"later"
    data = later + model().SerializeToString() + varint(1001 << 3 | 5) + b"1234" + varint(1002 << 3 | 1) + b"12345678"
    _, whole = taken_out(data, tmp_path)
    assert whole == onnx.ModelProto.FromString(data)


def typed(made):
    tensor = made.graph.initializer[0]
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(onnx.helper.make_tensor("w", TensorProto.FLOAT, array.shape, array.reshape(-1)))


def too_long(made):
    made.graph.initializer[0].raw_data += b"\0\0\0\0"


def of_no_type(made):
    made.graph.initializer[0].data_type = 99


def stored_twice(made):
    made.graph.initializer[0].float_data.append(1)


def small_ones(made):
    del made.graph.initializer[0]


@pytest.mark.parametrize("change", [typed, too_long, of_no_type, stored_twice, small_ones])
def test_what_is_odd_is_left_to_the_parser(change):
    made = model()
    change(made)
    assert take_out_data(memoryview(made.SerializeToString())) is None


def graph_twice(data):
    return data + key(onnx.ModelProto.GRAPH_FIELD_NUMBER, 0)


def number_without_end(data):
    return data + b"\x80" * 1000


def truncated(data):
    return data[:-1]


def of_the_old_kind(data):
    return data + varint(1000 << 3 | 3) + varint(1000 << 3 | 4)


@pytest.mark.parametrize("change", [graph_twice, number_without_end, truncated, of_the_old_kind, lambda data: b""])
def test_what_is_no_plain_message_is_left_to_the_parser(change):
    assert take_out_data(memoryview(change(model().SerializeToString()))) is None


@pytest.mark.parametrize("limit", ["MOST_FIELDS", "MOST_TENSOR_FIELDS"])
def test_messages_of_too_many_fields_are_left_to_the_parser(monkeypatch, limit):
    data = memoryview(model().SerializeToString())
    assert take_out_data(data) is not None
    monkeypatch.setattr(wire, limit, 3)
    assert take_out_data(data) is None


def outcome(source):
    """What a model is loaded as; nothing where it is refused."""
    try:
        return load_model(source).SerializeToString()
    except ModelError:
        return None


def test_whatever_is_changed_the_parser_finds_the_same(tmp_path):
    rng = random.Random(0)
    data = repvgg_block().SerializeToString()
    path = tmp_path / "m.onnx"
    seen = Counter()
    for _ in range(600):
        changed = bytearray(data)
        for _ in range(rng.randint(1, 3)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(changed)
        found = outcome(path)
        assert found == outcome(bytes(changed))
        seen[found is not None, take_out_data(memoryview(changed)) is not None] += 1
    assert min(seen[True, True], seen[False, True], seen[False, False]) > 10


def test_a_file_is_opened_without_its_large_tensors_and_loaded_with_them(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(model().SerializeToString())
    opened = open_model(path)
    assert [is_external(tensor) for tensor in opened.model.graph.initializer] == [True, False]
    assert opened.sides == frozenset()
    assert load_model(path) == model()


def refer_to_itself(made):
    """A tensor that refers to the file as if it had been taken out."""
    tensor = made.graph.initializer[1]
    tensor.ClearField("raw_data")
    refer(tensor, THIS_FILE, 0, 24)


def refer_in_a_node(made):
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[6])
    refer(tensor, THIS_FILE, 0, 24)
    made.graph.node.append(onnx.helper.make_node("Constant", [], ["t"], value=tensor))


@pytest.mark.parametrize("change", [refer_to_itself, refer_in_a_node])
def test_a_model_cannot_refer_to_its_own_file(tmp_path, change):
    made = model()
    change(made)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    assert take_out_data(memoryview(made.SerializeToString())) is not None
    with pytest.raises(ModelError, match="external data cannot be read"):
        open_model(tmp_path / "m.onnx")


def test_a_model_with_side_files_keeps_them_apart_from_its_own(tmp_path):
    made = model()
    (tmp_path / "m.data").write_bytes(made.graph.initializer[1].raw_data)
    made.graph.initializer[1].ClearField("raw_data")
    refer(made.graph.initializer[1], "m.data", 0, 24)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    assert load_model(tmp_path / "m.onnx") == model()
    assert open_model(tmp_path / "m.onnx").sides == {tmp_path / "m.data"}


def test_a_file_that_is_replaced_while_it_is_open_stays_the_same(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(model().SerializeToString())
    opened = open_model(path)
    (tmp_path / "other").write_bytes(b"\0" * 4096)
    (tmp_path / "other").rename(path)
    opened.files.load_all(opened.model)
    assert opened.model == model()


def test_fusing_a_file_gives_what_fusing_its_bytes_gives(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(repvgg_block().SerializeToString())
    assert any(map(is_external, open_model(path).model.graph.initializer))
    fused = fuse(path).model
    assert fused == fuse(path.read_bytes()).model
    assert len(fused.graph.node) < len(repvgg_block().graph.node)


def test_an_open_model_is_fused_without_what_nobody_needs(tmp_path):
    made = build(
        "net (float[1,4,5,7] x) => (float[1,4,5,7] y) {"
        "a = Conv(x, w) b = Conv(x, v) c = Add(a, b) d = Relu(c) y = Conv(d, u) }",
        w=(4, 4, 1, 1),
        v=(4, 4, 1, 1),
        u=(4, 4, 1, 3),
    )
    made.graph.node[4].attribute.append(onnx.helper.make_attribute("pads", [0, 1, 0, 1]))
    monster = np.zeros((4, 4, 5, 7), np.float32)
    made.graph.initializer.append(numpy_helper.from_array(monster, "unused"))
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    opened = open_model(path)
    fusion = fuse(opened)
    assert len(fusion.regions) == 1
    assert {tensor.name: is_external(tensor) for tensor in fusion.model.graph.initializer}["u"]
    opened.files.load_all(fusion.model)
    assert fusion.model == fuse(made).model
