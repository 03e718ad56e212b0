"""What is known of a model and TensorRT, as text."""

import shlex
from collections.abc import Iterator
from itertools import groupby

from rich.text import Text

from repvgg_onnx.report.layout import BAD, GOOD, dim
from repvgg_onnx.report.units import plural, printable
from repvgg_onnx.serving.findings import ADVICE, Finding, Severity
from repvgg_onnx.serving.tensorrt import TensorRTCheck


def target_lines(check: TensorRTCheck) -> Iterator[Text]:
    """The verdict, the findings with what to do about each code, and the command."""
    problems = sum(finding.severity is Severity.ERROR for finding in check.findings)
    if problems:
        yield Text(f"{plural(problems, 'problem')} for the parser of {check.release}", style=BAD)
    else:
        yield Text(f"nothing found that the parser of {check.release} refuses", style=GOOD)
    for code, alike in groupby(check.findings, key=lambda finding: finding.code):
        yield from map(_finding_line, alike)
        yield dim(ADVICE[code])
    yield Text(_lines(check.command), overflow="fold")
    yield dim(check.hint)


def _finding_line(finding: Finding) -> Text:
    style = BAD if finding.severity is Severity.ERROR else ""
    return Text.assemble((finding.severity.value, style), f" {finding.code}: {printable(finding.sentence)}")


def _lines(command: str) -> str:
    """A command with an option on each line, as a shell takes it too."""
    return " \\\n  ".join(shlex.quote(printable(word)) for word in shlex.split(command))
