"""What ``doctor`` does: every part of the installation tried, and a report."""

from repvgg_onnx import __version__
from repvgg_onnx.cli.boundary import CheckFailedError
from repvgg_onnx.cli.options import Output
from repvgg_onnx.cli.output import show, stage
from repvgg_onnx.cli.places import protect_models
from repvgg_onnx.report.diagnosis import diagnosis_json, diagnosis_report
from repvgg_onnx.workflows.doctor import examine


def run_doctor(output: Output) -> None:
    """Try every part and report.

    Raises:
        BadInputError: the JSON file cannot be written.
        CheckFailedError: a part of the core does not work.
        UsageError: the JSON file cannot be written where it was asked for.
    """
    protect_models(output)
    with stage("Trying every part", quiet=output.quiet):
        diagnosis = examine(__version__)
    show(output, diagnosis_report(diagnosis), diagnosis_json(diagnosis))
    if diagnosis.broken:
        raise CheckFailedError(f"does not work: {', '.join(finding.part.name for finding in diagnosis.broken)}")
