from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from repvgg_onnx.checks import session as session_module
from repvgg_onnx.checks.session import CPU, LEVELS, common_inputs, loadable, open_session
from repvgg_onnx.errors import CheckError, ModelError
from tests.checks.models import BFLOAT16, model, relu_block

LEVEL = "ORT_DISABLE_ALL"


def opened(graph: onnx.ModelProto):
    return open_session(graph.SerializeToString(), level=LEVEL)


def feed(batch: int = 2) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((batch, 4, 5, 7)).astype(np.float32)}


@pytest.mark.parametrize("level", LEVELS)
def test_paths_bytes_and_protos_run_alike(tmp_path, level):
    path = tmp_path / "block.onnx"
    onnx.save_model(relu_block(), path)
    results = []
    for source in (path, str(path), path.read_bytes(), relu_block()):
        with loadable(source) as ready:
            results.append(open_session(ready, level=level, threads=1).run(feed())["y"])
    assert results[0].shape == (2, 6, 5, 7)
    assert all(np.array_equal(results[0], result) for result in results)


def test_a_path_finds_its_external_data(tmp_path):
    path = tmp_path / "block.onnx"
    onnx.save_model(relu_block(), path, save_as_external_data=True, location="block.bin", size_threshold=0)
    assert (tmp_path / "block.bin").stat().st_size > 0
    expected = opened(relu_block()).run(feed())["y"]
    with loadable(path) as ready:
        assert np.array_equal(open_session(ready, level=LEVEL).run(feed())["y"], expected)


def test_a_proto_too_large_for_protobuf_goes_through_a_side_file(monkeypatch):
    monkeypatch.setattr(session_module, "LARGEST_FILE", 1000)
    graph = model("g (float[N,4] x) => (float[N,600] y) { y = MatMul(x, kernel) }", {"kernel": (4, 600)})
    untouched = graph.SerializeToString()
    with loadable(graph) as ready:
        assert isinstance(ready, str)
        side_file = Path(ready + ".data")
        assert side_file.stat().st_size >= 4 * 600 * 4
        x = np.ones((2, 4), np.float32)
        result = open_session(ready, level=LEVEL).run({"x": x})["y"]
    assert np.allclose(result, opened(graph).run({"x": x})["y"])
    assert not side_file.exists()
    assert graph.SerializeToString() == untouched


@pytest.mark.parametrize("content", [b"", b"not a model", relu_block().SerializeToString()[:60]])
def test_bytes_that_are_no_model_are_refused_in_one_line(content, capfd):
    with pytest.raises(ModelError, match=r"^onnxruntime cannot load the model: [^\n]+$"):
        open_session(content, level=LEVEL)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (lambda: model("g (float[2,3] x) => (float[2,3] y) { y = odd.Thing(x) }"), "Thing"),
        (lambda: model("g (float[2,3] x) => (float[4] y) { y = Relu(unheard) }"), "unheard"),
    ],
)
def test_a_model_that_cannot_be_built_is_refused_without_noise(graph, words, capfd):
    with pytest.raises(ModelError) as caught:
        opened(graph())
    assert words in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_source_locations_are_left_out_of_messages():
    graph = relu_block()
    graph.opset_import[0].version = 99
    with pytest.raises(ModelError) as caught:
        opened(graph)
    assert "99" in str(caught.value)
    assert "::" not in str(caught.value)
    assert ".h:" not in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path):
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(ModelError, match="cannot load"), loadable(path) as ready:
            open_session(ready, level=LEVEL)


def test_an_absent_provider_is_refused_with_what_there_is():
    with pytest.raises(CheckError, match=r"'NoSuchProvider' is not available.*CPUExecutionProvider"):
        open_session(relu_block().SerializeToString(), level=LEVEL, provider="NoSuchProvider")


@pytest.fixture
def elsewhere(monkeypatch):
    """An onnxruntime with another provider, which runs nothing; what its sessions were opened with."""
    opened_with = []

    def session(source, options, *, providers, enable_fallback):
        opened_with.append(providers)
        ((name, settings),) = providers
        if "unheard" in settings:
            raise RuntimeError("Unknown provider option: unheard")
        started = [name] if settings.get("device_id") != "9" else []
        return SimpleNamespace(get_inputs=list, get_outputs=list, get_providers=lambda: [*started, "Fallback"])

    monkeypatch.setattr(session_module.onnxruntime, "get_available_providers", lambda: ["OtherProvider", "CPU"])
    monkeypatch.setattr(session_module.onnxruntime, "InferenceSession", session)
    return opened_with


def test_a_provider_gets_its_options_as_text(elsewhere):
    for provider in ("OtherProvider", ("OtherProvider", {"device_id": 1, "path": "a=b"})):
        open_session(b"", level=LEVEL, provider=provider)
    assert elsewhere == [[("OtherProvider", {})], [("OtherProvider", {"device_id": "1", "path": "a=b"})]]


def test_options_that_a_provider_does_not_take_are_in_the_message(elsewhere):
    words = "cannot load the model with the provider options unheard=1: Unknown provider option: unheard$"
    with pytest.raises(ModelError, match=words):
        open_session(b"", level=LEVEL, provider=("OtherProvider", {"unheard": "1"}))
    with pytest.raises(CheckError, match=r"could not be started with the provider options device_id=9$"):
        open_session(b"", level=LEVEL, provider=("OtherProvider", {"device_id": "9"}))


def test_the_cpu_takes_no_options():
    with pytest.raises(CheckError, match="takes no options, so use_arena, other cannot be set"):
        open_session(relu_block().SerializeToString(), level=LEVEL, provider=(CPU, {"use_arena": "0", "other": "1"}))


def test_a_run_that_fails_says_so_in_one_line(capfd):
    graph = model("g (float[6,3] x, int64[2] i) => (float[2,3] y) { y = Gather(x, i) }")
    values = {"x": np.ones((6, 3), np.float32), "i": np.array([0, 9])}
    with pytest.raises(CheckError, match=r"cannot run the model: [^\n]*idx=9[^\n]*$"):
        opened(graph).run(values)
    assert capfd.readouterr() == ("", "")


def test_bfloat16_goes_in_and_comes_out_exactly():
    graph = model("g (bfloat16[2,3] x, float[1] z) => (bfloat16[2,3] y, float[1] w) { y = Identity(x) w = Neg(z) }")
    x = np.array([[1.5, -2.0, 0.0], [3.0, -0.25, 7.0]]).astype(BFLOAT16)
    result = opened(graph).run({"x": x, "z": np.array([4], np.float32)})
    assert result["y"].dtype == BFLOAT16
    assert np.array_equal(result["y"].astype(np.float32), x.astype(np.float32))
    assert result["w"] == [-4]


def test_inputs_are_described_without_initializers():
    graph = model(
        "g (float[N,4,?,7] x, int64[3] i, string[2] s, float[2] k) => (float[N,4,?,7] y) { y = Relu(x) }",
        {"k": (2,)},
    )
    inputs = opened(graph).inputs
    assert list(inputs) == ["x", "i", "s"]
    assert inputs["x"].shape == ("N", 4, None, 7)
    assert [spec.dtype for spec in inputs.values()] == [np.dtype(np.float32), np.dtype(np.int64), np.dtype(object)]


def test_common_inputs_take_the_fixed_axes_of_any_model():
    dynamic = opened(model("g (float[N,4,H,7] x) => (float[N,4,H,7] y) { y = Relu(x) }"))
    fixed = opened(model("g (float[2,4,H,W] x) => (float[2,4,H,W] y) { y = Relu(x) }"))
    assert common_inputs(dynamic, fixed)["x"].shape == (2, 4, "H", 7)
    assert common_inputs(fixed, dynamic)["x"].shape == (2, 4, "H", 7)


@pytest.mark.parametrize(
    "other",
    [
        "g (float[N,4] z) => (float[N,4] y) { y = Relu(z) }",
        "g (float[N,6] x) => (float[N,6] y) { y = Relu(x) }",
        "g (double[N,4] x) => (double[N,4] y) { y = Relu(x) }",
        "g (float[N,4,5] x) => (float[N,4,5] y) { y = Relu(x) }",
    ],
)
def test_models_with_different_inputs_have_nothing_in_common(other):
    one = opened(model("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }"))
    with pytest.raises(CheckError, match="the models take"):
        common_inputs(one, opened(model(other)))
