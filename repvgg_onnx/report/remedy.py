"""The command that mends a model that ``check`` turns down."""

import shlex

from repvgg_onnx.report.model import FuseReport


def remedy(report: FuseReport) -> str:
    """What to run, in a sentence."""
    return f"to fold them, run: {command(report)}"


def command(report: FuseReport) -> str:
    """The command that folds the model, with the options that decide what is folded, quoted for a shell.

    Example: ``repvgg-onnx fuse model.onnx --in-place --freeze-initializers``
    """
    return shlex.join(("repvgg-onnx", "fuse", report.before.path or "MODEL", "--in-place", *report.options))
