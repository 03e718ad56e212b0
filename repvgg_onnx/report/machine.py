"""A report as JSON, for programs: every key of the documents, in order, units in the keys.

Results whose fields are the keys stand here as they are; ``document`` says how the others are shown.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

from repvgg_onnx.census import Profile
from repvgg_onnx.checks.bisection import Bisection
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.compiler.codes import Code
from repvgg_onnx.compiler.results import Region
from repvgg_onnx.report.checked import (
    BenchEntry,
    BisectionEntry,
    LatencyEntry,
    ParityEntry,
    RaceEntry,
    RegionParityEntry,
    VerifyEntry,
)
from repvgg_onnx.report.document import Key, document, entry
from repvgg_onnx.report.latency import BenchReport
from repvgg_onnx.report.model import FuseReport, ModelFile, Outcome, Tuned, Verdict
from repvgg_onnx.report.remedy import command
from repvgg_onnx.serving.findings import Finding
from repvgg_onnx.serving.tensorrt import TensorRTCheck
from repvgg_onnx.workflows.autotune import Judgement

RegionEntry = entry(
    "RegionEntry",
    Region,
    "One affine region and the node that stands for it.",
    "name root sink members branches op_type c_in c_out kernel_shape strides pads dilations group moved "
    "macs_before moved_bytes_before macs_after moved_bytes_after saving",
    macs_before=Key(int, "multiply-adds of the nodes that the fold removes.", lambda it: it.cost_before.macs),
    moved_bytes_before=Key(int, "bytes that they read and write.", lambda it: it.cost_before.bytes),
    macs_after=Key(int, "multiply-adds of the emitted node.", lambda it: it.cost_after.macs),
    moved_bytes_after=Key(int, "bytes that it reads and writes.", lambda it: it.cost_after.bytes),
    saving=Key(int, "multiply-adds plus bytes that are saved.", lambda it: it.cost_before.total - it.cost_after.total),
)
ProfileEntry = entry(
    "ProfileEntry",
    Profile,
    "What one run of a model takes, and each of its layers.",
    "inputs assumed_inputs=assumed macs winograd_multiplications activation_bytes_read activation_bytes_written "
    "weight_bytes_read=weight_bytes peak_activation_bytes macs_per_byte=intensity subgraphs unknown layers",
)
ModelEntry = entry(
    "ModelEntry",
    ModelFile,
    "A model file and its census.",
    "path size_bytes nodes nodes_by_op parameters tensor_bytes profile",
    ProfileEntry,
    nodes=Key(int, "number of all nodes.", lambda it: it.census.nodes),
    nodes_by_op=Key(
        Mapping[str, int],
        "number of nodes of each operator, with its domain unless that is ONNX's own.",
        lambda it: it.census.nodes_by_op,
    ),
    parameters=Key(
        int, "elements of the floating-point tensors that the model stores.", lambda it: it.census.parameters
    ),
    tensor_bytes=Key(int, "bytes of all tensors that it stores, strings left out.", lambda it: it.census.tensor_bytes),
)
JudgedEntry = entry(
    "JudgedEntry",
    Region,
    "A region of a doubtful fold.",
    "root sink members branches op_type kernel_shape group",
)
JudgementEntry = entry(
    "JudgementEntry",
    Judgement,
    "What became of one choice of the cost rule.",
    "regions wanted folded measured=latency reason",
    JudgedEntry,
    RaceEntry,
)
DecisionsEntry = entry(
    "DecisionsEntry",
    Tuned,
    "What was decided about doubtful folds.",
    "outcome keep_input races regions=judgements",
    RaceEntry,
    JudgementEntry,
)
FindingEntry = entry(
    "FindingEntry",
    Finding,
    "What stands between a model and TensorRT.",
    "severity code subject sentence advice",
)
TargetEntry = entry(
    "TargetEntry",
    TensorRTCheck,
    "What the server that the model is for is known to say of it.",
    "release passed findings command hint",
    FindingEntry,
)
FuseEntry = entry(
    "FuseEntry",
    FuseReport,
    "What one run of fuse or inspect found in a model and did with it.",
    "verdict min_speedup max_foldable overridable remedy notes remarks baseline sizes before after regions refusals "
    "advice parity region_parities rolled_back decisions=tuning latency warnings seconds target",
    *(ModelEntry, RegionEntry, ParityEntry, RegionParityEntry, DecisionsEntry, LatencyEntry, TargetEntry),
    remedy=Key(
        str | None,
        "the command that folds what can be folded; null where nothing is left to fold.",
        lambda it: command(it) if it.verdict is Verdict.FOLDABLE else None,
    ),
    baseline=Key(
        Literal["input", "input with notes"],
        "what outputs and latency are compared with.",
        lambda it: "input with notes" if it.notes else "input",
    ),
)
OutcomeEntry = entry(
    "OutcomeEntry", Outcome, "What became of one model of several.", "path exit_code error report", FuseEntry
)
ManyEntry = entry(
    "ManyEntry",
    None,
    "Report of check, of fuse for several models, and of one that cannot be used.",
    "models",
    models=Key(tuple[OutcomeEntry, ...], "every model, in order."),  # type: ignore[valid-type]
)
CodesEntry = entry(
    "CodesEntry",
    None,
    "Report of explain.",
    "codes",
    codes=Key(Mapping[str, Code], "refusal codes by name."),
)


def fuse_json(report: FuseReport) -> str:
    """The report of ``fuse`` or ``inspect``."""
    return document(report.version, FuseEntry.of(report))


def many_json(version: str, outcomes: Sequence[Outcome]) -> str:
    """What became of several models, each with what ``fuse_json`` says of it."""
    return document(version, ManyEntry.of(None, models=tuple(map(OutcomeEntry.of, outcomes))))


def parity_json(
    version: str,
    parity: Parity,
    bisection: Bisection | None = None,
    sizes: Mapping[str, Sequence[int]] | None = None,
) -> str:
    """The comparison of two models, under the key that it has in the report of ``fuse``; and where they differ."""
    found = None if bisection is None else BisectionEntry.of(bisection)
    return document(version, VerifyEntry.of(None, sizes=sizes, parity=ParityEntry.of(parity), bisection=found))


def bench_json(report: BenchReport) -> str:
    """The report of ``bench``; two models under one condition also have the key of ``fuse``, ``latency``."""
    return document(report.version, BenchEntry.of(report))


def codes_json(version: str, codes: Mapping[str, Code]) -> str:
    """Refusal codes with their ``meaning`` and ``advice``."""
    return document(version, CodesEntry.of(None, codes=codes))
