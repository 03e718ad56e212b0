"""What ``explain`` does: refusal codes in their long form."""

from collections.abc import Mapping

from rich.console import RenderableType

from repvgg_onnx import __version__
from repvgg_onnx.cli.options import Output
from repvgg_onnx.cli.output import show
from repvgg_onnx.cli.parsing import require_code
from repvgg_onnx.cli.places import protect_models
from repvgg_onnx.compiler.codes import CODES, Code
from repvgg_onnx.report.explanation import explanation, overview
from repvgg_onnx.report.machine import codes_json


def run_explain(code: str | None, output: Output) -> None:
    """Explain one code, or list all.

    Raises:
        BadInputError: the JSON file cannot be written.
        UsageError: there is no such code, or the JSON document cannot be written where it was asked for.
    """
    protect_models(output)
    chosen = CODES if code is None else {code: require_code(code)}
    report = _report(code, chosen)
    show(output, report, codes_json(__version__, chosen))


def _report(code: str | None, chosen: Mapping[str, Code]) -> RenderableType:
    """The one code that was asked for in full, or a line for each."""
    if code is None:
        return overview(chosen)
    return explanation(code, chosen[code])
