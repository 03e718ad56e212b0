"""A run as JUnit XML, which every CI server shows: a suite for each model, a case for each check."""

import io
from itertools import groupby
from typing import Any

import junitparser

from repvgg_onnx.report.cases import Case, State, cases
from repvgg_onnx.report.run import Run


def junit_report(run: Run) -> str:
    """The checks of a run as XML."""
    document = junitparser.JUnitXml(name="repvgg-onnx")
    for model, checks in groupby(cases(run), key=lambda case: case.model):
        suite = junitparser.TestSuite(_legal(model))
        for case in checks:
            suite.add_testcase(_test_case(case))
        document.add_testsuite(suite)
    document.update_statistics()  # type: ignore[no-untyped-call]
    text = io.BytesIO()
    document.write(text, pretty=True)
    return text.getvalue().decode() + "\n"


def _test_case(case: Case) -> Any:
    """One check; what was found is the message of a failure, and the output of a success."""
    made = junitparser.TestCase(_legal(case.name), classname=_legal(case.model))
    sentence = _legal(case.sentence)
    match case.state:
        case State.PASSED:
            made.system_out = sentence
        case State.FAILED:
            made.result = [_result(junitparser.Failure(sentence, case.code), case)]
        case State.UNUSABLE:
            made.result = [_result(junitparser.Error(sentence, case.code), case)]
        case State.SKIPPED:
            made.result = [junitparser.Skipped(sentence)]
    return made


def _result(result: Any, case: Case) -> Any:
    """A failure with the sentence and every node that it is about, a line each."""
    result.text = "\n".join(map(_legal, (case.sentence, *case.nodes)))
    return result


def _legal(text: str) -> str:
    """Text without the characters that XML has no word for."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
