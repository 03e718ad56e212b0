"""What stands between a model and TensorRT: findings with a stable code, a subject and a sentence."""

import enum
from dataclasses import dataclass


class Severity(enum.Enum):
    """How bad a finding is; the values are part of the JSON format."""

    ERROR = "error"
    """The parser refuses the model."""
    WARNING = "warning"
    """It may, or the engine does something else than the model says."""


@dataclass(frozen=True)
class Finding:
    """One of them.

    Attributes:
        severity: how bad it is.
        code: stable identifier, a key of ADVICE.
        subject: the node, input or output, the first one of several; empty for the whole model.
        sentence: what was found.
    """

    severity: Severity
    code: str
    subject: str
    sentence: str

    @property
    def advice(self) -> str:
        """What to do."""
        return ADVICE[self.code]


ADVICE = {
    "assumed-sizes": "Give --shape NAME=8,3,224,224 with the largest batch and the sizes that are to be fast.",
    "computed-weights": "Export with the weights as initializers; TensorRT arranges constant weights while it builds.",
    "double": "Export in float32, or make sure that float32 is enough.",
    "not-listed": "Export it as ONNX's own operators, or give TensorRT a plugin for it.",
    "opset": "Export again with an opset in that range, or convert with onnx.version_converter.",
    "overridable": "Give --freeze-initializers; TensorRT takes the default for a constant.",
    "restricted": "See docs/operators.md of onnx-tensorrt; trtexec says whether the model keeps it.",
    "side-files": "Keep the external data beside the model, and have the parser read it from its path.",
    "unsupported": "Export it as other operators, or give TensorRT a plugin for it.",
    "unsupported-type": "Cast to one of the types before, or export in another type.",
}
"""What to do about each code."""
