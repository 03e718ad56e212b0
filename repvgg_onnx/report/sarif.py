"""A run as SARIF 2.1.0, which code scanning shows: a result for each region and refusal that is worth acting on.

Source: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from repvgg_onnx.compiler.codes import CODES, Code
from repvgg_onnx.report.cases import KINDS, State, cases
from repvgg_onnx.report.groups import branch_sum, folded_node
from repvgg_onnx.report.model import Outcome, Verdict
from repvgg_onnx.report.remedy import remedy
from repvgg_onnx.report.run import Run
from repvgg_onnx.report.units import printable

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
"""What the document says that it conforms to."""


class _Result(NamedTuple):
    """One result: its rule, how bad it is, the file, what was found, and the nodes that it is about."""

    code: str
    level: str
    model: str
    text: str
    nodes: tuple[str, ...]


def sarif_report(run: Run) -> str:
    """The findings of a run as a SARIF document."""
    results = list(_results(run))
    codes = sorted({result.code for result in results})
    driver = {
        "name": "repvgg-onnx",
        "semanticVersion": run.version,
        "rules": [_rule(code, CODES.get(code) or KINDS[code]) for code in codes],
    }
    looked_at = all(case.state is not State.UNUSABLE for case in cases(run))
    content = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "invocations": [{"commandLine": run.command, "executionSuccessful": looked_at}],
                "results": [_result(result, codes) for result in results],
            }
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def _results(run: Run) -> Iterator[_Result]:
    """What failed, model by model, and what is not folded though something can be done about it."""
    for case in cases(run):
        if case.failed and case.code != "foldable-region":
            yield _Result(case.code, "error", case.model, f"{case.name}: {case.sentence}", case.nodes)
    for outcome in run.subject if isinstance(run.subject, tuple) else ():
        yield from _foldable(outcome)
        for refusal in outcome.report.refusals if outcome.report else ():
            if refusal.long_form.actionable:
                yield _Result(refusal.code, "warning", outcome.path, refusal.sentence, (refusal.node,))


def _foldable(outcome: Outcome) -> Iterator[_Result]:
    """Regions that are left in the model; those that were folded are no findings any more."""
    report = outcome.report
    if report is None or report.verdict is not Verdict.FOLDABLE:
        return
    mended = f"; {remedy(report)}" if outcome.error else ""
    for region in report.regions:
        text = f"{branch_sum(region)} can be folded into {folded_node(region)}{mended}"
        nodes = tuple(member.name for member in region.members)
        yield _Result("foldable-region", "error" if outcome.error else "note", outcome.path, text, nodes)


def _rule(code: str, long_form: Code) -> dict[str, Any]:
    """A code with its meaning and what to do about it."""
    return {
        "id": code,
        "shortDescription": {"text": long_form.meaning},
        "fullDescription": {"text": long_form.meaning},
        "help": {"text": long_form.advice},
    }


def _result(result: _Result, codes: list[str]) -> dict[str, Any]:
    """One result, at its model file and its nodes."""
    names = [printable(node) for node in result.nodes]
    identity = "\n".join((result.code, result.model, *result.nodes))
    file = Path(result.model)
    uri = file.as_uri() if file.is_absolute() else quote(file.as_posix())  # relative paths stay relative
    return {
        "ruleId": result.code,
        "ruleIndex": codes.index(result.code),
        "level": result.level,
        "message": {"text": printable(result.text)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": uri},
                    "region": {"startLine": 1},  # models have no lines, and GitHub wants one
                },
                "logicalLocations": [{"fullyQualifiedName": name, "kind": "node"} for name in names],
            }
        ],
        "partialFingerprints": {"repvgg-onnx/v1": hashlib.sha256(identity.encode()).hexdigest()},
    }
