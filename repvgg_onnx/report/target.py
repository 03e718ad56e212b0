"""What is known of a model and TensorRT, as text."""

import shlex
from collections.abc import Iterator
from itertools import groupby

from rich.text import Text

from repvgg_onnx.report.layout import BAD, GOOD, dim
from repvgg_onnx.report.units import plural, printable
from repvgg_onnx.serving.findings import ADVICE, Severity
from repvgg_onnx.serving.tensorrt import TensorRTCheck


def target_lines(check: TensorRTCheck) -> Iterator[Text]:
    """The verdict, the findings with what to do about each code, and the command."""
    problems = sum(finding.severity is Severity.ERROR for finding in check.findings)
    if problems:
        yield Text(f"{plural(problems, 'problem')} for the parser of {check.release}", style=BAD)
    else:
        yield Text(f"nothing found that the parser of {check.release} refuses", style=GOOD)
    for code, alike in groupby(check.findings, key=lambda finding: finding.code):
        for finding in alike:
            style = BAD if finding.severity is Severity.ERROR else ""
            yield Text.assemble((finding.severity.value, style), f" {code}: {printable(finding.sentence)}")
        yield dim(ADVICE[code])
    words = [shlex.quote(printable(word)) for word in shlex.split(check.command)]
    yield Text(" \\\n  ".join(words), overflow="fold")  # an option on each line, as a shell takes it too
    yield dim(check.hint)
