"""A run as GitHub's workflow commands: annotations beside the files of a pull request.

Source: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from collections.abc import Iterator

from repvgg_onnx.report.cases import State, cases, outcome_line
from repvgg_onnx.report.groups import group_refusals
from repvgg_onnx.report.model import Outcome
from repvgg_onnx.report.run import Run
from repvgg_onnx.report.summary import verdict_of
from repvgg_onnx.report.units import names, plural

_LEVELS = {State.FAILED: "error", State.UNUSABLE: "error", State.SKIPPED: "warning"}


def annotations(run: Run) -> str:
    """A line for everything that failed or deserves a look, and a notice for each model that did not fail."""
    notable = [case for case in cases(run) if case.state in _LEVELS]
    lines = [command(_LEVELS[case.state], case.model, case.name, case.sentence) for case in notable]
    for outcome in run.subject if isinstance(run.subject, tuple) else ():
        lines += _remarks(outcome)
    return "".join(f"{line}\n" for line in lines)


def _remarks(outcome: Outcome) -> Iterator[str]:
    """What a user can do something about, and how a model that did not fail ended."""
    if outcome.report is None:
        return
    for group in group_refusals(outcome.report.refusals):
        if group.long_form.actionable:
            where = f"{plural(len(group.nodes), 'node')} ({names(group.nodes)})"
            text = f"{where} cannot be folded. {group.sentence}. {group.long_form.advice}"
            yield command("warning", outcome.path, group.code, text)
    if outcome.error is None:
        yield command("notice", outcome.path, verdict_of(outcome), outcome_line(outcome))


def command(level: str, file: str, title: str, message: str) -> str:
    r"""One workflow command.

    Example:
        >>> command("error", "a,b.onnx", "x: y", "50% of\n2")
        '::error file=a%2Cb.onnx,title=x%3A y::50%25 of%0A2'
    """
    return f"::{level} file={_property(file)},title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """A message, which ends with its line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """The value of a property, which ends with a comma or colon too."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
