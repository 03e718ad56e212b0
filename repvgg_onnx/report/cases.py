"""What a run checked, one case after the other: what JUnit, SARIF and GitHub have in common."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from repvgg_onnx.checks.parity import OutputParity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.compiler.codes import Code
from repvgg_onnx.report.findings import overridable_words, regions_found
from repvgg_onnx.report.model import FuseReport, Outcome, Verdict
from repvgg_onnx.report.remedy import remedy
from repvgg_onnx.report.run import Run, Verification
from repvgg_onnx.report.summary import achieved, totals, verdict_of
from repvgg_onnx.report.terminal import difference, parity_failure
from repvgg_onnx.report.units import names, plural, printable


class State(enum.Enum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    UNUSABLE = "unusable"
    """The model could not be looked at."""
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Case:
    """One check of one model.

    Attributes:
        model: the file, as the user named it.
        name: what was checked.
        code: stable name of the kind of check, a key of KINDS.
        state: how it ended.
        sentence: what was found.
        nodes: names of the nodes that it is about, if it is about some.
    """

    model: str
    name: str
    code: str
    state: State
    sentence: str
    nodes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it is why a run fails."""
        return self.state in (State.FAILED, State.UNUSABLE)


KINDS: dict[str, Code] = {
    "not-usable": Code("The model cannot be used.", "Look at the sentence: it says what is wrong with the file."),
    "foldable-region": Code(
        "Several nodes are one affine convolution, and the model is about to ship without being folded.",
        "Run repvgg-onnx fuse on the model, and ship what it writes.",
    ),
    "outputs-differ": Code(
        "The two models do not compute the same outputs.",
        "Run repvgg-onnx verify --bisect to see where they begin to differ.",
    ),
    "region-differs": Code(
        "A folded region does not compute what its nodes did, on the values that arrive there.",
        "Nothing has to be done: the region was left as it was. Please report it if its weights are ordinary.",
    ),
    "too-slow": Code(
        "The fused model is surely slower than --min-speedup demands.",
        "Give --autotune, which keeps the faster form of every doubtful fold, or demand less.",
    ),
    "unfit-for-target": Code(
        "The server that the model is for would refuse it.",
        "Look at the findings: each says what to do about it.",
    ),
}
"""The codes of checks, which are not those of refusals."""


def cases(run: Run) -> tuple[Case, ...]:
    """Every check of a run, model by model; ``bench`` checks nothing."""
    match run.subject:
        case Verification() as verified:
            return tuple(_output(verified.after, output) for output in verified.parity.outputs)
        case tuple() as outcomes:
            return tuple(case for outcome in outcomes for case in outcome_cases(outcome))
        case _:
            return ()


def headline(run: Run) -> str:
    """The verdict of a run on one line."""
    match run.subject:
        case Verification() as verified:
            passed = verified.parity.passed
            return f"{'Same outputs' if passed else 'Different outputs'}, worst error {verified.parity.error:.2g}"
        case (outcome,):
            return outcome_line(outcome)
        case tuple() as outcomes:
            return totals(outcomes)
        case measured:
            return f"Latency of {plural(len(measured.models), 'model')}"


def outcome_line(outcome: Outcome) -> str:
    """How one model ended, in a few words with figures."""
    report = outcome.report
    if outcome.error is not None or report is None:
        return outcome.error or verdict_of(outcome)
    return f"{achieved(report)}{overridable_words(report)}"


def outcome_cases(outcome: Outcome) -> Iterator[Case]:
    """Every check of one model."""
    report = outcome.report
    if report is None:
        begun = outcome.error is not None
        sentence = outcome.error or "not begun, because a model before it failed"
        yield Case(outcome.path, "model", "not-usable", State.UNUSABLE if begun else State.SKIPPED, sentence)
        return
    yield _regions(outcome, report)
    if report.parity is not None:
        passed = report.parity.passed
        said = f"same outputs, worst error {report.parity.error:.2g}" if passed else parity_failure(report.parity)
        yield Case(outcome.path, "outputs", "outputs-differ", _state(passed), said)
    failing = report.verdict is Verdict.REGION_FAILED
    yield from (_region(outcome.path, parity, State.PASSED) for parity in report.region_parities)
    left = State.FAILED if failing else State.SKIPPED
    yield from (_region(outcome.path, parity, left) for parity in report.rolled_back)
    if report.latency is not None or report.min_speedup is not None:
        said = report.latency.sentence if report.latency else "nothing was folded, so that the speedup is 1"
        passed = report.verdict is not Verdict.TOO_SLOW
        yield Case(outcome.path, "speedup", "too-slow", _state(passed), said if passed else outcome.error or said)
    if report.target is not None:
        said = f"nothing found that the parser of {report.target.release} refuses"
        passed = report.verdict is not Verdict.UNFIT
        yield Case(
            outcome.path, "target", "unfit-for-target", _state(passed), said if passed else outcome.error or said
        )


def _state(passed: bool) -> State:
    return State.PASSED if passed else State.FAILED


def _regions(outcome: Outcome, report: FuseReport) -> Case:
    """Whether blocks that can be folded are about to ship."""
    nodes = tuple(region.name for region in report.regions)
    found = (
        f"{regions_found(report)}: {names(nodes)}" if nodes else f"{regions_found(report)}{overridable_words(report)}"
    )
    failed = report.verdict is Verdict.FOLDABLE and outcome.error is not None
    found = f"{found}; {remedy(report)}" if failed else found
    return Case(outcome.path, "foldable regions", "foldable-region", _state(not failed), found, nodes)


def _output(model: str, output: OutputParity) -> Case:
    said = f"error {output.error:.2g}, {output.tolerance:.2g} allowed" if output.passed else difference(output)
    return Case(model, f"output {printable(output.name)}", "outputs-differ", _state(output.passed), said)


def _region(model: str, parity: RegionParity, state: State) -> Case:
    said = f"error {parity.error:.2g}, {parity.used:.1%} of its bound, on {parity.feed}"
    return Case(model, f"region {printable(parity.name)}", "region-differs", state, said, (parity.name,))
