"""What was decided about doubtful folds, as text."""

from collections.abc import Iterator

from rich.text import Text

from repvgg_onnx.checks.latency import Latency
from repvgg_onnx.report.groups import branch_sum, folded_node, gather
from repvgg_onnx.report.layout import BAD, GOOD, dim
from repvgg_onnx.report.model import Tuned
from repvgg_onnx.report.units import printable
from repvgg_onnx.workflows.autotune import Judgement

_OUTCOMES = {
    "given-back": "the whole model was surely slower than the input, so nothing doubtful is folded",
    "input-kept": "the whole model was surely slower than the input, so nothing is folded",
}


def tuning_lines(tuning: Tuned) -> Iterator[Text]:
    """One line for each doubtful fold, alike ones as one, and what became of the whole."""
    if not tuning.judgements:
        yield dim("no fold is doubtful" if not tuning.decided else "no decision was needed")
    for alike in gather(tuning.judgements, _line):
        text, style = _line(alike[0])
        yield Text(f"{len(alike):,} x {text}", style=style)
    for latency in tuning.races:
        yield dim(f"the whole against the input: {latency.finding}")
    if tuning.outcome in _OUTCOMES:
        yield Text(_OUTCOMES[tuning.outcome], style=BAD)


def gate_line(latency: Latency, gate: float) -> Text | None:
    """What an interval that holds the demanded speedup says; None where it decides."""
    if not latency.low <= gate <= latency.high:
        return None
    interval = f"its 95% interval, {latency.low:.3g}-{latency.high:.3g}, holds it"
    return Text(f"whether the speedup reaches {gate:g} is not decided: {interval}, so it passes")


def _line(judgement: Judgement) -> tuple[str, str]:
    """What was in doubt, what was done, and why; and the style of it."""
    what = " and ".join(f"{branch_sum(region)} as {folded_node(region)}" for region in judgement.regions)
    done = "folded" if judgement.folded else "left"
    figure = "" if judgement.latency is None else f": {judgement.latency.finding}"
    return printable(f"{what} {done} {judgement.reason}{figure}"), GOOD if judgement.folded else ""
