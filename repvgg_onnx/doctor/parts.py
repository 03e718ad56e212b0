"""What can be tried, what it is good for, and what installs it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """Something that works or does not.

    Attributes:
        name: what it is called; unique.
        purpose: what it is good for, in a few words; empty where the name says it.
        trial: the function that tries it, as ``module:name``.
        modules: packages that it stands on, by the names they are imported by.
        arguments: what the function is given.
        extra: the extra of this distribution that installs them; empty where none does.
        core: whether nothing works without it.
    """

    name: str
    purpose: str
    trial: str
    modules: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    extra: str = ""
    core: bool = False

    @property
    def requirement(self) -> str:
        """What pip is to install."""
        return f"'repvgg-onnx[{self.extra}]'" if self.extra else "repvgg-onnx"


_TRIALS = "repvgg_onnx.doctor.trials"
_REPORT = ("matplotlib", "jinja2", "junitparser")
_PEERS = ("onnxoptimizer", "onnxscript", "onnxsim", "onnxslim")

PROVIDERS = f"{_TRIALS}:providers"
"""The trial that returns the names of onnxruntime's execution providers."""

PARTS = (
    Part("models", "reading and writing", f"{_TRIALS}:read_and_write", ("onnx", "numpy", "ml_dtypes"), core=True),
    Part("fusion", "fuse, check, inspect", f"{_TRIALS}:fold", ("onnx_graphsurgeon",), core=True),
    Part("runtime", "verify, bench", f"{_TRIALS}:compare", ("onnxruntime",), core=True),
    Part("export", "export", f"{_TRIALS}:export", ("torch", "onnxscript"), extra="export"),
    Part("report", "pictures, HTML, JUnit", f"{_TRIALS}:report", _REPORT, extra="report"),
    Part("triton", "triton", f"{_TRIALS}:triton", ("tritonclient",), extra="triton"),
    Part("dask", "fuse_many() on a cluster", f"{_TRIALS}:dask", ("distributed",), extra="dask"),
    Part("train", "samples/train", f"{_TRIALS}:train", ("torch", "PIL"), extra="train"),
    Part("serve", "samples/serve", f"{_TRIALS}:serve", ("fastapi", "uvicorn"), extra="serve"),
    Part("peers", "samples/benchmarks", f"{_TRIALS}:peers", _PEERS, extra="bench"),
)
"""Every part but the execution providers, which onnxruntime names."""


def provider_part(name: str) -> Part:
    """An execution provider of onnxruntime as a part."""
    return Part(name, "", f"{_TRIALS}:run_on", arguments=(name,))
