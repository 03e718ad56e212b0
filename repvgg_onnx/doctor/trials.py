"""What a process of its own does to find out whether a part works: something tiny, with the real thing.

A trial returns where the part works, and raises where it does not.
"""

import io

from repvgg_onnx.errors import CheckError
from repvgg_onnx.extras import import_extra

_BLOCK = """<ir_version: 8, opset_import: ["" : 17]>
block (float[1, 2, 5, 7] image) => (float[1, 2, 5, 7] out)
<float[2, 2, 1, 1] kernel = {0.5, -1.0, 2.0, 0.25}, float[2] bias = {1.0, -2.0}> {
    point = Conv (image, kernel, bias)
    both = Add (point, image)
    out = Relu (both)
}"""


def read_and_write() -> None:
    """A model is read, checked and written."""
    import onnx

    from repvgg_onnx.graph.load import load_model

    model = load_model(_block())
    onnx.checker.check_model(model)
    _require(model.SerializeToString() == _block(), "a model that was read and written has changed")


def fold() -> None:
    """A sum of a convolution and its input becomes one convolution."""
    from repvgg_onnx.pipeline import fuse

    fusion = fuse(_block())
    _require([node.op_type for node in fusion.model.graph.node] == ["Conv", "Relu"], "a block was not folded")


def compare() -> None:
    """Both forms run and give the same outputs."""
    from repvgg_onnx.checks.parity import verify
    from repvgg_onnx.pipeline import fuse

    parity = verify(_block(), fuse(_block()).model)
    _require(parity.passed, f"a folded block gives other outputs: error {parity.error:.2g}")


def export() -> None:
    """A network of torch is built, and both exporters write it."""
    from repvgg_onnx.zoo import export

    import_extra("torch", extra="export")
    from repvgg_onnx.zoo.repvgg import RepVGG

    network = RepVGG((1,), widths=(4, 6), strides=(2, 1), num_classes=3).eval()
    for exporter in ("torchscript", "dynamo"):
        model = export(network, shape=(1, 3, 10, 14), exporter=exporter)
        _require(bool(model.graph.node), f"the exporter {exporter} wrote an empty model")


def report() -> None:
    """A figure is drawn, a template filled in, and JUnit XML written."""
    figure = import_extra("matplotlib.figure", extra="report").Figure()
    figure.subplots().plot([1, 2, 4])
    drawn = io.BytesIO()
    figure.savefig(drawn, format="svg")
    _require(b"</svg>" in drawn.getvalue(), "matplotlib drew nothing")
    page = import_extra("jinja2", extra="report").Template("<p>{{ text }}</p>", autoescape=True)
    _require(page.render(text="<") == "<p>&lt;</p>", "jinja2 filled in a template wrongly")
    suites = import_extra("junitparser", extra="report").JUnitXml(name="suites")
    _require(b'name="suites"' in suites.tostring(), "junitparser wrote something else")


def triton() -> None:
    """A model configuration is made of Triton's own messages, written, and parsed back by them."""
    from repvgg_onnx.serving.messages import config_text, model_config_messages, parse_config

    config = model_config_messages().ModelConfig(name="block", platform="onnxruntime_onnx")
    _require(parse_config(config_text(config)) == config, "a configuration that was written and parsed has changed")


def dask() -> None:
    """A cluster inside this process, without a network, does some work."""
    distributed = import_extra("distributed", extra="dask")
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        _require(client.get_executor().submit(abs, -1).result() == 1, "a worker of Dask's gave a wrong answer")


def train() -> None:
    """A gradient is computed, and a picture written and read."""
    torch = import_extra("torch", extra="train")
    image = import_extra("PIL.Image", extra="train")
    weight = torch.ones(2, requires_grad=True)
    weight.square().sum().backward()
    _require(weight.grad.tolist() == [2.0, 2.0], "torch computed a wrong gradient")
    written = io.BytesIO()
    image.new("L", (5, 7), color=3).save(written, format="PNG")
    _require(image.open(written).getpixel((4, 6)) == 3, "a picture that was written and read has changed")


def serve() -> None:
    """An application is made, and a server of it that does not listen."""
    application = import_extra("fastapi", extra="serve").FastAPI()
    server = import_extra("uvicorn", extra="serve").Server
    configuration = import_extra("uvicorn", extra="serve").Config(application)
    configuration.load()
    _require(not server(configuration).started, "a server has started that was not asked to")


def peers() -> None:
    """Each of the other optimizers takes a model."""
    import onnx

    model = onnx.load_from_string(_block())
    onnxoptimizer, onnxscript, onnxsim, onnxslim = (
        import_extra(name, extra="bench") for name in ("onnxoptimizer", "onnxscript.optimizer", "onnxsim", "onnxslim")
    )
    for optimize in (onnxoptimizer.optimize, onnxscript.optimize, onnxsim.simplify, onnxslim.slim):
        _require(optimize(model) is not None, f"{optimize.__module__} returned nothing")


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
