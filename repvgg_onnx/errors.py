"""The exception tree: every error that the project raises on purpose."""


class RepvggOnnxError(Exception):
    """Base of every error that this package raises on purpose; its text is one line for a user."""


class ModelError(RepvggOnnxError):
    """The input cannot be used: missing, corrupt, unsupported or unsafe (exit code 3)."""


class CheckError(RepvggOnnxError):
    """A check cannot be carried out as asked: unknown input name, wrong shape, absent provider (exit code 2)."""


class LoadError(ModelError):
    """onnxruntime cannot load the model (exit code 3)."""


class RunError(CheckError):
    """onnxruntime cannot run the model on what it was fed, which is the model's fault (exit code 3)."""


class ExtraMissingError(RepvggOnnxError):
    """An optional part needs a package that is not installed (exit code 2)."""


class GeometryError(RepvggOnnxError):
    """Two affine maps have no exact sum or composition.

    Attributes:
        code: stable identifier of the reason, such as ``strides-differ``.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class LiftError(RepvggOnnxError):
    """A node is not an affine map of its inputs.

    Attributes:
        code: stable identifier of the reason, such as ``training-mode``.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
