"""Whatever is not a model is refused with one line."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.external_data_helper import set_external_data

from repvgg_onnx import ModelError, fuse, load_model
from repvgg_onnx.graph.load import has_external_data
from tests.models import WORST, build, feeds, repvgg_block
from tests.oracle import error, run

TEXT = "net (float[1,4,5,7] x) => (float[1,4,5,7] y) { a = Conv(x, w)  y = Mul(a, s) }"


def scaled(**weights):
    """A Conv and a Mul, the smallest thing that folds."""
    return build(TEXT, **{"w": (4, 4, 1, 1), "s": (1,), **weights})


def refusal_of(source) -> str:
    with pytest.raises(ModelError) as caught:
        fuse(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"# A text\n\nthat is no model, with several lines.\n", "is not an ONNX model"),
        (b'{"graph": {"node": []}}', "is not an ONNX model"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is not an ONNX model"),
        (bytes(64), "is not an ONNX model"),
        (b"\x08\x0a", "has no graph"),
    ],
)
def test_a_file_that_is_no_model(tmp_path, content, sentence):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert sentence in refusal_of(path)
    assert sentence in refusal_of(str(path))
    assert sentence in refusal_of(content)


def test_missing_file_and_directory(tmp_path):
    assert refusal_of(tmp_path / "absent.onnx") == "no such file"
    assert "directory" in refusal_of(tmp_path)
    assert refusal_of(tmp_path / "file.onnx" / "below.onnx")


def test_a_name_that_no_file_can_have():
    assert refusal_of("a" * 300 + ".onnx")


def test_truncation_anywhere_is_refused_or_gives_a_whole_model():
    model = repvgg_block()
    data = model.SerializeToString()
    for length in range(0, len(data), 97):
        with pytest.raises(ModelError) as caught:
            fuse(data[:length])
        assert "\n" not in str(caught.value)


def test_newer_opset_and_ir_version():
    newer = scaled()
    newer.opset_import[0].version = 999
    assert "opset 999" in refusal_of(newer)
    newer = scaled()
    newer.ir_version = 999
    assert "IR version 999" in refusal_of(newer)


def test_no_opset_unknown_operator_and_unknown_domain():
    model = scaled()
    del model.opset_import[:]
    assert refusal_of(model)
    model = scaled()
    model.graph.node[1].op_type = "Frobnicate"
    assert "Frobnicate" in refusal_of(model)
    model = scaled()
    model.graph.node[1].domain = "nowhere"
    assert "nowhere" in refusal_of(model)


def test_an_empty_model():
    assert refusal_of(onnx.ModelProto())


def test_an_unknown_attribute():
    model = scaled()
    model.graph.node[0].attribute.append(helper.make_attribute("spin", 1))
    assert "spin" in refusal_of(model)


def test_channels_that_do_not_fit_never_give_a_traceback():
    wider = build(TEXT.replace("[1,4,5,7] x", "[1,6,5,7] x").replace("Conv(", "Conv<group=4>("), w=(4, 1, 1, 1), s=(1,))
    assert _outcome(wider) in ("refused", "untouched")
    single = build(TEXT.replace("[1,4,5,7] x", "[1,6,5,7] x"), w=(1, 1, 1, 1), s=(1,))
    assert _outcome(single) in ("refused", "untouched")
    empty = scaled(w=np.zeros((0, 4, 1, 1), np.float32))
    assert _outcome(empty) in ("refused", "untouched")


def _outcome(model: onnx.ModelProto) -> str:
    try:
        return "untouched" if fuse(model).model is model else "folded"
    except ModelError:
        return "refused"


def test_an_initializer_shorter_than_its_shape():
    model = scaled(w=(40, 40, 1, 1))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 40
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 40
    tensor = model.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-4]
    assert refusal_of(model)


def with_side_file(folder, *, location="weights.bin", length=64):
    """The model in the folder, its kernel expected in a side file that is not there."""
    model = scaled()
    tensor = model.graph.initializer[0]
    data = tensor.raw_data
    set_external_data(tensor, location, offset=0, length=length)
    tensor.ClearField("raw_data")
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path, data


def test_external_data_is_loaded_from_beside_the_file(tmp_path):
    path, data = with_side_file(tmp_path)
    (tmp_path / "weights.bin").write_bytes(data)
    loaded = load_model(path)
    assert np.array_equal(
        numpy_helper.to_array(loaded.graph.initializer[0]).tobytes(), np.frombuffer(data, np.uint8).tobytes()
    )
    assert not has_external_data(loaded)
    assert has_external_data(path)
    assert has_external_data(path.read_bytes())
    assert len(fuse(path).regions) == 1


def test_a_missing_short_or_distant_side_file(tmp_path):
    path, data = with_side_file(tmp_path)
    assert "external data" in refusal_of(path)
    (tmp_path / "weights.bin").write_bytes(data[:-8])
    assert refusal_of(path)
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret.bin").write_bytes(data)
    path, _ = with_side_file(inner, location="../secret.bin")
    assert "external data" in refusal_of(path)
    path, _ = with_side_file(inner, location=str(tmp_path / "secret.bin"))
    assert "external data" in refusal_of(path)


def test_bytes_and_models_whose_external_data_is_elsewhere(tmp_path, monkeypatch):
    path, data = with_side_file(tmp_path)
    (tmp_path / "weights.bin").write_bytes(data)
    monkeypatch.chdir(tmp_path)  # a file of that name in the working directory is nobody's side file
    assert refusal_of(path.read_bytes())
    assert refusal_of(onnx.load_model_from_string(path.read_bytes()))


def test_a_model_is_returned_as_it_is():
    model = scaled()
    assert load_model(model) is model
    assert load_model(model.SerializeToString()) == model


def test_the_long_name_of_the_standard_domain():
    """onnxruntime takes ``ai.onnx`` for the empty domain."""
    text = f'<ir_version: 10, opset_import: ["ai.onnx" : 17]> {TEXT}'.replace("Conv(", "ai.onnx.Conv(")
    model = onnx.parser.parse_model(text.replace("Mul(", "ai.onnx.Mul("))
    model.graph.initializer.extend(scaled().graph.initializer)
    fused = fuse(model).model
    given = feeds(model)
    assert error(run(model, given)[0], run(fused, given)[0]) <= WORST
