"""Exports hold the nodes that real exports hold, compute what torch computes, and say nothing."""

import logging
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from repvgg_onnx.errors import CheckError
from repvgg_onnx.zoo import build, export
from samples.zoo import perturb_statistics
from tests.models import count

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

# Conv, BatchNormalization, Add of RepVGG-A0: 22 blocks, 17 of them with an identity branch.
COUNTS = {
    ("torchscript", True): (44, 17, 39),
    ("torchscript", False): (44, 61, 39),
    ("dynamo", True): (44, 17, 39),
    ("dynamo", False): (44, 61, 39),
}


@pytest.fixture(scope="module")
def a0() -> Any:
    return perturb_statistics(build("repvgg-a0"), 1)


def narrow(*, squeeze_excite: bool = False) -> Any:
    from repvgg_onnx.zoo.repvgg import RepVGG

    torch.manual_seed(4)
    module = RepVGG((2,), (16, 16), (2, 1), groups=2, num_classes=6, squeeze_excite=squeeze_excite)
    return perturb_statistics(module, 4).eval()


def run(model: onnx.ModelProto, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"image": image})[0]


def image_of(*shape: int) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(9))


def assert_same_outputs(model: onnx.ModelProto, module: Any, image: Any) -> None:
    expected = module(image).detach().numpy()
    found = run(model, image.numpy())
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("exporter", "fold"),
    [pytest.param(*form, marks=[pytest.mark.slow] if form[0] == "dynamo" else []) for form in COUNTS],
)
def test_a0_has_the_nodes_of_a_real_export(a0: Any, exporter: Any, fold: bool) -> None:
    model = export(a0, shape=(1, 3, 64, 96), exporter=exporter, fold=fold)
    onnx.checker.check_model(model)
    counts = count(model)
    assert (counts["Conv"], counts["BatchNormalization"], counts["Add"]) == COUNTS[exporter, fold]
    assert counts["Relu"] == 22
    assert_same_outputs(model, a0, image_of(1, 3, 64, 96))


def test_a0_deployed_is_plain() -> None:
    model = export(build("repvgg-a0", deployed=True), shape=(1, 3, 32, 64))
    assert count(model) == {"Conv": 22, "Relu": 22, "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1}


@pytest.mark.parametrize(("exporter", "fold"), COUNTS)
def test_the_batch_may_be_dynamic(exporter: Any, fold: bool) -> None:
    module = narrow(squeeze_excite=True)
    model = export(module, shape=(1, 3, 22, 34), exporter=exporter, fold=fold, dynamic_batch=True)
    for value in (model.graph.input[0], model.graph.output[0]):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    for batch in (1, 3):
        assert_same_outputs(model, module, image_of(batch, 3, 22, 34))


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_names_and_shapes_of_the_ends(exporter: Any) -> None:
    model = export(narrow(), shape=(2, 3, 22, 34), exporter=exporter)
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"image": [2, 3, 22, 34], "logits": [2, 6]}
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
def test_the_exporters_are_silent(
    exporter: Any, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    export(narrow(), shape=(1, 3, 22, 34), exporter=exporter, fold=False)  # a Python warning would be an error
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert logging.root.manager.disable == logging.NOTSET


def test_the_module_is_not_changed() -> None:
    module = narrow()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    for exporter in ("torchscript", "dynamo"):
        export(module, shape=(1, 3, 22, 34), exporter=exporter, fold=True)
    assert not module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_the_same_export_twice_is_the_same_bytes() -> None:
    first, again = (export(narrow(), shape=(1, 3, 22, 34), fold=False) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == again.SerializeToString(deterministic=True)


def test_training_mode_is_refused() -> None:
    with pytest.raises(CheckError, match=r"eval mode"):
        export(narrow().train(), shape=(1, 3, 22, 34))


@pytest.mark.parametrize("shape", [(1, 1, 22, 34), (3,)])
def test_a_shape_the_network_does_not_take_is_one_line(shape: tuple[int, ...]) -> None:
    with pytest.raises(CheckError, match=r"does not take an input of shape \(") as caught:
        export(narrow(), shape=shape)
    assert "\n" not in str(caught.value)
