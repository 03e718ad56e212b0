"""What a process of its own does to find out whether a part works: something tiny, with the real thing.

A trial returns where the part works, and raises where it does not.
"""

import importlib
import json
import pkgutil

from repvgg_onnx.errors import CheckError

_BLOCK = """<ir_version: 8, opset_import: ["" : 17]>
block (float[1, 2, 5, 7] image) => (float[1, 2, 5, 7] out)
<float[2, 2, 1, 1] kernel = {0.5, -1.0, 2.0, 0.25}, float[2] bias = {1.0, -2.0}> {
    point = Conv (image, kernel, bias)
    both = Add (point, image)
    out = Relu (both)
}"""


def main(trial: str, arguments: str) -> None:
    """Run a trial and print what came of it as one line of JSON: a state, a sentence, and names.

    Args:
        trial: a function as ``module:name``; it may return a list of names.
        arguments: what it takes, as JSON.
    """
    try:
        answer = "works", "", pkgutil.resolve_name(trial)(*json.loads(arguments)) or []
    except Exception as error:
        root: BaseException = error
        while root.__cause__ is not None:  # which ends in a package that is not installed, whatever was made of it
            root = root.__cause__
        missing = isinstance(root, ModuleNotFoundError)
        sentence = str(root) if missing else " ".join(str(error).split()) or type(error).__name__
        answer = "missing" if missing else "fails", sentence, []
    print(json.dumps(answer), flush=True)


def read_and_write() -> None:
    """A model is read, checked and written."""
    import onnx

    from repvgg_onnx.graph.load import load_model

    model = load_model(_block())
    onnx.checker.check_model(model)
    _require(model.SerializeToString() == _block(), "a model that was read and written has changed")


def fold() -> None:
    """A sum of a convolution and its input becomes one convolution."""
    from repvgg_onnx.compiler.fuse import fuse

    fusion = fuse(_block())
    _require([node.op_type for node in fusion.model.graph.node] == ["Conv", "Relu"], "a block was not folded")


def compare() -> None:
    """Both forms run and give the same outputs."""
    from repvgg_onnx.checks.parity import verify
    from repvgg_onnx.compiler.fuse import fuse

    parity = verify(_block(), fuse(_block()).model)
    _require(parity.passed, f"a folded block gives other outputs: error {parity.error:.2g}")


def export() -> None:
    """A network of torch is built, and both exporters write it."""
    from repvgg_onnx.zoo import export
    from repvgg_onnx.zoo.repvgg import RepVGG

    network = RepVGG((1,), widths=(4, 6), strides=(2, 1), num_classes=3).eval()
    for exporter in ("torchscript", "dynamo"):
        model = export(network, shape=(1, 3, 10, 14), exporter=exporter)
        _require(bool(model.graph.node), f"the exporter {exporter} wrote an empty model")


def triton() -> None:
    """A model configuration is made of Triton's own messages, written, and parsed back by them."""
    from repvgg_onnx.serving.messages import config_text, model_config_messages, parse_config

    config = model_config_messages().ModelConfig(name="block", platform="onnxruntime_onnx")
    _require(parse_config(config_text(config)) == config, "a configuration that was written and parsed has changed")


def load(*modules: str) -> None:
    """Each module is imported, with what it has compiled."""
    for module in modules:
        importlib.import_module(module)


def run_on(provider: str) -> None:
    """The provider runs a convolution itself, and does not leave it to the CPU."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_cpu_ep_fallback", str(int(provider != "CPUExecutionProvider")))
    try:
        session = onnxruntime.InferenceSession(_block(), options, providers=[provider], enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no common base
        _require("fallback to CPU EP" not in str(error), "it leaves convolutions to the CPU")
        raise
    _require(provider in session.get_providers(), "it is installed but could not be started")
    session.run(None, {"image": np.zeros((1, 2, 5, 7), np.float32)})


def providers() -> list[str]:
    """Names of the execution providers that onnxruntime has, its first choice first."""
    import onnxruntime

    names: list[str] = onnxruntime.get_available_providers()
    return names


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise CheckError(otherwise)


def _block() -> bytes:
    """A pointwise convolution plus its input, then Relu: the smallest network that folds."""
    import onnx

    data: bytes = onnx.parser.parse_model(_BLOCK).SerializeToString()
    return data
