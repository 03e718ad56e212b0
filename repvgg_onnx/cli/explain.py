"""What ``explain`` does: refusal codes in their long form."""

from repvgg_onnx import __version__
from repvgg_onnx.cli.options import Output
from repvgg_onnx.cli.output import show
from repvgg_onnx.cli.parsing import require_code
from repvgg_onnx.cli.places import protect_models
from repvgg_onnx.compiler.codes import CODES
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
    report = overview(chosen) if code is None else explanation(code, chosen[code])
    show(output, report, codes_json(__version__, chosen))
